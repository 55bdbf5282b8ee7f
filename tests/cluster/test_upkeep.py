#!/usr/bin/env python3
"""What a cluster does without being asked: copies are read and bad ones replaced, full servers give
to empty ones.

    test_upkeep.py [NAME ...]      only the cases whose names contain one of these
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import KIB, MIB, Cluster, content, expect, main  # noqa: E402
from test_repair import FAST, chunks_held, flip, status, verified, whole  # noqa: E402

WORKERS = 2
DAY_S = 24 * 60 * 60


def scrub_days(seconds):
    return FAST + ("--scrub-days", "%.6f" % (seconds / DAY_S))


def event(cluster, i, name):
    """The last line of the server's log with that event."""
    lines = [line for line in cluster.storages[i].output().splitlines() if " " + name + " " in line]
    return lines[-1] if lines else ""


def number(line, key):
    return int(line.split(" " + key + "=")[1].split()[0])


# ---- cases

def case_a_flipped_byte_is_found_by_nobody_reading_it():
    with Cluster(4, ns=scrub_days(12)) as cluster:
        files = {"/f%d" % size: content(size, size) for size in (70 * KIB, 3 * MIB, 20 * MIB)}
        for path, data in files.items():
            cluster.put(path, data)
        cluster.wait_until(lambda: whole(cluster))
        copies = chunks_held(cluster)
        for path, data in files.items():
            assert any(flip(cluster, i, data) for i in range(4)), path
        cluster.wait_until(lambda: cluster.nameserver.output().count(" corrupt_found ") == 3, 40)
        cluster.wait_until(lambda: whole(cluster) and chunks_held(cluster) == copies, 30)
        for path, data in files.items():
            assert verified(cluster, path)["ok"], path
            cluster.check(path, data)


def case_scrubbing_goes_on_where_it_was():
    with Cluster(1, ns=scrub_days(60), storage=("--log-level", "debug")) as cluster:
        for i in range(40):
            cluster.put("/f%d" % i, content(1 * MIB, i), "--copies", 1)
        cluster.storages[0].stop()
        os.unlink(cluster.storage_data(0) + "/scrub")
        cluster.storage_start(0)
        cluster.wait_until(lambda: os.path.exists(cluster.storage_data(0) + "/scrub"), 30)
        cluster.storages[0].stop()
        first = cluster.storage_start(0)
        assert first.event("scrub_started")
        read = number(event(cluster, 0, "scrub_started"), "chunks")
        assert 0 < read < 40, read
        cluster.wait_until(lambda: event(cluster, 0, "scrub_ended"), 70)
        ended = event(cluster, 0, "scrub_ended")
        expect(number(ended, "chunks"), 40, ended)
        expect(number(ended, "bad"), 0, ended)
        assert number(ended, "ms") <= 62 * 1000, ended
        # Damaged, it begins anew.
        first.stop()
        with open(cluster.storage_data(0) + "/scrub", "r+b") as file:
            file.seek(20)
            file.write(b"\xff\xff")
        anew = cluster.storage_start(0)
        assert anew.event("scrub_started")
        expect(number(event(cluster, 0, "scrub_started"), "chunks"), 0, "anew")


def shares(cluster):
    return [100.0 * node["used"] / node["capacity"] for node in cluster.nodes()]


def case_a_server_that_joins_gets_its_share():
    with Cluster(3, ns=FAST, storage=("--capacity", "200M")) as cluster:
        files = {"/f%d" % i: content(4 * MIB, i) for i in range(35)}
        files.update({"/small%d" % i: content(200 * KIB, i) for i in range(50)})
        for path, data in files.items():
            cluster.put(path, data, "--copies", 2)
        cluster.wait_until(lambda: whole(cluster) and chunks_held(cluster) == 2 * len(files))
        assert max(shares(cluster)) - min(shares(cluster)) < 10, shares(cluster)
        cluster.storage_add()
        cluster.wait_online(4)
        assert cluster.nameserver.event("balance_ended", 60), cluster.nameserver.output()
        cluster.wait_until(lambda: whole(cluster) and chunks_held(cluster) == 2 * len(files))
        assert max(shares(cluster)) - min(shares(cluster)) < 10, shares(cluster)
        for path, data in files.items():
            cluster.check(path, data)
        expect(cluster.nameserver.output().count(" balance_started "), 1, "begun")


CASES = [case_a_server_that_joins_gets_its_share,
         case_a_flipped_byte_is_found_by_nobody_reading_it, case_scrubbing_goes_on_where_it_was]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
