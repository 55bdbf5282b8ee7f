#!/usr/bin/env python3
"""How a name server begins: again, on an empty disk, on an old one, and in place of another.

    test_takeover.py [NAME ...]     only the cases whose names contain one of these
"""
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import Cluster, content, expect, main  # noqa: E402
from muster_proc import MKDIR, OK, Connection, text, wait_until  # noqa: E402

WORKERS = 3
SOON_S = 5.0    # what takes well below a second, on a machine that is busy
LEVEL_S = 30.0
# A storage server follows another name server only once the first one cannot believe any more that
# it is the only one; and who stands by waits for silence.
FENCE_S = 40.0
TAKES_S = 60.0
KIB = 1024


class Many(Cluster):
    """A cluster whose name server may begin in several places."""

    def begin(self, data, *arguments, port=0):
        """Another name server; it need not come to serve."""
        return self.daemon("muster-nameserver", "--data", os.path.join(self.path, data), "--cluster",
                           self.name, "--interface", "lo", "--port", str(port), "--beacon-port",
                           str(self.beacon_port), "--client-ports", self.client_ports,
                           *self.ns_arguments, *arguments)

    def serves(self, daemon, seconds=SOON_S):
        """It is the name server from now on; returns the line that says so."""
        line = daemon.event("started", seconds)
        assert line, daemon.output()
        self.nameserver = daemon
        self.port = int(line.split(" port=")[1].split()[0])
        return line

    def status(self):
        result = self.muster("status", json_=True)
        return result.json() if result.status == 0 else {}

    def wait_set(self, count, seconds=LEVEL_S):
        """So many storage servers decide, and all of them have everything."""
        def level():
            status = self.status()
            return (status.get("journal_set"), status.get("journal_up")) == (count, count)
        self.wait_until(level, seconds)

    def fill(self):
        self.ok("mkdir", "-p", "/a/b")
        for i in range(20):
            self.put("/a/f%d" % i, content(3 * KIB + i, i))
        self.put("/a/b/big", content(700 * KIB, 99))
        return self.tree()

    def tree(self):
        """All names, with everything but how many copies are in reach."""
        rows = [self.names(path) for path in ("/a", "/a/b")]
        for row in rows[0] | rows[1]:
            for names in rows:
                names.get(row, {}).pop("copies", None)
        return self.ok("ls", "-R", "/a").out, rows

    def same(self, tree):
        expect(self.tree(), tree, "tree")
        for i in range(0, 20, 7):
            self.check("/a/f%d" % i, content(3 * KIB + i, i))
        self.check("/a/b/big", content(700 * KIB, 99))

    def works(self):
        """Something new can be stored and read."""
        name = "/new-%d" % time.monotonic_ns()
        self.put(name, content(5 * KIB, 5))
        self.check(name, content(5 * KIB, 5))


def key(line, name):
    return re.search(r" %s=(\S+)" % name, line).group(1)


def case_fresh_cluster_is_founded():
    with Many(0) as cluster:
        line = cluster.nameserver.event("started")
        expect((key(line, "epoch"), key(line, "rebuilt")), ("1", "no"), line)
        took_ms = int(key(line, "took_ms"))
        assert 1000 <= took_ms <= 5000, line
        cluster.ok("mkdir", "/d")


def case_killed_and_started_again():
    with Many(3) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        for _ in range(3):
            cluster.nameserver.kill()
            began = time.monotonic()
            daemon = cluster.begin("ns", port=cluster.port)
            line = cluster.serves(daemon)
            print("in service after %.2f s; %s" % (time.monotonic() - began, line), flush=True)
            expect((key(line, "from"), key(line, "rebuilt")), ("own", "no"), line)
            assert int(key(line, "took_ms")) < 3000, line
            cluster.same(tree)
            cluster.wait_set(3)
        cluster.works()


def case_stopped_and_started_with_everybody():
    with Many(3) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        cluster.nameserver.stop()
        for storage in cluster.storages:
            storage.stop()
        for i in range(3):
            cluster.storage_start(i)
        cluster.serves(cluster.begin("ns"), FENCE_S)
        cluster.same(tree)
        cluster.works()


