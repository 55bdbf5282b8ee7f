#!/usr/bin/env python3
"""The interactive shell on a terminal, the name server's console, and doctor.

    test_shell.py [NAME ...]     only the cases whose names contain one of these
"""
import contextlib
import json
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lan  # noqa: E402
from muster_cluster import (BUILD, DONE, ESTABLISHED, FAILED, MIB, MUSTER,  # noqa: E402
                            NO_NAMESERVER, USAGE, Cluster, Skip, content, expect, main, sockets)
from muster_proc import wait_until  # noqa: E402
from terminal import GO_ON, STOP, Terminal  # noqa: E402

WORKERS = 2
SOON = ("--suspect-after", "3", "--dead-after", "4")
NAMES = ["with space", "it's", 'say "hi"', "ümläut", "日本語", "$HOME", "back\\slash", "a|b",
         "*star", "-dash", "#hash"]


@contextlib.contextmanager
def small(count, *arguments):
    """A cluster that is well with so few servers."""
    with Cluster(count, ns=arguments) as cluster:
        if count:
            cluster.ok("copies", count, "/")
        yield cluster


def shell(cluster, *options, words=(), **how):
    """The interactive shell, without colours unless they are asked for."""
    environment = dict(cluster.environment, NO_COLOR="1")
    environment.update(how.pop("environment", {}))
    return Terminal(cluster.words(options, False) + list(words), environment, cluster.path, **how)


@contextlib.contextmanager
def stopped(daemons):
    """They are there and say nothing."""
    for daemon in daemons:
        daemon.process.send_signal(STOP)
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.process.send_signal(GO_ON)


def state_file(cluster, name):
    return os.path.join(cluster.path, "state", "muster", name)


def read(path):
    with open(path, errors="replace") as file:
        return file.read()


