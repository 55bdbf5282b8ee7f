#!/usr/bin/env python3
"""Without a name server: what the storage servers' copies of the catalogue are good for.

    test_degraded.py [NAME ...]     only the cases whose names contain one of these
"""
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import (DONE, FAILED, LIMIT_S, MIB, MUSTER, NO_NAMESERVER,  # noqa: E402
                            Cluster, Reader, content, expect, main)
from terminal import Terminal  # noqa: E402

WORKERS = 2
STAND_IN_S = 20.0
BACK_S = 40.0
SMALL, LARGE = content(5000, 1), content(40 * MIB + 7, 2)


class Mesh(Cluster):
    """Found by its beacons, as a name server that nobody can name any more."""

    def words(self, words, json_):
        return [MUSTER, "--cluster", self.name, "--interface", "lo", "--beacon-port",
                str(self.beacon_port)] + ["--json"] * json_ + [str(word) for word in words]

    def fill(self):
        self.ok("mkdir", "/d")
        self.put("/d/small", SMALL, "--copies", "2")
        self.put("/large", LARGE, "--copies", "2")
        self.wait_until(self.copies_are_level, 30)

    def copies_are_level(self):
        status = self.ok("status", json_=True).json()
        lags = [node["catalogue_lag"] for node in self.nodes()]
        return not any(lags) and status["catalogue_copies"] >= self.count

    def nameserver_kill(self):
        self.nameserver.process.send_signal(signal.SIGKILL)
        self.nameserver.process.wait()

    def wait_degraded(self):
        self.wait_until(lambda: "degraded" in self.muster("stat", "/").err, STAND_IN_S)

    def refused(self, *words, **how):
        """Soon, with an error that says why."""
        result = self.muster(*words, **how)
        expect(result.status, NO_NAMESERVER, (words, result))
        assert "no name server is up: files can be listed and read, nothing else" in result.err, (words, result)
        assert result.took < 5, (words, result)

    def wait_normal(self):
        def normal():
            result = self.muster("status", json_=True)
            if result.status != DONE:
                return False
            status = result.json()
            return status["state"] == "serving" and status["nodes_online"] == self.count
        self.wait_until(normal, BACK_S)



class Named(Mesh):
    """Everybody has been told where the name server is."""

    def storage_start(self, i, *arguments):
        return super().storage_start(i, "--nameserver", "127.0.0.1:%d" % self.port, *arguments)

    words = Cluster.words


def marked(result):
    """It worked; one line says that it is what a server knew last."""
    expect(result.status, DONE, result)
    lines = [line for line in result.err.splitlines() if "degraded" in line]
    expect(len(lines), 1, result)
    assert re.match(r"muster: \w+: degraded: no name server; this is what storage server "
                    r"127\.0\.0\.1:\d+ knew last$", lines[0]), result
    return result.out


def reads_everything(cluster):
    out = marked(cluster.muster("ls", "/")).decode()
    assert "d" in out and "large" in out, out
    marked(cluster.muster("stat", "/d/small"))
    expect(marked(cluster.muster("cat", "/d/small")), SMALL, "small file")
    expect(marked(cluster.muster("get", "/large", "-")) == LARGE, True, "large file")


def changes_nothing(cluster):
    for words in (("mkdir", "/new"), ("rm", "/large"), ("mv", "/large", "/other")):
        cluster.refused(*words)
    cluster.refused("put", "-", "/new", stdin=b"new")
    cluster.refused("nodes")


def case_files_are_read():
    """A dead name server, a dead storage server, and all is well again afterwards."""
    with Mesh(3) as cluster:
        cluster.fill()
        cluster.nameserver_kill()
        cluster.wait_degraded()
        reads_everything(cluster)
        changes_nothing(cluster)
        storage = cluster.storages[2]
        storage.process.send_signal(signal.SIGKILL)
        storage.process.wait()
        reads_everything(cluster)
        cluster.storage_start(2)
        cluster.nameserver_start()
        cluster.wait_normal()
        result = cluster.ok("cat", "/d/small")
        expect((result.out, result.err), (SMALL, ""), "as ever")
        cluster.put("/new", b"new")
        cluster.check("/large", LARGE)
        expect(sorted(cluster.names()), ["d", "large", "new"], "names")