def rebuilt(count):
    with Many(count) as cluster:
        tree = cluster.fill()
        cluster.wait_set(count)
        cluster.nameserver.kill()
        shutil.rmtree(cluster.path + "/ns")
        daemon = cluster.begin("elsewhere")
        line = cluster.serves(daemon, FENCE_S)
        expect((key(line, "from"), key(line, "rebuilt")), ("servers", "yes"), line)
        report = daemon.event("rebuilt", SOON_S)
        expect((key(report, "files"), key(report, "directories")), ("21", "2"), report)
        cluster.wait_online(count)
        cluster.same(tree)
        cluster.wait_set(count)
        cluster.works()


def case_lost_disk_with_one():
    rebuilt(1)


def case_lost_disk_with_two():
    rebuilt(2)


def case_lost_disk_with_three():
    rebuilt(3)


def case_lost_disk_and_one_of_two():
    with Many(2) as cluster:
        tree = cluster.fill()
        cluster.wait_set(2)
        cluster.nameserver.kill()
        cluster.storages[0].kill()
        shutil.rmtree(cluster.path + "/ns")
        daemon = cluster.begin("ns", port=cluster.port)
        assert daemon.event("takeover_waiting", FENCE_S), daemon.output()
        wait_until(lambda: "--accept-rebuild" in daemon.output(), FENCE_S)
        assert " started " not in daemon.output(), daemon.output()
        daemon.stop()
        line = cluster.serves(cluster.begin("ns", "--accept-rebuild", port=cluster.port), FENCE_S)
        expect(key(line, "rebuilt"), "yes", line)
        cluster.wait_online(1)
        cluster.same(tree)


def case_rebuild_cut_short():
    """All is fetched, but too few are in reach for the first batch to count: what the next start finds
    in its directory is no catalogue of its own."""
    with Many(3) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        cluster.nameserver.kill()
        for number in (1, 2):
            cluster.storages[number].kill()
        shutil.rmtree(cluster.path + "/ns")
        daemon = cluster.begin("ns", "--accept-rebuild", port=cluster.port)
        assert daemon.event("catalogue_fetched", FENCE_S), daemon.output()
        assert daemon.event("quorum_lost", SOON_S), daemon.output()
        assert " started " not in daemon.output(), daemon.output()
        daemon.kill()
        cluster.storage_start(1)
        line = cluster.serves(cluster.begin("ns", port=cluster.port), FENCE_S)
        expect((key(line, "from"), key(line, "rebuilt")), ("own", "yes"), line)
        expect(cluster.status()["hold"], "rebuilt")
        cluster.wait_online(2)
        cluster.same(tree)
        cluster.works()
        cluster.nameserver.kill()
        line = cluster.serves(cluster.begin("ns", port=cluster.port), FENCE_S)
        expect(key(line, "rebuilt"), "no", line)


def case_empty_one_was_up_before_the_others():
    """After a loss of power: it hears of no cluster, founds one, and gives it up when there is one."""
    with Many(2) as cluster:
        tree = cluster.fill()
        cluster.wait_set(2)
        cluster.nameserver.kill()
        for storage in cluster.storages:
            storage.kill()
        daemon = cluster.begin("other", port=cluster.port)
        cluster.serves(daemon)
        expect(list(cluster.names("/")), [])
        for number in range(2):
            cluster.storage_start(number)
        assert daemon.event("rebuilt", FENCE_S), daemon.output()
        cluster.wait_online(2)
        cluster.same(tree)
        cluster.works()
        assert os.path.isdir(cluster.path + "/other/journal.unused-1")


def case_namesake_with_something_in_it():
    """What somebody has made is not given up."""
    with Many(1) as cluster:
        cluster.nameserver.kill()
        cluster.storages[0].kill()
        daemon = cluster.begin("other", port=cluster.port)
        cluster.serves(daemon)
        cluster.ok("mkdir", "/new")
        cluster.storage_start(0)
        assert daemon.event("namesake", SOON_S), daemon.output()
        expect(list(cluster.names("/")), ["new"])


