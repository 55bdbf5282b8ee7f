#!/usr/bin/env python3
"""Storage servers that die, stop, freeze and come back, and disks that must not join: real processes.

    test_presence.py [NAME ...]    only the cases whose names contain one of these
"""
import os
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import Cluster, content, expect, main  # noqa: E402

WORKERS = 2
FILES = 300
FAST = ("--suspect-after", "3", "--dead-after", "6")
DEBUG = ("--log-level", "debug")


def state_of(cluster, name):
    return next(node["state"] for node in cluster.nodes() if node["name"] == name)


def seconds_until(cluster, name, state, limit=20):
    began = time.monotonic()
    cluster.wait_until(lambda: state_of(cluster, name) == state, limit, 0.02)
    return time.monotonic() - began


def test_killed_is_offline_in_a_second():
    with Cluster(2) as cluster:
        cluster.wait_set(2)  # one that decides alone is waited for, for 2 s
        name = cluster.node_of(0)["name"]
        cluster.storages[0].kill()
        took = seconds_until(cluster, name, "offline")
        assert took < 1, took
        line = cluster.nameserver.event("node_offline")
        assert "cause=refused" in line, line
        return "%.2f s" % took


def test_terminated_says_goodbye():
    with Cluster(2) as cluster:
        name = cluster.node_of(0)["name"]
        began = time.monotonic()
        expect(cluster.storages[0].stop(), 0, "exit status")
        stopped = time.monotonic() - began
        took = seconds_until(cluster, name, "offline", 1)
        output = cluster.nameserver.output()
        assert "node_stopped" in output and "node_suspect" not in output, output
        cluster.storage_start(0)
        cluster.wait_online(2)
        expect(cluster.storages[0].stop(), 0, "exit status")
        return "ended in %.2f s, offline %.2f s later" % (stopped, took)


def test_ends_without_a_name_server():
    with Cluster(1) as cluster:
        cluster.nameserver.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        expect(cluster.storages[0].stop(), 0, "exit status")
        took = time.monotonic() - began
        cluster.nameserver.process.send_signal(signal.SIGCONT)
        assert took < 3, took
        return "%.2f s" % took


def test_frozen_is_suspect_then_offline():
    with Cluster(2, ns=FAST) as cluster:
        name = cluster.node_of(0)["name"]
        process = cluster.storages[0].process
        process.send_signal(signal.SIGSTOP)
        try:
            suspect = seconds_until(cluster, name, "suspect")
            offline = suspect + seconds_until(cluster, name, "offline")
            assert 0.5 < suspect < 4, suspect
            assert 3.5 < offline < 8, offline
        finally:
            process.send_signal(signal.SIGCONT)
        assert "cause=silent" in cluster.nameserver.event("node_offline")
        cluster.wait_online(2)
        return "%.1f and %.1f s" % (suspect, offline)


def differing(daemon):
    """How many buckets were listed at each comparison."""
    return [int(n) for n in re.findall(r"inventory_compared .*?differ=(\d+)", daemon.output())]


def test_only_what_changed_is_listed():
    with Cluster(2, ns=DEBUG + ("--copies", "2", "--trash-days", "0")) as cluster:
        source = os.path.join(cluster.path, "files")
        os.mkdir(source)
        for i in range(FILES):
            with open(os.path.join(source, "f%d" % i), "wb") as file:
                file.write(content(100 + i, i))
        cluster.ok("put", "-r", source, "/d")
        cluster.wait_until(lambda: [n["chunks"] for n in cluster.nodes()] == [FILES, FILES])
        # Nothing has changed: nothing is asked for.
        expect(cluster.storages[0].stop(), 0)
        cluster.storage_start(0)
        cluster.wait_online(2)
        expect(differing(cluster.nameserver), [], "buckets")
        # Files go while it is away: of the others nothing is listed.
        expect(cluster.storages[0].stop(), 0)
        for i in range(10):
            cluster.ok("rm", "/d/f%d" % i)
        cluster.wait_until(lambda: any(n["chunks"] == FILES - 10 for n in cluster.nodes()), 60)
        cluster.storage_start(0)
        cluster.wait_online(2)
        cluster.wait_until(lambda: differing(cluster.nameserver))
        counts = differing(cluster.nameserver)
        assert 8 <= counts[0] <= 10, counts
        # The name server forgets what it knew of them, and counts anew.
        expect(cluster.nameserver.stop(), 0)
        cluster.nameserver_start()
        cluster.wait_online(2)
        again = differing(cluster.nameserver)
        assert all(count <= 10 for count in again), again
        return "%d of 4096 buckets" % counts[0]


def refused(cluster, data, *arguments):
    """A server that must not join: what its log and the name server's events say."""
    shown = len(cluster.nameserver.output())
    daemon = cluster.daemon("muster-storage", "--data", data, "--interface", "lo", "--port", "0",
                            "--nameserver", "127.0.0.1:%d" % cluster.port, *arguments)
    line = daemon.event("refused")
    assert line and "reason=" in line, daemon.output()
    cluster.wait_until(lambda: "node_refused" in cluster.nameserver.output()[shown:], 5)
    told = [one for one in cluster.nameserver.output()[shown:].splitlines() if "node_refused" in one]
    error = re.search(r"error=(\w+)", line).group(1)
    assert "error=" + error in told[0], (line, told)
    daemon.stop()
    return error


def test_a_clone_is_refused_while_its_owner_lives():
    with Cluster(2) as cluster:
        clone = cluster.path + "/clone"
        cluster.put("/f", content(100000))
        expect(cluster.storages[0].stop(), 0)
        shutil.copytree(cluster.storage_data(0), clone)
        cluster.storage_start(0)
        cluster.wait_online(2)
        expect(refused(cluster, clone), "DUPLICATE_NODE")
        cluster.wait_online(2, 1)
        expect(cluster.storages[0].process.poll(), None)
        assert "nameserver_lost" not in cluster.storages[0].output(), cluster.storages[0].output()
        cluster.check("/f", content(100000))


def test_an_older_copy_is_refused():
    with Cluster(2) as cluster:
        old = cluster.path + "/old"
        expect(cluster.storages[0].stop(), 0)
        shutil.copytree(cluster.storage_data(0), old)
        for _ in range(2):
            cluster.storage_start(0)
            cluster.wait_online(2)
            expect(cluster.storages[0].stop(), 0)
        expect(refused(cluster, old), "OLD_DISK")
        cluster.storage_start(0)
        cluster.wait_online(2)


def test_a_disk_of_another_cluster_is_refused():
    with Cluster(1) as one, Cluster(1) as other:
        expect(one.storages[0].stop(), 0)
        expect(refused(other, one.storage_data(0)), "WRONG_CLUSTER")
        expect(len(other.nodes()), 1, "servers")


def test_one_process_for_one_directory():
    with Cluster(1) as cluster:
        second = cluster.daemon("muster-storage", "--data", cluster.storage_data(0), "--interface",
                                "lo", "--port", "0", "--nameserver", "127.0.0.1:%d" % cluster.port)
        expect(second.wait(), 1, "exit status")
        assert re.search(r"in use|another process", second.output()), second.output()
        cluster.wait_online(1, 1)


CASES = [test_frozen_is_suspect_then_offline, test_only_what_changed_is_listed,
         test_killed_is_offline_in_a_second, test_terminated_says_goodbye,
         test_ends_without_a_name_server, test_a_clone_is_refused_while_its_owner_lives,
         test_an_older_copy_is_refused, test_a_disk_of_another_cluster_is_refused,
         test_one_process_for_one_directory]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
