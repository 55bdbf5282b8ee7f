#!/usr/bin/env python3
"""Every command of the shell that changes, moves, verifies or tells, good and bad, as text and as
JSON, against one cluster of `muster up`; what test_cli.py does not do.

    test_commands.py [NAME ...]     only the tests whose names contain one of these
"""
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_cli as cli  # noqa: E402
from muster_proc import wait_until  # noqa: E402
from test_cli import DONE, FAILED, LIMIT_S, MUSTER, SERVERS, USAGE, Place, Terminal, keys  # noqa: E402

CHUNK = 16 << 20
DEPTH_MAX = 128  # components of a path
# Given as arguments to everything.
KINDS = ["", "/", ".", "..", "-", "--", "*", "/*/?[a-z]\\*", "/no/where", "99999999999999999999", "-1",
         "-z", "--frob", "--copies=x", "n" * 255, "n" * 256, "/d" * 2047, "d/" * 3000, "ü\\", "\udcff\udcfe",
         "\x1b[31m", "a\tb", "[", "-c", "-t", "--range", "--id", "--level"]
# These would start, stop or look at more than the cluster of this test, or end the shell.
SPARED = ("up", "down", "exit", "doctor")


def lines(result):
    return [json.loads(line) for line in result.out.splitlines()]


def names(cluster, *words):
    return cluster.ok("ls", *words).text.split()


def quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def script(cluster, text, *words):
    return cluster.run("--keep-going", *words, stdin=os.fsencode(text))


def servers(cluster):
    return lines(cluster.ok("--json", "nodes"))


def damage(cluster, content):
    """Changes a byte of one copy of these bytes, on the disk of its server; returns that server."""
    for i in range(SERVERS):
        server = "storage-%d" % (i + 1)
        for folder, _, found in os.walk(os.path.join(cluster.data, server, "data")):
            for name in found:
                with open(os.path.join(folder, name), "r+b") as file:
                    at = file.read().find(content)
                    if at >= 0:
                        file.seek(at)
                        file.write(bytes([content[0] ^ 1]))
                        return server
    raise AssertionError("no server has it")


# ---- arguments ----

def test_every_command_survives_anything(cluster):
    """Done, refused or wrong usage; never a crash, a hang or silence."""
    home = cluster.directory()
    commands = [line["command"] for line in lines(cluster.ok("--json", "help"))]
    assert len(commands) > 35, commands
    for command in commands:
        if command in SPARED:
            continue
        rows = [[command]] + [[command] + [kind] * count for kind in KINDS for count in range(1, 6)]
        rows += [[command, one, other] for one in KINDS[::3] for other in KINDS[1::4]]
        text = "cd %s\n" % home + "".join(" ".join(map(quoted, row)) + "\n" for row in rows)
        for how in ([], ["--json"]):
            result = script(cluster, text + "version\n", *how)
            assert result.status in (DONE, FAILED, USAGE), (command, result)
            assert re.search(rb"(muster |\"version\":\")0[^\n]*\n$", result.out), (command, result)
            assert b"\x1b" not in result.err, (command, result)
            for line in result.err.splitlines() if how else []:
                assert keys(json.loads(line)) == ["error"], (command, line)
    cluster.ok("cd")


def test_huge_numbers(cluster):
    home = cluster.directory()
    for number in ("99999999999999", "18446744073709551616", "-1", "0", "1e3", "0x2", ""):
        cluster.fails(USAGE, "number of copies", "copies", "--", number, home)
        cluster.fails(USAGE, "number of copies", "write", "-c", number, home + "/f", "x")
        cluster.fails(USAGE, "--id wants", "trash", "restore", "--id", number + "x", home)
    cluster.ok("write", home + "/f", "hello")
    for text in ("99999999999999999999:1", "0:99999999999999999999", "-1:5", ":", "a:b", "1", ""):
        cluster.fails(USAGE, "--range wants", "get", "--range", text, home + "/f", "-")
    assert cluster.ok("get", "--range", "1:99999999999", home + "/f", "-").out == b"ello"
    cluster.fails(FAILED, "outside the file", "get", "--range", "6:1", home + "/f", "-")
    cluster.fails(USAGE, "for one file", "get", "-r", "--range", "0:1", home, "x")