def case_dies_after_a_promise():
    """One of two is left, and the name server dies again and again before its first batch: what the
    survivor has promised meanwhile was promised to this very directory."""
    with Many(2) as cluster:
        tree = cluster.fill()
        cluster.wait_set(2)
        cluster.nameserver.kill()
        cluster.storages[1].kill()
        survivor = cluster.storages[0]
        for _ in range(3):
            promised = survivor.output().count(" promised ")
            daemon = cluster.begin("ns", port=cluster.port)
            wait_until(lambda: survivor.output().count(" promised ") > promised, FENCE_S)
            daemon.kill()
            assert " started " not in daemon.output(), daemon.output()
        line = cluster.serves(cluster.begin("ns", port=cluster.port), FENCE_S)
        expect((key(line, "from"), key(line, "rebuilt")), ("own", "no"), line)
        assert int(key(line, "epoch")) >= 5, line
        cluster.wait_online(1)
        cluster.same(tree)
        cluster.works()


def case_old_disk_and_one_of_two():
    """What the snapshot lacks may be on the server that is gone: however often it starts, it waits."""
    with Many(2) as cluster:
        cluster.ok("mkdir", "/before")
        cluster.wait_set(2)
        cluster.nameserver.stop()
        shutil.copytree(cluster.path + "/ns", cluster.path + "/snapshot")
        cluster.serves(cluster.begin("ns", port=cluster.port))
        cluster.wait_online(2)
        tree = cluster.fill()
        cluster.wait_set(2)
        cluster.nameserver.kill()
        cluster.storages[1].kill()
        for _ in range(2):
            daemon = cluster.begin("snapshot", port=cluster.port)
            wait_until(lambda: "promised=1" in daemon.output(), FENCE_S)
            time.sleep(1.0)
            assert " started " not in daemon.output(), daemon.output()
            daemon.kill()
        cluster.storage_start(1)
        line = cluster.serves(cluster.begin("snapshot", port=cluster.port), FENCE_S)
        expect((key(line, "from"), key(line, "rebuilt")), ("servers", "no"), line)
        cluster.wait_online(2)
        cluster.same(tree)


def case_says_whom_it_waits_for():
    with Many(2) as cluster:
        cluster.fill()
        cluster.wait_set(2)
        names = sorted(node["name"] for node in cluster.nodes())
        cluster.nameserver.kill()
        for storage in cluster.storages:
            storage.kill()
        began = time.monotonic()
        daemon = cluster.begin("ns", port=cluster.port)
        line = daemon.event("takeover_waiting", 2 * SOON_S)
        assert 2.5 < time.monotonic() - began < 2 * SOON_S, line
        expect(sorted(key(line, "missing").strip('"').split(",")), names, line)
        expect((key(line, "set"), key(line, "needed"), key(line, "promised")), ("2", "2", "0"), line)
        result = cluster.ok("status")
        assert b"it waits for " in result.out and b"; 0 of the 2 needed" in result.out, result
        expect(sorted(cluster.status()["waiting"].split(",")), names)
        shutil.rmtree(cluster.storage_data(1) + "/catalogue")
        shutil.rmtree(cluster.path + "/ns")
        daemon.kill()
        cluster.storage_start(0)
        cluster.storage_start(1)
        daemon = cluster.begin("ns", port=cluster.port)
        wait_until(lambda: "it may never be enough: --accept-rebuild" in daemon.output(), FENCE_S)
        assert " (empty)" in cluster.status()["waiting"], cluster.status()


def case_requests_are_handed_over():
    """Fifty clients have asked while there was nobody to answer: each is answered where it asked."""
    with Many(3) as cluster:
        cluster.wait_set(3)
        cluster.nameserver.kill()
        for storage in cluster.storages:
            storage.process.send_signal(signal.SIGSTOP)
        daemon = cluster.begin("ns", port=cluster.port)

        def listens():
            try:
                return Connection(cluster.port)
            except OSError:
                return None

        connections = [wait_until(listens, SOON_S)] + [Connection(cluster.port) for _ in range(49)]
        asked = time.monotonic()
        for i, connection in enumerate(connections):
            expect(connection.hello().status, OK, "HELLO")
            connection.request(MKDIR, 1, 1, b"\0" + text("/waits-%d" % i))
        assert " started " not in daemon.output(), daemon.output()
        for storage in cluster.storages:
            storage.process.send_signal(signal.SIGCONT)
        for i, connection in enumerate(connections):
            reply = connection.receive()
            assert reply, "connection %d was closed" % i
            expect(reply.status, OK, "request %d" % i)
        took = time.monotonic() - asked
        cluster.serves(daemon)
        names = cluster.names("/")
        assert all("waits-%d" % i in names for i in range(50)), names
        for connection in connections:
            expect(connection.stat("/waits-0"), OK)
            connection.close()
        return "answered after %.2f s" % took


