#!/usr/bin/env python3
"""How a name server begins: again, on an empty disk, on an old one, and in place of another.

    test_takeover.py [NAME ...]     only the cases whose names contain one of these
"""
import os
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import Cluster, content, expect, main  # noqa: E402
from muster_proc import wait_until  # noqa: E402

WORKERS = 2
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
