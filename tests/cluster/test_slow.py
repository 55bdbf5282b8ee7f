#!/usr/bin/env python3
"""One storage server whose disk takes seconds for each call: it must not stall the others.

    SLOW_PUTS=40 test_slow.py [NAME ...]     only the cases whose names contain one of these
"""
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import DONE, KIB, MIB, Cluster, content, expect, main  # noqa: E402
from muster_proc import ROOT  # noqa: E402

WORKERS = 1
IO_MS = 5000
PUTS = int(os.environ.get("SLOW_PUTS", 40))
CLIENTS = 4
SIZES = (0, 100, 70 * KIB, 900 * KIB, 3 * MIB)


class SlowOne(Cluster):
    """Its server number 0 has a disk that can be made slow."""

    def __enter__(self):
        self.preload = self.path + "/slow_disk.so"
        self.switch = self.path + "/switch"
        subprocess.check_call(
            os.environ.get("CC", "cc").split() +
            ["-std=c11", "-O1", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o",
             self.preload, os.path.join(ROOT, "tests/cluster/slow_disk.c"), "-ldl"])
        return super().__enter__()

    def storage_start(self, i, *arguments):
        before = dict(self.environment)
        if i == 0:
            self.environment.update(LD_PRELOAD=self.preload, SLOW_DISK=self.storage_data(0),
                                    SLOW_DISK_SWITCH=self.switch)
        try:
            return super().storage_start(i, *arguments)
        finally:
            self.environment = before

    def slow(self, milliseconds):
        with open(self.switch + ".new", "w") as file:
            file.write("%d" % milliseconds)
        os.rename(self.switch + ".new", self.switch)

    def quick(self):
        os.unlink(self.switch)


def at_once(work):
    """`work(number)` by so many clients; how long each call took, sorted."""
    times, wrong = [], []

    def run(client):
        try:
            for i in range(client, PUTS, CLIENTS):
                times.append(work(i))
        except Exception as why:  # noqa: BLE001
            wrong.append(why)

    threads = [threading.Thread(target=run, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return sorted(times)


def high(times):
    """The 99th percentile."""
    return times[-1 - len(times) // 100]


def puts(cluster, name):
    def put(i):
        result = cluster.muster("put", "-", "/%s%d" % (name, i), stdin=content(SIZES[i % 5], i))
        expect(result.status, DONE, result)
        return result.took

    return high(at_once(put))


def gets(cluster, name):
    def get(i):
        result = cluster.muster("get", "/%s%d" % (name, i), "-")
        expect(result.status, DONE, result)
        assert result.out == content(SIZES[i % 5], i), i
        return result.took

    return high(at_once(get))


def changes(cluster, name):
    def mkdir(i):
        return cluster.ok("mkdir", "/%s%d" % (name, i)).took

    return high(at_once(mkdir))


def case_a_slow_disk_does_not_stall_the_others():
    with SlowOne(4) as cluster:
        cluster.wait_set(3)
        normal = [puts(cluster, "n"), gets(cluster, "n"), changes(cluster, "nd")]
        cluster.slow(IO_MS)
        slow = [puts(cluster, "s"), gets(cluster, "n"), gets(cluster, "s"), changes(cluster, "sd")]
        said = "99 of 100 within: puts %.2f s, with a slow disk %.2f; gets %.2f, %.2f and %.2f; mkdirs " \
            "%.2f, %.2f" % (normal[0], slow[0], normal[1], slow[1], slow[2], normal[2], slow[3])
        print("# " + said, flush=True)
        assert slow[0] <= 2 * normal[0] + 2, said
        assert max(slow[1:3]) <= 2 * normal[1] + 2, said
        assert slow[3] <= 2 * normal[2] + 2, said
        cluster.quick()
        began = time.monotonic()
        cluster.wait_online(4, 60)
        cluster.wait_until(lambda: cluster.ok("status", json_=True).json()["under_copied"] == 0, 60)
        return said + "; whole %.1f s later" % (time.monotonic() - began)


CASES = [case_a_slow_disk_does_not_stall_the_others]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