class Loop(threading.Thread):
    """A client that makes directories and stores small files, one after the other. (What comes from
    a pipe cannot be sent again by itself.)"""

    def __init__(self, cluster, number, end):
        super().__init__()
        self.cluster, self.number, self.end = cluster, number, end
        self.done, self.failed, self.longest = [], [], 0.0
        self.source = "%s/source%d" % (cluster.path, number)

    def one(self, i):
        name = "/c%d-%d" % (self.number, i)
        if i % 2:
            result = self.cluster.muster("mkdir", name)
        else:
            with open(self.source, "wb") as file:
                file.write(content(KIB + i, self.number))
            result = self.cluster.muster("put", self.source, name)
        self.longest = max(self.longest, result.took)
        if result.status == 0:
            self.done.append((name, i, time.monotonic()))
        else:
            self.failed.append((name, result))

    def run(self):
        i = 0
        while not self.end.is_set() and not self.failed:
            i += 1
            self.one(i)


def case_restarts_under_load():
    with Many(3) as cluster:
        cluster.wait_set(3)
        end = threading.Event()
        loops = [Loop(cluster, number, end) for number in range(20)]
        said = []
        try:
            for loop in loops:
                loop.start()
            for _ in range(3):
                time.sleep(2.0)
                cluster.nameserver.kill()
                began = time.monotonic()
                cluster.nameserver = cluster.begin("ns", port=cluster.port)
                wait_until(lambda: any(loop.done and loop.done[-1][2] > began + 0.05 for loop in loops) or
                           any(loop.failed for loop in loops), FENCE_S)
                expect([loop.failed for loop in loops if loop.failed], [], "failed")
                said.append("%.2f s" % (min(done[2] for loop in loops for done in loop.done
                                            if done[2] > began + 0.05) - began))
        finally:
            end.set()
            for loop in loops:
                loop.join()
        expect([loop.failed for loop in loops if loop.failed], [], "failed")
        names = cluster.names("/")
        done = [(loop.number,) + row for loop in loops for row in loop.done]
        missing = [row for row in done if row[1][1:] not in names]
        expect(missing, [], "acknowledged, and not there")
        for number, name, i, _ in done[::17]:
            if i % 2 == 0:
                cluster.check(name, content(KIB + i, number))
        return "%d changes; the first answer after a restart: %s; the longest: %.2f s" % (
            len(done), ", ".join(said), max(loop.longest for loop in loops))


def began_count(*daemons):
    return sum(daemon.output().count(" started ") for daemon in daemons)


def case_two_with_one_directory():
    """Copies of one data directory have one server id: one of them serves, the other says so, and
    takes its place only when it is silent."""
    with Many(3, ns=["--dead-after", "7"]) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        cluster.nameserver.stop()
        shutil.copytree(cluster.path + "/ns", cluster.path + "/copy")
        both = [cluster.begin("ns"), cluster.begin("copy")]
        wait_until(lambda: began_count(*both), SOON_S)
        first = 0 if " started " in both[0].output() else 1
        winner, other = both[first], both[1 - first]
        cluster.serves(winner)
        line = other.event("directory_copied", 2 * SOON_S)
        assert "delete its directory" in line, line
        cluster.wait_online(3)
        cluster.same(tree)
        cluster.works()
        time.sleep(12.0)
        expect(began_count(*both), 1, "began")
        cluster.wait_set(3)
        cluster.put("/later", b"later")
        winner.kill()
        cluster.serves(other, TAKES_S)
        again = cluster.begin(("ns", "copy")[first])
        assert again.event("directory_copied", 2 * SOON_S), again.output()
        cluster.wait_online(3)
        cluster.same(tree)
        cluster.check("/later", b"later")
        cluster.works()
        time.sleep(12.0)
        expect(began_count(*both, again), 2, "began")
        epochs = [key(daemon.event("started"), "epoch") for daemon in both]
        assert epochs[0] != epochs[1], epochs


def case_second_one_is_refused():
    with Many(1) as cluster:
        daemon = cluster.begin("other")
        assert daemon.wait(SOON_S) != 0
        assert "--standby" in daemon.output(), daemon.output()
        cluster.works()