def case_what_is_said():
    """Programs and people learn what they get."""
    with Mesh(2) as cluster:
        cluster.fill()
        usual = cluster.ok("ls", "-l", "/", json_=True)
        cluster.nameserver_kill()
        cluster.wait_degraded()
        result = cluster.muster("ls", "-l", "/", json_=True)
        names = [sorted(row) for row in usual.lines()]
        expect([sorted(row) for row in result.lines()], names, "keys")
        assert '"DEGRADED"' in result.err, result
        expect(cluster.ok("-q", "ls", "/").err, "", "with --quiet")
        result = cluster.muster("status")
        expect(result.status, NO_NAMESERVER, result)
        assert b"none is up" in result.out and b"can be read" in result.out, result
        result = cluster.muster("status", json_=True)
        expect(result.status, NO_NAMESERVER, result)
        status = result.json()
        expect((status["cluster"], status["nameserver"], status["degraded"], status["writable"]),
               (cluster.name, None, True, False), "status")
        result = cluster.muster("doctor")
        expect(result.status, NO_NAMESERVER, result)
        assert b"has no name server" in result.out and b"start muster-nameserver" in result.out, result
        # Who names a name server reads on, too, in the cluster that he has used.
        result = cluster.muster("-n", "127.0.0.1:%d" % cluster.port, "cat", "/d/small")
        expect(marked(result), SMALL, "named")


def case_a_shell_lives_through_it():
    """Reading goes on; it is told, at the prompt too; changes work again once there is one."""
    with Mesh(2) as cluster:
        cluster.fill()
        with Terminal(cluster.words((), False), cluster.environment, cluster.path, 120) as shell:
            shell.until("muster:/> ")
            assert "large" in shell.ask("ls", "muster:/> ")
            cluster.nameserver_kill()
            cluster.wait_degraded()
            shown = shell.ask("ls", "muster:/ [degraded]> ", 30)
            assert "large" in shown and "degraded: no name server" in shown, shown
            shown = shell.ask("mkdir /new", "muster:/ [degraded]> ")
            assert "can be listed and read" in shown, shown
            shell.ask("get /d/small small", "muster:/ [degraded]> ")
            with open(os.path.join(cluster.path, "small"), "rb") as file:
                expect(file.read(), SMALL, "got")
            # It may still be taking over: that is waited for.
            cluster.nameserver_start()
            shell.ask("mkdir /new", "muster:/> ")
            shown = shell.ask("ls", "muster:/> ")
            assert "new" in shown and "degraded" not in shown, shown
            shell.line("exit")
            expect(shell.end(), DONE, "status")


def case_one_that_takes_over_is_read_around():
    """It waits for storage servers that are gone. Only the first command asks it in vain."""
    with Mesh(3) as cluster:
        cluster.fill()
        cluster.wait_until(lambda: cluster.ok("status", json_=True).json()["journal_set"] == 3, 30)
        cluster.nameserver_kill()
        for storage in cluster.storages[1:]:
            storage.process.send_signal(signal.SIGKILL)
            storage.process.wait()
        cluster.nameserver_begin()
        assert cluster.nameserver.event("takeover_waiting", 20)
        cluster.wait_degraded()
        for _ in range(3):
            result = cluster.muster("ls", "/")
            assert "large" in marked(result).decode()
            assert result.took < 1.2, result
        for i in (1, 2):
            cluster.storage_start(i)
        cluster.wait_normal()


def case_one_that_is_named_is_missed_too():
    """Named by everybody, as where broadcasts do not pass; those on one network find each other."""
    with Named(2) as cluster:
        cluster.fill()
        cluster.nameserver_kill()
        cluster.wait_degraded()
        result = cluster.muster("cat", "/d/small")
        expect((result.status, result.out), (DONE, SMALL), result)
        assert "degraded" in result.err, result
        cluster.nameserver_start()
        cluster.wait_normal()