# ---- patterns ----

def test_patterns(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/x1/sub", home + "/x2", home + "/.hidden", home + "/y z")
    for name in ("x1/b1.txt", "x1/b2.txt", "x1/c.log", "x2/b3.txt", "x2/.b4.txt", "y z/b5.txt"):
        cluster.ok("create", home + "/" + name)
    assert names(cluster, home + "/*/b?.txt") == [
        home + "/x1/b1.txt", home + "/x1/b2.txt", home + "/x2/b3.txt", home + "/y", "z/b5.txt"]
    assert names(cluster, home + "/x?/[!c]*.txt") == [
        home + "/" + name for name in ("x1/b1.txt", "x1/b2.txt", "x2/b3.txt")]
    assert names(cluster, home + "/x2/.b*") == [home + "/x2/.b4.txt"]
    assert names(cluster, home + "/x1/../.h*") == []
    assert names(cluster, home + "/x*/../.h*") == []
    assert names(cluster, "/*" + home[2:] + "/x1/*.log") == [home + "/x1/c.log"]
    assert names(cluster, home + "/*1/") == ["b1.txt", "b2.txt", "c.log", "sub/"]
    assert names(cluster, home + "/*/c.log") == [home + "/x1/c.log"]
    for pattern in ("q*", "x1/*.c", "*/nothing", "x1/c.log/*", "x1/[", "*.log/"):
        cluster.fails(FAILED, "ls: .*: no match$", "ls", home + "/" + pattern)
    cluster.fails(FAILED, "nothing above the root", "ls", "/../*")
    result = cluster.run("rm", home + "/x1/*")
    assert result.status == DONE and result.text.count("removed") == 4, result
    cluster.ok("cd", home)
    try:
        assert names(cluster, "x2/b*") == [home + "/x2/b3.txt"]
        cluster.ok("mkdir", "a*")
        assert cluster.ok("ls", "a*").text == ""
    finally:
        cluster.ok("cd")


def test_patterns_that_lead_back(cluster):
    """Each name once, however many ways lead to it, and in a time that does not grow with the ways."""
    home = cluster.directory()
    cluster.ok("mkdir", *[home + "/d%d" % i for i in range(20)])
    cluster.ok("create", home + "/x", home + "/d3/y")
    for pattern, found in (("/*/.." * 12 + "/[x]", "x"), ("/*/.." * 12 + "/x", "x"), ("/d*/../[x]", "x"), ("/*/../*/y", "d3/y"),
                           ("/*/../d*/../*/../d3/?", "d3/y")):
        assert names(cluster, home + pattern) == [home + "/" + found], pattern
    assert cluster.ok("rm", home + "/*/../x").text == "removed %s/x: 1 entry, 0 bytes\n" % home


def test_patterns_and_quotes(cluster):
    """In a line only what is not quoted is a pattern; a name that is spelt so always wins."""
    home = cluster.directory()
    for name in ("a*", "ab", "ac", "back\\slash", "sp ace1", "sp ace2"):
        cluster.ok("create", home + "/" + name)

    def shown(text):
        result = script(cluster, "cd %s\n%s\n" % (home, text))
        return [os.path.basename(line) for line in result.text.splitlines()] or result.error

    assert shown("ls a*") == ["a*"]
    cluster.ok("rm", home + "/a\\*")
    assert shown("ls a*") == ["ab", "ac"]
    for text in ("ls 'a*'", 'ls "a*"', "ls a\\*"):
        assert "no such file" in shown(text), text
    assert shown("ls 'sp 'a*") == ["sp ace1", "sp ace2"]
    assert shown("ls sp\\ ace?") == ["sp ace1", "sp ace2"]
    assert shown("ls 'sp 'ac'e?'") and "no such file" in shown("ls 'sp 'ac'e?'")
    assert shown("ls back*") == ["back\\\\slash"]
    assert cluster.ok("ls", home + "/back\\slash").text.endswith("back\\\\slash\n")
    assert "no match" in shown("ls q*")
    assert "matches 2 names" in shown("write -f a? text")
    assert script(cluster, "cd %s\nwrite -f sp*1 text\n" % home).text.startswith(
        "stored %s/sp ace1: 4 bytes" % home)
    for name in ("one.c", "two.c", "one.h"):
        cluster.file(name)
    result = script(cluster, "put *.c %s\n" % home)
    assert result.status == DONE and result.text.count("stored") == 2, result
    assert "no match" in script(cluster, "put *.x %s\n" % home).error
    assert "no such file" in script(cluster, "put '*.c' %s\n" % home).error
    assert script(cluster, "lls *.c\n").text.split() == ["one.c", "two.c"]


# ---- mv, cp ----

def test_mv(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", home + "/d", home + "/e")
    cluster.ok("write", home + "/f", "eff")
    cluster.ok("write", home + "/g", "gee")
    assert cluster.ok("mv", home + "/f", home + "/f2").text == "moved %s/f -> %s/f2\n" % (home, home)
    assert cluster.ok("mv", home + "/f2", home + "/d").text == "moved %s/f2 -> %s/d/f2\n" % (home, home)
    cluster.fails(FAILED, r"mv: %s/g: file exists \(use -f to replace it\)" % home, "mv", home + "/d/f2",
                  home + "/g")
    cluster.ok("mv", "-f", home + "/d/f2", home + "/g")
    assert cluster.ok("cat", home + "/g").text == "eff"
    record = cluster.ok("--json", "mv", home + "/d", home + "/e/").json()
    assert record == {"path": home + "/d", "to": home + "/e/d"}, record
    cluster.fails(FAILED, "goes? into itself|cannot go into itself", "mv", home + "/e", home + "/e/d")
    cluster.fails(FAILED, "mv: %s/nothing: no such file" % home, "mv", home + "/nothing", home + "/x")
    cluster.fails(FAILED, "mv: %s/no/where: no such file" % home, "mv", home + "/g", home + "/no/where")
    cluster.fails(FAILED, "not a directory", "mv", home + "/g", home + "/e", home + "/g")
    cluster.fails(FAILED, "no such file", "mv", home + "/g", home + "/new/")
    cluster.fails(USAGE, "at least 2", "mv", home + "/g")
    cluster.ok("write", home + "/h", "aitch")
    text = cluster.ok("mv", home + "/[gh]", home + "/e/d").text
    assert text.count("moved") == 2 and names(cluster, home + "/e/d") == ["g", "h"], text
    result = cluster.run("mv", home + "/nothing", home + "/e/d/g", home)
    assert result.status == FAILED and "moved" in result.text, result


def test_cp(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/d/e")
    cluster.ok("write", home + "/d/f.txt", "hello")
    assert cluster.ok("cp", home + "/d/f.txt", home).text == (
        "copied %s/d/f.txt -> %s/f.txt: 1 entry, 5 bytes\n" % (home, home))
    cluster.fails(FAILED, r"cp: %s/f.txt: file exists \(use -f to replace it, --keep-both" % home, "cp",
                  home + "/d/f.txt", home)
    cluster.ok("write", "-f", home + "/d/f.txt", "other")
    assert cluster.ok("cat", home + "/f.txt").text == "hello"
    cluster.ok("cp", "-f", home + "/d/f.txt", home + "/f.txt")
    assert cluster.ok("cat", home + "/f.txt").text == "other"
    assert "-> %s/f(1).txt:" % home in cluster.ok("cp", "--keep-both", home + "/d/f.txt", home).text
    cluster.fails(FAILED, r"cp: %s/d: is a directory \(use -r\)" % home, "cp", home + "/d", home + "/d2")
    record = cluster.ok("--json", "cp", "-r", home + "/d", home + "/d2").json()
    assert record == {"path": home + "/d", "to": home + "/d2", "copied": 3, "bytes": 5}, record
    assert names(cluster, home + "/d2") == ["e/", "f.txt"]
    cluster.fails(FAILED, "into itself", "cp", "-r", home + "/d", home + "/d/e")
    cluster.fails(FAILED, "cp: %s/nothing: no such file" % home, "cp", home + "/nothing", home + "/x")
    cluster.fails(USAGE, "choose one", "cp", "-f", "--keep-both", home + "/d/f.txt", home)
    text = cluster.ok("cp", "-r", home + "/d/*", home + "/d2/e").text
    assert text.count("copied") == 2, text


# ---- append ----

def test_append(cluster):
    home = cluster.directory()
    cluster.ok("write", home + "/f", "one")
    cluster.file("more", b" two")
    assert cluster.ok("append", home + "/f", "more").text == "appended to %s/f: 7 bytes, 3/3 copies\n" % home
    cluster.ok("append", home + "/f", "-", stdin=b" three")
    record = cluster.ok("--json", "append", "-t", " four", home + "/f").json()
    assert keys(record) == ["copies", "copies_wanted", "digest", "path", "size", "version"], record
    assert record["size"] == 18, record
    assert cluster.ok("cat", home + "/f").text == "one two three four"
    cluster.fails(FAILED, "append: %s/no: no such file" % home, "append", home + "/no", "more")
    cluster.fails(FAILED, "append: nothing: no such file", "append", home + "/f", "nothing")
    cluster.fails(FAILED, "is a directory", "append", "-t", "x", home)
    cluster.fails(USAGE, "not both", "append", "-t", "x", home + "/f", "more")
    cluster.fails(USAGE, "wants a local file", "append", home + "/f")
    cluster.fails(FAILED, "standard input", stdin=b"append %s -\n" % os.fsencode(home + "/f"))


# ---- what is held ----

def test_ls_copies(cluster):
    home = cluster.directory()
    content = os.urandom(3000)
    cluster.ok("put", "-", home + "/f", stdin=content)
    cluster.ok("put", "-", home + "/long", stdin=os.urandom(CHUNK + 5))
    cluster.ok("create", home + "/empty")
    cluster.ok("mkdir", home + "/sub")
    by_name = {record["name"]: record for record in lines(cluster.ok("--json", "ls", "--copies", home))}
    known = {server["name"]: server["address"] for server in servers(cluster)}
    assert by_name["empty"]["holders"] == by_name["sub"]["holders"] == [], by_name
    for name in ("f", "long"):
        holders = by_name[name]["holders"]
        assert len(holders) == 3, holders
        for holder in holders:
            assert keys(holder) == ["address", "digest", "node", "state"], holder
            assert holder["address"] == known[holder["node"]] and holder["state"] == "ok", holder
            assert holder["digest"] == by_name[name]["digest"], (holder, by_name)
    text = cluster.ok("ls", "--copies", home + "/f").text.splitlines()
    assert text[0] == home + "/f" and len(text) == 4, text
    assert all(re.fullmatch(r"    \S+ +xxh3:[0-9a-f]{32}  ok", line) for line in text[1:]), text
    assert len({line.index("xxh3:") for line in text[1:]}) == 1, text
    damage(cluster, content)
    states = [holder["state"] for holder in cluster.ok("--json", "ls", "--copies", home + "/f").json()["holders"]]
    assert sorted(states) == ["mismatch", "ok", "ok"], states
    repaired(cluster, home + "/f")


def repaired(cluster, path):
    def whole():
        record = cluster.run("--json", "verify", path).json()
        return record["ok"] and record["copies"] == 3
    wait_until(whole, 60)


def test_verify(cluster):
    home = cluster.directory()
    content = os.urandom(5000)
    cluster.ok("mkdir", "-p", home + "/d/e")
    cluster.ok("put", "-", home + "/d/f", stdin=content)
    cluster.ok("put", "-", home + "/d/e/g", stdin=os.urandom(10))
    assert cluster.ok("verify", home).text == "verified 2 files, 4.9 KiB: 6 copies, all good\n"
    record = cluster.ok("--json", "verify", home + "/d/f", home + "/d/e").json()
    assert record == {"bad_copies": [], "ok": True, "files": 2, "bytes": 5010, "copies": 6, "bad": 0,
                      "silent": 0}, record
    damage(cluster, content)
    result = cluster.run("verify", home)
    assert result.status == FAILED, result
    assert re.search(r"^mismatch  %s/d/f  at byte 0 on \S+$" % home, result.text, re.M), result
    assert "6 copies, 1 bad, to be replaced" in result.text, result
    repaired(cluster, home + "/d/f")
    damage(cluster, content)
    result = cluster.run("--json", "verify", home)
    record = result.json()
    assert result.status == FAILED and not record["ok"] and record["bad"] == 1, result
    bad = record["bad_copies"]
    assert len(bad) == 1 and keys(bad[0]) == ["address", "digest", "node", "offset", "path", "state"], bad
    assert bad[0]["path"] == home + "/d/f" and bad[0]["state"] == "mismatch", bad
    repaired(cluster, home + "/d/f")
    result = cluster.run("verify", "/nothing", home)
    assert result.status == FAILED and "no such file" in result.error, result
    assert result.text == "verified 2 files, 4.9 KiB: 6 copies\n", result


def test_check(cluster):
    home = cluster.directory()
    wait_until(lambda: cluster.run("--json", "check").status == DONE, 60)
    assert cluster.ok("check").text == "no problems\n"
    assert cluster.ok("--json", "check").json() == {"problems": [], "ok": True}
    cluster.ok("write", "-c", "5", home + "/f", "x")
    result = cluster.run("--json", "check")
    record = result.json()
    assert result.status == FAILED and record["ok"] is False, result
    found = [problem for problem in record["problems"] if problem["path"] == home + "/f"]
    assert len(found) == 1 and keys(found[0]) == ["detail", "kind", "path"], record
    assert found[0]["kind"] == "under_copied", record
    result = cluster.run("check")
    assert result.status == FAILED and result.text.startswith("PROBLEM"), result
    assert re.search(r"^under_copied  3/5 +%s/f: " % home, result.text, re.M), result
    cluster.ok("copies", "3", home + "/f")
    wait_until(lambda: cluster.run("check").status == DONE, 30)


# ---- events ----

def test_events(cluster):
    home = cluster.directory()
    cluster.ok("write", home + "/f", "x")
    records = lines(cluster.ok("--json", "events"))
    for record in records:
        assert keys(record) == ["event", "level", "node", "number", "text", "time"], record
    assert [record["number"] for record in records] == sorted(record["number"] for record in records)
    assert any(home + "/f" in record["text"] for record in records), records[-3:]
    assert abs(records[-1]["time"] - time.time() * 1000) < 60000, records[-1]
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  info   .*%s/f" % home, cluster.ok("events").text, re.M)
    assert all(record["level"] in ("error", "warn")
               for record in lines(cluster.ok("--json", "events", "--level", "warn")))
    name = servers(cluster)[0]["name"]
    records = lines(cluster.ok("--json", "events", "--node", name))
    assert records and all(record["node"] == name for record in records), records
    cluster.fails(USAGE, "--level wants", "events", "--level", "loud")
    cluster.fails(USAGE, "takes no arguments", "events", "all")


def test_events_followed(cluster):
    home = cluster.directory()
    process = cluster.start("--json", "events", "-f")
    try:
        cluster.ok("write", home + "/new", "x")
        while home + "/new" not in json.loads(process.stdout.readline())["text"]:
            pass
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=LIMIT_S)
        assert process.returncode == DONE and not error, (process.returncode, error)
    finally:
        process.kill()
        process.wait()


# ---- servers ----

def test_servers_by_name(cluster):
    known = servers(cluster)
    for command in ("drain", "undrain", "forget"):
        cluster.fails(FAILED, "nobody: no such storage server", command, "nobody")
        cluster.fails(FAILED, ": no such storage server", command, "")
        cluster.fails(USAGE, "wants 1 argument", command)
    shared = [server for server in known if server["id"][0] == known[0]["id"][0]]
    if len(shared) > 1:
        cluster.fails(FAILED, "several servers begin so", "drain", known[0]["id"][0])
    cluster.fails(FAILED, r"forget: %s: the server is online \(" % known[0]["name"], "forget", known[0]["id"][:12])


def test_drain(cluster):
    home = cluster.directory()
    cluster.ok("write", "-c", "1", home + "/f", "x")
    server = servers(cluster)[0]
    record = cluster.ok("--json", "drain", server["name"]).json()
    assert keys(record) == ["chunks", "draining", "id", "node"] and record["draining"] is True, record
    assert [s["state"] for s in servers(cluster) if s["id"] == server["id"]] == ["draining"]
    cluster.ok("write", "-c", "1", home + "/g", "x")
    holders = cluster.ok("--json", "stat", home + "/g").json()["holders"]
    assert [holder for holder in holders if holder["id"] == server["id"]] == [], holders
    assert "in service again" in cluster.ok("undrain", server["id"][:10].upper()).text
    assert all(s["state"] == "online" for s in servers(cluster))


def test_forget():
    with Place() as place:
        data = place.path + "/try"
        try:
            place.ok("-q", "up", "2", "--data", data)
            place.ok("write", "/f", "x")
            names_before = {server["name"] for server in servers(place)}
            os.kill(int(open(data + "/storage-2/pid").read()), signal.SIGKILL)
            gone = []

            def offline():
                gone[:] = [server for server in servers(place) if server["state"] == "offline"]
                return gone
            wait_until(offline, 40)
            record = place.ok("--json", "forget", gone[0]["name"]).json()
            assert record == {"node": gone[0]["name"], "id": gone[0]["id"], "forgotten": True}, record
            assert {server["name"] for server in servers(place)} == names_before - {gone[0]["name"]}
            place.fails(FAILED, "no such storage server", "forget", gone[0]["name"])
        finally:
            place.run("down", "--data", data)


# ---- trash, format ----

def test_trash(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/d/e")
    cluster.ok("write", home + "/d/e/f", "precious")
    cluster.ok("write", home + "/g", "first")
    cluster.ok("-q", "rm", "-r", home + "/d")
    cluster.ok("-q", "rm", home + "/g")
    cluster.ok("write", home + "/g", "second")
    cluster.ok("-q", "rm", home + "/g")
    gone = lines(cluster.ok("--json", "trash", "ls", home))
    assert [record["path"] for record in gone] == [home + "/d", home + "/g", home + "/g"], gone
    assert keys(gone[0]) == ["bytes", "entries", "id", "path", "purge_in", "removed", "type"], gone
    assert gone[0]["entries"] == 3 and gone[0]["bytes"] == 8 and gone[0]["type"] == "dir", gone
    text = cluster.ok("trash", "ls", home).text.splitlines()
    assert text[0].split() == ["REMOVED", "KEPT", "FOR", "ENTRIES", "SIZE", "PATH"], text
    assert text[1].endswith("  %s/d/" % home) and len(text) == 4, text
    text = cluster.ok("trash", "ls", "-l", home).text.splitlines()
    assert [line.split()[-2] for line in text] == ["ID"] + [str(record["id"]) for record in gone], text
    assert {line.index("/test") for line in text[1:]} == {text[0].index("PATH")}, text
    assert cluster.run("trash", "ls", home + "/never").error == "muster: trash: nothing from there is in the trash\n"
    assert cluster.ok("trash", "restore", home + "/d/e/f", home + "/f").text == (
        "restored %s/d/e/f -> %s/f: 1 entry, 8 bytes\n" % (home, home))
    assert cluster.ok("cat", home + "/f").text == "precious"
    record = cluster.ok("--json", "trash", "restore", home + "/d").json()
    assert record["path"] == record["to"] == home + "/d", record
    cluster.ok("trash", "restore", "--id", str(gone[1]["id"]), home + "/g")
    assert cluster.ok("cat", home + "/g").text == "first"
    cluster.fails(FAILED, r"restore: .*/g: file exists|trash: %s/g: file exists \(give another" % home,
                  "trash", "restore", home + "/g")
    cluster.fails(FAILED, r"no such file or directory \(`trash ls`", "trash", "restore", home + "/never")
    record = cluster.ok("--json", "trash", "purge", home + "/g").json()
    assert record == {"path": home + "/g", "purged": 1, "bytes": 6}, record
    assert cluster.run("trash", "ls", home + "/g").text == ""
    cluster.fails(FAILED, "no such file", "trash", "purge", home + "/g")
    cluster.fails(USAGE, "ls, restore or purge", "trash", "empty")
    cluster.fails(USAGE, "restore wants a path", "trash", "restore")
    cluster.fails(USAGE, "at most 1 path", "trash", "purge", "/a", "/b")
    cluster.fails(USAGE, "--id wants the path", "trash", "purge", "--id", "3")
    cluster.ok("-q", "rm", home + "/f")
    assert cluster.ok("--json", "df").json()["trash_bytes"] >= 8
    assert "trash" in cluster.ok("df").text and "trash" in cluster.ok("status").text
    for answer, status in (("n\n", FAILED), ("y\n", DONE)):
        with Terminal(cluster, "trash", "purge") as terminal:
            terminal.until("for good? [y/N] ")
            terminal.type(answer)
            assert terminal.end() == status, terminal.shown
    assert cluster.ok("--json", "status").json()["trash_entries"] == 0


def test_format():
    with Place() as place:
        data = place.path + "/try"
        try:
            place.ok("-q", "up", "2", "--data", data)
            place.file("big", os.urandom(3 << 20))
            place.ok("put", "big", "/big")
            place.ok("mkdir", "-p", "/a/b")
            place.fails(FAILED, r"format: there is no terminal to ask at \(use --yes\)", "format")
            with Terminal(place, "format", environment={"NO_COLOR": "1"}) as terminal:
                shown = terminal.until("empty the whole store? [y/N] ")
                assert "1 file in" in shown and "3.0 MiB" in shown, shown
                terminal.type("no\n")
                assert terminal.end() == FAILED, terminal.shown
            assert names(place, "/") == ["a/", "big"]
            record = place.ok("--json", "format", "--yes").json()
            assert record["freeing"] == record["used"] == 0 and len(record["nodes"]) == 2, record
            assert names(place, "/") == []
            place.ok("write", "/after", "x")
            text = place.ok("format", "--yes").text.splitlines()
            assert text[0].startswith("removed ") and len(text) == 3, text
            assert all(re.fullmatch(r"\S+: [\d.]+ [KMGT]iB free", line) for line in text[1:]), text
        finally:
            place.run("down", "--data", data)


# ---- names, listings ----

def test_deep_paths(cluster):
    home = cluster.directory()
    levels = DEPTH_MAX - 2
    deep = home + "/d" * levels
    cluster.ok("mkdir", "-p", deep)
    cluster.ok("write", deep + "/f", "x")
    assert cluster.ok("tree", home).text.endswith("%d directories, 1 file\n" % levels)
    assert cluster.ok("--json", "du", home).json()["directories"] == levels
    assert cluster.ok("ls", "-R", home).text.count(":\n") == levels + 1
    assert "verified 1 file" in cluster.ok("verify", home).text
    assert names(cluster, home + "/*" * 40 + "/d" * (levels - 40)) == ["f"]
    cluster.fails(FAILED, "too many components are patterns", "ls", home + "/*" * 70)
    cluster.ok("get", "-r", home, "deep")
    assert cluster.read("deep/" + "d/" * levels + "f") == b"x"
    for path in (deep + "/g/h", home + "/d" * 2000, home + "/x/" + "y" * 256, home + "/" + "z" * 256):
        cluster.fails(FAILED, "too long", "mkdir", "-p", path)
    cluster.fails(FAILED, "too long", "mkdir", "-p", "/" + ("x" * 250 + "/") * 17)
    cluster.ok("create", home + "/" + "x" * 255)
    cluster.ok("-q", "rm", "-r", home)


def test_names_are_escaped(cluster):
    home = cluster.directory()
    name = os.fsdecode(b"bad\xff\x1b[31m\n\xc2\x9b.txt")
    cluster.ok("create", home + "/" + name)
    for words in (["ls", home], ["ls", "-l", "--copies", home], ["tree", home], ["stat", home + "/" + name],
                  ["mv", home + "/" + name, home + "/" + name + "2"],
                  ["cp", home + "/" + name + "2", home + "/" + name], ["rm", home + "/" + name],
                  ["trash", "ls"], ["trash", "restore", home + "/" + name], ["verify", home], ["events"]):
        result = cluster.run(*words)
        assert result.status == DONE and b"\x1b" not in result.out and b"\xff" not in result.out, result
        assert b"\xc2\x9b" not in result.out, result
    record = lines(cluster.ok("--json", "ls", home))[0]
    assert record["name"] == "bad\udcff\x1b[31m\n\x9b.txt" and "\\udcff" in cluster.ok("--json", "ls", home).text
    result = cluster.run("cat", home + "/no\x1b[31m")
    assert b"\x1b" not in result.err and b"\\x1b[31m" in result.err, result


def test_wide_directories(cluster):
    """Some thousand names, in pages; nothing is told twice or left out."""
    home = cluster.directory() + "/wide"
    count = 3000
    for i in range(count):
        cluster.file("wide/n%05d" % i, b"x")
    os.mkdir(cluster.local + "/wide/z")
    cluster.ok("put", "-r", "-c", "1", "wide", home)
    wanted = ["n%05d" % i for i in range(count)]
    assert names(cluster, home) == wanted + ["z/"]
    assert names(cluster, home + "/n*") == [home + "/" + name for name in wanted]
    assert len(names(cluster, "-R", home)) == count + 1 + 2
    assert cluster.ok("tree", home).text.count("── n") == count
    assert cluster.ok("-q", "rm", home + "/n000*").text == ""
    assert names(cluster, home) == wanted[100:] + ["z/"]
    assert cluster.ok("--json", "rm", "-r", home).json()["removed"] == count - 100 + 2


# ---- hard times ----

def test_broken_pipes(cluster):
    home = cluster.directory()
    for i in range(1500):
        os.makedirs(cluster.local + "/tree/d%04d" % i)
    cluster.ok("put", "-r", "tree", home)
    for words in (["ls", "-R", home], ["tree", home], ["--json", "ls", "-R", home], ["--json", "events"],
                  ["events"], ["ls", home]):
        process = subprocess.Popen("%s %s | head -1" % (MUSTER, " ".join(words)), shell=True,
                                   env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, error = process.communicate(timeout=LIMIT_S)
        assert out.count(b"\n") == 1 and not error, (words, out, error)
    cluster.ok("-q", "rm", "-r", home)


def test_no_local_room(cluster):
    """A get that cannot write leaves nothing, and says why."""
    home = cluster.directory()
    cluster.ok("put", "-", home + "/f", stdin=os.urandom(300000))

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    for words in (["get", home + "/f", "f"], ["get", "-r", home, "tree"]):
        result = cluster.run(*words, preexec_fn=small)
        assert result.status == FAILED and "muster: get: " in result.error, result
        left = [name for _, _, found in os.walk(cluster.local) for name in found]
        assert left == [], left
    result = cluster.run("get", home + "/f", "/dev/full")
    assert result.status == FAILED and "no space left" in result.error, result
    cluster.fails(FAILED, "get: /proc/f: ", "get", home + "/f", "/proc/f")
    cluster.fails(FAILED, "no such file", "get", home + "/f", "no/where")


def test_everything_as_json(cluster):
    """Each line of output is one object."""
    home = cluster.directory()
    cluster.file("l")
    for words in (["put", "l", home + "/a"], ["write", home + "/b", "x"], ["ls", "-l", home], ["tree", home],
                  ["stat", home + "/a"], ["du", home], ["copies", "2", home + "/a"], ["mkdir", home + "/m"],
                  ["mv", home + "/a", home + "/m"], ["cp", home + "/b", home + "/m"], ["verify", home],
                  ["get", home + "/b", "got"], ["rm", home + "/b"], ["trash", "ls"], ["status"], ["df"],
                  ["nodes"], ["check"], ["events"], ["pwd"], ["lpwd"], ["lls"], ["help"], ["version"],
                  ["trash", "restore", home + "/b"], ["create", home + "/c"], ["rmdir", home + "/m"]):
        result = cluster.run("--json", *words)
        for line in result.out.splitlines() + result.err.splitlines():
            assert isinstance(json.loads(line), dict), (words, line)
        assert result.status == (FAILED if words[0] == "rmdir" else DONE) or words[0] == "check", (words, result)


if __name__ == "__main__":
    sys.exit(cli.main(globals()))