def case_damaged_journal():
    with Many(3) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        cluster.nameserver.stop()
        with open(cluster.path + "/ns/journal/00000001", "r+b") as journal:
            journal.seek(100)
            journal.write(b"damage")
        shutil.rmtree(cluster.path + "/ns/view")
        daemon = cluster.begin("ns")
        assert daemon.wait(SOON_S) != 0
        assert "--accept-rebuild" in daemon.output(), daemon.output()
        cluster.serves(cluster.begin("ns", "--accept-rebuild"), FENCE_S)
        cluster.same(tree)
        assert os.path.isdir(cluster.path + "/ns/journal.damaged-1")


def case_a_word_is_given_once():
    """--accept-rebuild was said to one beginning. Who has served since does not take it for another."""
    with Many(2) as cluster:
        cluster.ok("mkdir", "/first")
        cluster.wait_set(2)
        cluster.nameserver.kill()
        first = cluster.begin("ns", "--accept-rebuild", port=cluster.port)
        cluster.serves(first)
        cluster.wait_set(2)
        first.process.send_signal(signal.SIGSTOP)
        for storage in cluster.storages:
            assert storage.event("degraded", FENCE_S), storage.output()
        cluster.serves(cluster.begin("other"), FENCE_S)
        cluster.wait_set(2)
        cluster.ok("mkdir", "/second")
        first.process.send_signal(signal.SIGCONT)
        assert first.event("standby_waiting", FENCE_S), first.output()
        cluster.nameserver.kill()
        cluster.storages[1].kill()
        assert first.event("takeover_waiting", FENCE_S), first.output()
        time.sleep(12.0)
        expect(began_count(first), 1, "began")
        cluster.storage_start(1)
        wait_until(lambda: began_count(first) == 2, FENCE_S)
        cluster.serves(first)
        cluster.wait_online(2)
        cluster.ok("stat", "/second")


def case_old_disk():
    """A snapshot of the directory is put back: what came later is on the storage servers."""
    with Many(3) as cluster:
        cluster.ok("mkdir", "/before")
        cluster.wait_set(3)
        cluster.nameserver.stop()
        shutil.copytree(cluster.path + "/ns", cluster.path + "/snapshot")
        cluster.serves(cluster.begin("ns", port=cluster.port))
        cluster.wait_online(3)
        tree = cluster.fill()
        cluster.wait_set(3)
        cluster.nameserver.kill()
        line = cluster.serves(cluster.begin("snapshot"), FENCE_S)
        expect(key(line, "from"), "servers", line)
        cluster.wait_online(3)
        cluster.same(tree)
        cluster.works()


def case_standby_takes_over():
    with Many(3, ns=["--dead-after", "7"]) as cluster:
        tree = cluster.fill()
        cluster.wait_set(3)
        standby = cluster.begin("standby", "--standby")
        assert standby.event("standby_waiting", SOON_S), standby.output()
        cluster.works()
        cluster.nameserver.kill()
        began = time.monotonic()
        line = cluster.serves(standby, TAKES_S)
        print("taken over after %.1f s; %s" % (time.monotonic() - began, line), flush=True)
        expect(key(line, "rebuilt"), "no", line)
        cluster.wait_online(3)
        cluster.same(tree)
        cluster.works()


def case_stopped_one_finds_another():
    """It stood still while another took its place; it never answers for the cluster again."""
    with Many(3, ns=["--dead-after", "7"]) as cluster:
        cluster.fill()
        cluster.wait_set(3)
        standby = cluster.begin("standby", "--standby")
        assert standby.event("standby_waiting", SOON_S), standby.output()
        old, old_port = cluster.nameserver, cluster.port
        old.process.send_signal(signal.SIGSTOP)
        cluster.serves(standby, TAKES_S)
        cluster.wait_online(3, TAKES_S)
        cluster.put("/later", b"later")
        port, cluster.port = cluster.port, old_port
        old.process.send_signal(signal.SIGCONT)
        result = cluster.muster("mkdir", "/never", limit=TAKES_S)
        assert result.status != 0, result
        assert old.event("standby_waiting", FENCE_S), old.output()
        cluster.port = port
        cluster.check("/later", b"later")
        assert "never" not in cluster.names("/")
        cluster.works()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("case_")], WORKERS))