# ---- transfers under way

def case_gets_live_through_it():
    """One that had a name server, one that began without, one that stays without."""
    data = content(120 * MIB + 7, 3)
    with Mesh(2) as cluster:
        cluster.fill()
        cluster.put("/long", data, "--copies", "2")
        cluster.wait_until(cluster.copies_are_level, 30)

        def begun():
            reader = Reader(cluster.open("get", "/long", "-"))
            assert reader.take(MIB)
            return reader

        before = begun()
        cluster.nameserver_kill()
        cluster.wait_degraded()
        between, without = begun(), begun()
        assert without.finish().status == DONE and bytes(without.data) == data, "without"
        cluster.nameserver_start()
        cluster.wait_normal()
        for what, reader in (("before", before), ("between", between)):
            result = reader.finish()
            expect(result.status, DONE, (what, result))
            expect(bytes(reader.data) == data, True, what)
            assert "degraded" in result.err if what == "between" else result.err == "", (what,
                                                                                          result)


def put_interrupted(cluster, away_s, *words):
    """The name server dies while it runs, and returns."""
    process = cluster.open("put", "--copies", "1", *words)
    cluster.wait_until(lambda: cluster.talking_to(process), pause=0.01)
    process.send_signal(signal.SIGSTOP)
    cluster.nameserver_kill()
    process.send_signal(signal.SIGCONT)
    time.sleep(away_s)
    expect(process.poll(), None, "still running")
    cluster.nameserver_start()
    return process


def case_puts_live_through_it():
    """A file is put all the same."""
    size = 500 * MIB
    with Mesh(3) as cluster:
        cluster.fill()
        source = os.path.join(cluster.path, "source")
        with open(source, "wb") as file:
            file.truncate(size)
        for name, away_s in (("/short", 0.3), ("/long", 5.0)):
            process = put_interrupted(cluster, away_s, source, name)
            error = process.stderr.read().decode()
            expect((process.wait(LIMIT_S), error), (DONE, ""), name)
            expect(cluster.ok("stat", name, json_=True).json()["size"], size, name)


def stream_interrupted(cluster, path, data, before):
    """The name server is killed when so many bytes are on their way; the rest comes when it is back.
    Returns the exit status and what it says."""
    process = cluster.open("put", "-", path, stdin=subprocess.PIPE)
    process.stdin.write(data[:before])
    process.stdin.flush()
    cluster.wait_until(lambda: cluster.talking_to(process))
    cluster.nameserver_kill()
    cluster.nameserver_start()
    try:
        process.stdin.write(data[before:])
        process.stdin.close()
    except BrokenPipeError:
        pass
    error = process.stderr.read().decode()
    return process.wait(LIMIT_S), error


def case_streams_live_through_it():
    """As long as all they have brought is still in memory: three chunks. Else nothing is left."""
    data = content(80 * MIB + 5, 3)
    with Mesh(3) as cluster:
        cluster.fill()
        for before, size in ((5 * MIB, 6 * MIB), (24 * MIB, 40 * MIB), (33 * MIB, 48 * MIB)):
            path = "/stream-%d" % size
            status, error = stream_interrupted(cluster, path, data[:size], before)
            expect((status, error), (DONE, ""), path)
            cluster.check(path, data[:size])
        status, error = stream_interrupted(cluster, "/long", data, 70 * MIB)
        expect(status, FAILED, error)
        assert "put it again" in error and "nothing of it is stored" in error, error
        assert "long" not in cluster.names()


CASES = [
    case_one_that_is_named_is_missed_too,
    case_streams_live_through_it,
    case_files_are_read,
    case_what_is_said,
    case_a_shell_lives_through_it,
    case_one_that_takes_over_is_read_around,
    case_gets_live_through_it,
    case_puts_live_through_it,
]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