def local(cluster, name, data=b""):
    path = os.path.join(cluster.path, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


# ---- the prompt


def case_prompt():
    with small(3, *SOON) as cluster:
        cluster.ok("mkdir", "-p", "/a long directory/with another one/and a third one")
        with shell(cluster) as terminal:
            terminal.raw_until("muster:/> ")
            assert "\x1b[3" not in terminal.shown, terminal.shown
            terminal.ask("cd '/a long directory/with another one/and a third one'",
                         "one/and a third one> ")
            terminal.line("cd /")
            terminal.until("muster:/> ")
            cluster.storages[0].kill()

            def degraded():
                terminal.type("\n")
                terminal.read(0.3)
                return "muster:/ [2/3 servers]> " in terminal.plain()
            wait_until(degraded, 20)
        with shell(cluster, environment={"NO_COLOR": ""}) as terminal:
            terminal.raw_until("\x1b[0;33m [2/3 servers]")
        cluster.storage_start(0)
        cluster.wait_online(3)
        with shell(cluster, environment={"NO_COLOR": ""}) as terminal:
            terminal.raw_until("\x1b[0;34m/")
            terminal.raw_until("\x1b[0;32m>")


def case_narrow():
    """However narrow the terminal, there is room to type."""
    with small(2, *SOON) as cluster:
        cluster.ok("mkdir", "-p", "/abc/def/ghi/jkl/mno/pqr/stu")
        for columns in (40, 20):
            with shell(cluster, columns=columns) as terminal:
                terminal.until("> ")
                terminal.line("cd /abc/def/ghi")
                terminal.until("> ")
                terminal.type("cd jkl/mno/pqr/stu\n")
                terminal.until("/stu> ")
                terminal.type("\n")
                prompt = terminal.until("> ").split("\r")[-1].split("\n")[-1] + "> "
                assert len(prompt) <= columns - 10 and "/stu" in prompt, prompt
                terminal.type("exit\n")
                expect(terminal.end(), DONE)


def case_dumb():
    """A terminal that can do nothing, and none of ours to say otherwise."""
    with small(1) as cluster, shell(cluster, environment={"TERM": "dumb",
                                                            "NO_COLOR": ""}) as terminal:
        terminal.raw_until("muster:/> ")
        terminal.type("mkdir /d\nls\n")
        terminal.raw_until("d/")
        assert "\x1b" not in terminal.shown, terminal.shown
        terminal.type("exit\n")
        expect(terminal.end(), DONE)


def case_resize():
    with small(1) as cluster, shell(cluster) as terminal:
        for i in range(12):
            cluster.ok("create", "/name-%02d" % i)
        terminal.until("muster:/> ")
        terminal.wait_raw()
        terminal.resize(40)
        terminal.ask("pwd", "muster:/> ")
        shown = terminal.ask("ls", "muster:/> ")
        assert max(map(len, shown.split("\r\n"))) <= 40 and "name-11" in shown, shown
        terminal.type("cat na\t\t")
        terminal.until("name-11")
        terminal.resize(30)
        terminal.type("\x03")
        terminal.until("^C")
        terminal.ask("pwd", "muster:/> ")


# ---- completion


def completed(terminal, typed, prompt="muster:/d> "):
    """What the line that was typed, with Tabs, prints."""
    terminal.type(typed + "\n")
    return terminal.until(prompt)


def case_completion():
    with small(2) as cluster:
        cluster.ok("mkdir", "-p", "/d/sub/deeper")
        for i, name in enumerate(NAMES):
            cluster.ok("write", "/d/" + name, "content %d." % i)
        cluster.ok("write", "/d/sub/deeper/last", "the last one")
        local(cluster, "local file", b"local content")
        os.mkdir(cluster.path + "/folder")
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.type("cd d\t\n")
            terminal.until("muster:/d> ")
            for i, name in enumerate(NAMES):
                assert "content %d." % i in completed(
                    terminal, "cat -- " + {"$HOME": "\\$H", "*star": "\\*", "#hash": "\\#",
                                           "it's": "it", "-dash": "-d"}.get(name, name[:3].replace(
                                               " ", "\\ ")) + "\t"), name
            # Inside quotes, which Tab closes.
            assert "content 0." in completed(terminal, "cat \"with s\t")
            assert "content 1." in completed(terminal, "cat 'it\t")
            assert "content 2." in completed(terminal, "cat \"sa\t")
            # Directories go on.
            assert "the last one" in completed(terminal, "cat su\tde\tla\t")
            # The rest of the kinds of words.
            assert "muster 0." in completed(terminal, "vers\t")
            assert "usage: mkdir" in completed(terminal, "help mk\t")
            assert "-p, --parents" in completed(terminal, "mkd\t --he\t")
            assert "sub/" in completed(terminal, "ls --lo\t")
            assert "stored" in completed(terminal, "put loc\t new\n")
            completed(terminal, "lcd fol\t")
            terminal.type("lpwd\n")
            terminal.until("/folder\r\n")
            terminal.until("muster:/d> ")
            # What was removed; and what the words of an option can be.
            completed(terminal, "rm plain\b\b\b\b\bnew")
            assert "restored" in completed(terminal, "trash rest\tn\t").lower()
            terminal.type("events --level i\t")
            terminal.until("nfo")
            terminal.type("\x03")
            terminal.until("^C")


def case_completion_of_servers():
    with small(2) as cluster:
        names = [node["name"] for node in cluster.nodes()]
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.type("drain %s\t\t" % names[0][:1])
            terminal.until(sorted(names)[-1])
            terminal.type("\x15events --node %s\t\t" % names[0][:1])
            terminal.until(sorted(names)[-1])


def case_completion_is_bounded():
    """A directory with more names than anybody reads: what is inserted suits all of them."""
    with small(1) as cluster:
        os.mkdir(cluster.path + "/many")
        for i in range(2600):
            open(cluster.path + "/many/%s%04d" % ("same-a" if i < 2500 else "same-b", i),
                 "w").close()
        cluster.ok("put", "-r", cluster.path + "/many", "/many")
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.type("ls /many/s\t")
            terminal.until("ame-")
            terminal.type("\t")
            shown = terminal.until("... and more")
            assert "same-a0000" in shown and "same-b" not in shown, shown[-500:]
            terminal.type("b259\t\t")
            terminal.until("same-b2599")
            terminal.type("9\t\n")
            terminal.until("/many/same-b2599\r\n")
            terminal.until("muster:/> ")


def case_completion_does_not_wait():
    with small(1) as cluster, shell(cluster) as terminal:
        terminal.until("muster:/> ")
        with stopped([cluster.nameserver]):
            began = time.monotonic()
            terminal.type("ls x\t")
            terminal.until("ls x")
            terminal.raw_until("\x07")
            assert time.monotonic() - began < 2, time.monotonic() - began
            terminal.type("\x03")
            terminal.until("^C")


# ---- keys


def case_interrupt_at_the_prompt():
    with small(1) as cluster, shell(cluster) as terminal:
        terminal.until("muster:/> ")
        terminal.type("mkdir /never")
        terminal.until("never")
        terminal.type("\x03")
        terminal.until("^C")
        terminal.until("muster:/> ")
        terminal.type("ls\n")
        terminal.until("muster:/> ")
        cluster.fails("no such file", "stat", "/never")
        terminal.wait_raw()
        terminal.type("\x04")
        expect(terminal.end(), DONE)


def answered_within(terminal, seconds):
    """Ctrl-C, and how soon the prompt is back."""
    terminal.type("\x03")
    began = time.monotonic()
    terminal.until("cancelled")
    took = time.monotonic() - began
    terminal.until("muster:/> ")
    assert took < seconds, took
    return took


def case_interrupt_what_reads_keys():
    with small(2) as cluster, shell(cluster) as terminal:
        terminal.until("muster:/> ")
        terminal.line("put - /typed")
        terminal.wait_lines()
        terminal.type("half a line")
        terminal.until("half a line")
        terminal.type("\x03")
        terminal.until("cancelled")
        terminal.until("muster:/> ")
        cluster.fails("no such file", "stat", "/typed")
        terminal.line("put - /typed")
        terminal.type("a line\n\x04")
        terminal.until("stored /typed: 7 bytes")
        terminal.until("muster:/> ")


def case_interrupt_a_put():
    with small(3) as cluster, shell(cluster) as terminal:
        path = local(cluster, "big", content(64 * MIB))
        terminal.until("muster:/> ")
        terminal.line("pwd")
        terminal.until("muster:/> ")
        with stopped(cluster.storages):
            terminal.line("put %s /big" % path)
            wait_until(lambda: len(sockets(terminal.pid, ESTABLISHED)) > 1, 20)
            took = answered_within(terminal, 1.0)
        cluster.fails("no such file", "stat", "/big")
        assert "/" in terminal.ask("pwd", "muster:/> ")
        terminal.line("put %s /big" % path)
        terminal.until("stored /big", 60)
        terminal.until("muster:/> ")
        with stopped(cluster.storages):
            terminal.line("get /big copy")
            time.sleep(0.3)
            answered_within(terminal, 1.0)
        assert not [n for n in os.listdir(cluster.path) if "copy" in n], os.listdir(cluster.path)
        return "stopped after %.0f ms" % (took * 1000)


def case_typed_ahead():
    """What is typed while a command runs is for the next ones; so is Ctrl-D."""
    with small(2) as cluster:
        path = local(cluster, "some", content(2 * MIB))
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            with stopped(cluster.storages):
                terminal.line("put %s /some" % path)
                terminal.type("mkdir /ahead\n")
                terminal.until("mkdir /ahead")
            terminal.until("stored /some")
            terminal.until("muster:/> ")
            terminal.until("muster:/> ")
            cluster.ok("stat", "/ahead")
            with stopped(cluster.storages):
                terminal.line("put -f %s /some" % path)
                terminal.type("\x04")
            terminal.until("stored /some")
            expect(terminal.end(), DONE)


def case_suspend():
    """Ctrl-Z at the prompt: the terminal is the other shell's meanwhile, and ours again after."""
    with small(1) as cluster:
        environment = dict(cluster.environment, NO_COLOR="1", PS1="OUTER$ ")
        with Terminal(["bash", "--norc", "--noediting", "-i"], environment,
                      cluster.path) as terminal:
            terminal.until("OUTER$ ")
            terminal.type("%s\n" % " ".join(cluster.words((), False)))
            terminal.until("muster:/> ")
            terminal.wait_raw()
            terminal.type("mkdir /susp")
            terminal.until("/susp")
            terminal.type("\x1a")
            terminal.until("OUTER$ ")
            expect(terminal.mode(), (True, True), "the terminal of the other shell")
            terminal.type("fg\n")
            terminal.until("muster:/> mkdir /susp")
            terminal.wait_raw()
            terminal.type("ended\n")
            wait_until(lambda: cluster.muster("stat", "/suspended").status == DONE)
            terminal.type("exit\n")
            terminal.until("OUTER$ ")
            expect(terminal.mode(), (True, True), "the terminal after all")


def case_stuck():
    """What does not listen to Ctrl-C is left at the second one."""
    with small(1) as cluster, shell(cluster) as terminal:
        terminal.until("muster:/> ")
        terminal.line("lls -d /")
        terminal.until("muster:/> ")
        environment = dict(cluster.environment)
        script = local(cluster, "ls", b"#!/bin/sh\ntrap '' INT\necho stuck\nexec sleep 60\n")
        os.chmod(script, 0o755)
        environment["PATH"] = cluster.path + ":" + environment["PATH"]
        with Terminal(cluster.words((), False), dict(environment, NO_COLOR="1"),
                      cluster.path) as other:
            other.until("muster:/> ")
            other.line("lls")
            other.until("stuck")
            other.type("\x03")
            time.sleep(1.2)
            assert other.process.poll() is None
            other.type("\x03")
            assert other.end() != DONE
            expect(other.mode(), (True, True))


def case_vanished_terminal():
    with small(2) as cluster:
        path = local(cluster, "big", content(64 * MIB))
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.vanish()
            expect(terminal.end(), FAILED)
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            with stopped(cluster.storages):
                terminal.line("put %s /big" % path)
                wait_until(lambda: len(sockets(terminal.pid, ESTABLISHED)) > 1, 20)
                terminal.vanish()
                assert terminal.end() != DONE
        cluster.fails("no such file", "stat", "/big")


# ---- history


def case_history():
    with small(1) as cluster:
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.ask("mkdir '/two  words'", "muster:/> ")
            with shell(cluster) as other:
                other.until("muster:/> ")
                other.ask("mkdir /other", "muster:/> ")
            # Killed: nothing is lost all the same.
            terminal.ask("pwd", "muster:/> ")
        text = read(state_file(cluster, "history"))
        assert "other" in text and "pwd" in text and text.count("\n") == 4, text
        expect(os.stat(state_file(cluster, "history")).st_mode & 0o777, 0o600)
        with shell(cluster) as terminal:
            terminal.until("muster:/> ")
            terminal.wait_raw()
            terminal.type("\x1b[A\x1b[A\x1b[A\n")
            terminal.until("muster: mkdir: /two  words: file exists")
            terminal.until("muster:/> ")
            terminal.wait_raw()
            terminal.type("\x12othe\n")
            terminal.until("muster: mkdir: /other: file exists")


def case_history_that_cannot_be_kept():
    with small(1) as cluster:
        shutil.rmtree(os.path.join(cluster.path, "state"))
        local(cluster, "state")
        with shell(cluster) as terminal:
            shown = terminal.until("muster:/> ")
            assert shown.count("the history is not kept") == 1, shown
            for _ in range(2):
                shown = terminal.ask("pwd", "muster:/> ")
                assert "history" not in shown, shown
            terminal.type("\x1b[A\n")
            terminal.until("pwd")
            terminal.until("muster:/> ")


# ---- the name server comes and goes


def case_reconnect():
    with small(2) as cluster, shell(cluster, "--timeout", "2") as terminal:
        terminal.until("muster:/> ")
        terminal.ask("mkdir /d", "muster:/> ")
        cluster.nameserver.kill()
        began = time.monotonic()
        shown = terminal.ask("ls", "> ", 10)
        assert "muster: ls:" in shown and time.monotonic() - began < 6, shown
        assert "[no name server]" in shown, shown
        cluster.nameserver_start()
        shown = terminal.ask("mkdir /d/e", "muster:/", 10)
        assert "muster: mkdir" not in shown, shown
        cluster.ok("stat", "/d/e")
        # Killed and back between two commands: not a word.
        terminal.ask("pwd", "> ")
        cluster.nameserver.kill()
        cluster.nameserver_start()
        shown = terminal.ask("mkdir /d/f", "> ", 10)
        assert "muster: mkdir" not in shown, shown
        cluster.ok("stat", "/d/f")


# ---- progress


def case_progress():
    """A line with percent, rate and time left, on a terminal only, as wide as that."""
    with small(2) as cluster:
        path = local(cluster, "big", content(96 * MIB))
        for columns in (80, 40, 20):
            name = "/big-%d" % columns
            with Terminal(cluster.words(("put", path, name), False), cluster.environment,
                          cluster.path, columns=columns) as terminal:
                for _ in range(100):
                    with stopped(cluster.storages):
                        terminal.read(0.15)
                    terminal.read(0.005)
                    if terminal.process.poll() is not None:
                        break
                expect(terminal.end(60), DONE, terminal.shown)
            lines = [line for line in terminal.shown.replace("\x1b[K", "").split("\r")
                     if "%" in line]
            assert lines, terminal.shown
            assert max(map(len, lines)) < columns, lines
        result = cluster.ok("get", "/big-80", "copy")
        expect(result.err, "")


# ---- the console


@contextlib.contextmanager
def console(cluster, *arguments, name="console"):
    data = os.path.join(cluster.path, name)
    words = [os.path.join(BUILD, "muster-nameserver"), "--data", data, "--cluster", cluster.name + name,
             "--interface", "lo", "--port", "0", "--beacon-port", str(cluster.beacon_port),
             "--console", *arguments]
    with Terminal(words, dict(cluster.environment, NO_COLOR="1"), cluster.path) as terminal:
        terminal.data = data
        yield terminal


def children(pid):
    return [int(number) for number in read("/proc/%d/task/%d/children" % (pid, pid)).split()]


def storage_join(cluster, terminal):
    terminal.until("muster:/ [no servers]> ")
    return cluster.daemon("muster-storage", "--data", terminal.data + "-store", "--interface", "lo",
                          "--port", "0", "--beacon-port", str(cluster.beacon_port), "--cluster",
                          cluster.name + "console")


def case_console():
    with small(0) as cluster, console(cluster) as terminal:
        shown = terminal.until("muster:/ [no servers]> ")
        log = terminal.data + "/nameserver.log"
        assert log in shown and " started " in read(log), shown
        terminal.shown = "muster:/ [no servers]> "
        storage_join(cluster, terminal)

        def joined():
            terminal.type("\n")
            terminal.read(0.3)
            return terminal.plain().endswith("muster:/> ")
        wait_until(joined, 20)
        terminal.shown = ""

        def ask(text):
            return terminal.ask(text, "muster:/> ", 30)

        ask("copies 1 /")
        assert "stored /a" in ask("WRITE,a,hello, world; 'quoted' -f --help *")
        expect(ask("READ,a"), "hello, world; 'quoted' -f --help *")
        assert "file exists" in ask("WRITE,a,again")
        ask("APPEND,a,, and more")
        expect(ask("READ,a"), "hello, world; 'quoted' -f --help *, and more")
        expect(ask("READB,a,7,5"), "world")
        assert "READB: '-1' is no number" in ask("READB,a,-1,5")
        assert "wants READB,NAME,POSITION,COUNT" in ask("READB,a,1")
        assert "muster: " in ask("READB,a,1000,5")
        assert "no such file" in ask("READ,missing")
        assert "no such file" in ask("APPEND,missing,x")
        assert "no such file" in ask("DELETE,missing")
        assert "wants WRITE,NAME,TEXT" in ask("WRITE,a")
        assert "wants WRITE,NAME,TEXT" in ask("WRITE a b")
        assert "wants READ,NAME" in ask("READ,")
        assert "wants LS" in ask("LS,x")
        assert "no such command: write,a,b" in ask("write,a,b")
        assert "stored /with space" in ask("WRITE,with space,")
        ask("mkdir /d")
        assert "a" in ask("LS") and "with space" in ask("LS")
        terminal.type("cd d\n")
        terminal.until("muster:/d> ")
        terminal.type("WRITE,b,below\n")
        terminal.until("stored /d/b")
        terminal.until("muster:/d> ")
        terminal.type("READ,/d/b\n")
        terminal.until("below")
        terminal.type("cd /\n")
        terminal.until("muster:/> ")
        ask("DELETE,with space")
        assert "with space" not in ask("LS")
        assert "READB,NAME,POSITION,COUNT" in ask("help")
        # Ctrl-C and Ctrl-Z are for the shell; the server goes on.
        terminal.type("junk\x03")
        terminal.until("^C")
        terminal.type("\x1a")
        terminal.ask("pwd", "muster:/> ")
        terminal.type("QUIT\n")
        expect(terminal.end(), DONE, terminal.shown)
        assert " stopped " in read(log), read(log)
        expect(terminal.mode(), (True, True))


def case_console_checks_all():
    with small(0) as cluster, console(cluster) as terminal:
        storage_join(cluster, terminal)

        def joined():
            terminal.type("\n")
            terminal.read(0.3)
            return terminal.plain().endswith("muster:/> ")
        wait_until(joined, 20)
        terminal.shown = ""
        for i in range(3):
            terminal.ask("WRITE,f%d,text %d" % (i, i), "muster:/")
        shown = terminal.ask("SYNCH", "muster:/", 30)
        assert "3 files" in shown or "ok" in shown, shown
        terminal.type("FORMAT\n")
        terminal.until("?")
        terminal.type("n\n")
        terminal.until("muster:/")
        assert "f0" in terminal.ask("LS", "muster:/")


def case_console_ends():
    """By Ctrl-D, by SIGTERM, by death; always with a terminal that echoes."""
    with small(0) as cluster:
        with console(cluster, name="a") as terminal:
            terminal.until("> ")
            terminal.wait_raw()
            terminal.type("\x04")
            expect(terminal.end(), DONE)
            expect(terminal.mode(), (True, True))
        with console(cluster, "--log-file", cluster.path + "/own.log", name="b") as terminal:
            terminal.until("> ")
            terminal.wait_raw()
            child, = children(terminal.pid)
            terminal.signal(signal.SIGTERM)
            expect(terminal.end(), DONE)
            expect(terminal.mode(), (True, True))
            assert not os.path.exists("/proc/%d" % child)
            assert " stopped " in read(cluster.path + "/own.log")
        with console(cluster, name="c") as terminal:
            terminal.until("> ")
            terminal.wait_raw()
            child, = children(terminal.pid)
            terminal.signal(signal.SIGKILL)
            assert terminal.end() != DONE
            wait_until(lambda: not os.path.exists("/proc/%d" % child) or
                       " Z " in read("/proc/%d/stat" % child))
            wait_until(lambda: terminal.mode() == (True, True))
        with console(cluster, name="d") as terminal:
            terminal.until("> ")
            terminal.wait_raw()
            child, = children(terminal.pid)
            os.kill(child, signal.SIGKILL)
            expect(terminal.end(), DONE)
            expect(terminal.mode(), (True, True))
        with console(cluster, name="e") as terminal:
            terminal.until("> ")
            child, = children(terminal.pid)
            terminal.vanish()
            terminal.end()
            wait_until(lambda: not os.path.exists("/proc/%d" % child))
        daemon = cluster.daemon("muster-nameserver", "--data", cluster.path + "/f", "--interface",
                                "lo", "--port", "0", "--console")
        expect(daemon.wait(), FAILED)
        expect(daemon.output().count("\n"), 1, daemon.output())
        assert "there is no terminal" in daemon.output(), daemon.output()
        assert not os.path.exists(cluster.path + "/f")


def case_commas_elsewhere():
    """Only in the console."""
    with small(1) as cluster:
        result = cluster.muster(stdin=b"WRITE,a,b\n")
        expect(result.status, USAGE)
        assert "no such command" in result.err, result
        result = cluster.muster("--console", stdin=b"WRITE,a,b,c\nREAD,a\nQUIT\nREAD,missing\n")
        expect(result.status, DONE, result)
        assert result.out.endswith(b"b,c"), result


# ---- doctor


def doctor(clients, *options, status=DONE):
    result = clients.muster(*options, "doctor", json_=True)
    expect(result.status, status, result)
    return result.json()


def mends(report):
    return " | ".join(problem["what"] + " => " + problem["mend"] for problem in report["problems"])


def case_doctor():
    with small(2, *SOON) as cluster:
        report = doctor(cluster)
        expect(report["ok"], True, report)
        lo = next(row for row in report["interfaces"] if row["name"] == "lo")
        expect((lo["address"], lo["loopback"], lo["up"], lo["used"]),
               ("127.0.0.1", True, True, True))
        expect([(row["interface"], row["cluster"], row["nameserver"]) for row in report["beacons"]],
               [("lo", cluster.name, "127.0.0.1:%d" % cluster.port)])
        assert report["nameserver"]["reached"] and report["nameserver"]["rtt_us"] < 1000000, report
        expect([(node["state"], node["active"], node["passive"]) for node in report["nodes"]],
               [("online", "ok", "ok")] * 2)
        assert report["nameserver"]["client_port"] > 0, report
        text = cluster.ok("doctor").out.decode()
        assert "All is well." in text and "hears" in text.lower(), text
        cluster.storages[1].kill()
        cluster.wait_until(lambda: "offline" in [node["state"] for node in cluster.nodes()])
        report = doctor(cluster, status=FAILED)
        assert "is offline" in mends(report) and "forget" in mends(report), report
        text = cluster.muster("doctor").out.decode()
        assert "Problems" in text and "mend it: start muster-storage" in text, text
        cluster.nameserver.kill()
        report = doctor(cluster, status=NO_NAMESERVER)
        expect(report["nameserver"]["reached"], False)
        assert "6235" in mends(report), report


def case_doctor_alone():
    with small(0) as cluster:
        cluster.nameserver.kill()
        cluster.words = lambda words, json_: [
            MUSTER, "--interface", "lo", "--beacon-port", str(cluster.beacon_port)] + \
            ["--json"] * json_ + [str(word) for word in words]
        report = doctor(cluster, status=NO_NAMESERVER)
        assert "UDP port %d" % cluster.beacon_port in mends(report), report
        assert "only loopback" in mends(report) and "--nameserver" in mends(report), report


def case_doctor_lan():
    """Two clusters; then one that is heard by nobody, and ports that are closed."""
    problem = lan.why_not()
    if problem:
        raise Skip("no network namespaces: " + problem)
    with lan.Lan(4) as net:
        one, two, three, four = net.hosts
        one.nameserver("office", *SOON)
        three.storage("--cluster", "office")
        four.options = ["--cluster", "office"]
        four.wait_online(1)
        four.options = []
        report = doctor(four)
        expect([(row["interface"], row["cluster"]) for row in report["beacons"]],
               [("eth0", "office")], report)
        expect(report["nodes"][0]["active"], "ok")
        two.nameserver("lab")
        # It remembers its name server; whoever comes new could not choose.
        report = doctor(four, status=FAILED)
        assert "several clusters are heard" in mends(report) and "--cluster" in mends(report), report
        os.remove(four.environment["XDG_STATE_HOME"] + "/muster/nameservers")
        report = doctor(four, status=NO_NAMESERVER)
        assert "several clusters are heard" in mends(report) and "--cluster" in mends(report), report
        expect(sorted(row["cluster"] for row in report["beacons"]), ["lab", "office"])
        four.options = ["--cluster", "office"]
        expect(doctor(four)["nameserver"]["cluster"], "office")
        # Servers cannot dial this client.
        four.drop("input tcp dport 3504-3600 ct state new", )
        report = doctor(four, status=FAILED)
        assert "3504-3600" in mends(report) and "--transfer passive" in mends(report), report
        four.options = ["--cluster", "office", "--transfer", "passive"]
        expect(doctor(four)["ok"], True)
        four.options = ["--cluster", "office"]
        four.inside("nft", "flush", "ruleset")
        # This client cannot dial servers.
        four.drop("output tcp dport 3503")
        report = doctor(four, status=FAILED)
        assert "3503" in mends(report) and "--transfer active" in mends(report), report
        four.inside("nft", "flush", "ruleset")
        # Broadcasts do not come through.
        four.drop("input udp dport 3501")
        four.options = []
        report = doctor(four, status=NO_NAMESERVER)
        assert "UDP port 3501" in mends(report) and "--nameserver" in mends(report), report
        four.options = ["-n", one.address]
        report = doctor(four)
        expect((report["beacons"], report["nameserver"]["reached"]), ([], True))
        # Heard, but closed.
        four.inside("nft", "flush", "ruleset")
        four.drop("output tcp dport 6235")
        four.options = ["--cluster", "office"]
        report = doctor(four, status=NO_NAMESERVER)
        assert "6235" in mends(report), report


CASES = [value for name, value in sorted(globals().items()) if name.startswith("case_")]

if __name__ == "__main__":
    lan.enter(["python3", "-B"] + sys.argv)
    sys.exit(main(CASES, WORKERS))
