#!/usr/bin/env python3
"""Clusters that mend themselves: flipped bytes, dead servers, servers to be emptied.

    test_repair.py [NAME ...]      only the cases whose names contain one of these
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import (DONE, FAILED, KIB, MIB, Cluster, content, expect, main)  # noqa: E402

WORKERS = 2
FAST = ("--suspect-after", "3", "--dead-after", "5", "--repair-delay", "1")  # heartbeats: every 2 s
SIZES = (5, 70 * KIB, 3 * MIB, 20 * MIB)


def status(cluster):
    return cluster.ok("status", json_=True).json()


def whole(cluster):
    """Every chunk has its copies, and nothing is under way."""
    now = status(cluster)
    return not (now["under_copied"] or now["lost"] or now["repairing"] or now["corrupt"])


def files_put(cluster, copies=3):
    files = {}
    for i, size in enumerate(SIZES * 3):
        files["/f%d" % i] = content(size, i)
        cluster.put("/f%d" % i, files["/f%d" % i], "--copies", copies)
    return files


def files_check(cluster, files):
    for path, data in files.items():
        cluster.check(path, data)


def chunk_count(files):
    return sum(-(-len(data) // (16 * MIB)) for data in files.values())


def chunks_held(cluster):
    return sum(node["chunks"] for node in cluster.nodes() if node["state"] != "offline")


def settled(cluster, copies):
    """Just so many copies on all servers that are up, as these say with their heartbeats."""
    cluster.wait_until(lambda: chunks_held(cluster) == copies and whole(cluster), 40)


def verified(cluster, path):
    result = cluster.muster("verify", path, json_=True)
    answer = result.json()
    expect(result.status, DONE if answer["ok"] else FAILED, result)
    return answer


def holds(path, piece):
    with open(path, "rb") as file:
        return file.read().find(piece)


def flip(cluster, i, data):
    """Changes one byte of that content on a server's disk; says where it was."""
    piece = data[1000:1064] if len(data) > 2000 else data
    for folder, _, names in os.walk(cluster.storage_data(i)):
        for name in names:
            path = os.path.join(folder, name)
            at = holds(path, piece)
            if at >= 0:
                with open(path, "r+b") as file:
                    file.seek(at)
                    byte = file.read(1)
                    file.seek(at)
                    file.write(bytes([byte[0] ^ 1]))
                return True
    return False


# ---- cases

def case_flipped_bytes_are_found_and_replaced():
    with Cluster(4, ns=FAST) as cluster:
        for size in (70 * KIB, 3 * MIB):
            path, data = "/f%d" % size, content(size, size)
            cluster.put(path, data)
            cluster.wait_until(lambda: whole(cluster))
            assert verified(cluster, path)["ok"]
            assert any(flip(cluster, i, data) for i in range(4)), "nobody has it"
            found = verified(cluster, path)
            assert not found["ok"], found
            cluster.wait_until(lambda: whole(cluster))
            assert verified(cluster, path)["ok"]
            cluster.check(path, data)


def case_flipped_byte_on_every_server_in_turn():
    """Without a server to spare: the new copy goes to where the bad one was."""
    with Cluster(3, ns=FAST) as cluster:
        data = content(3 * MIB, 5)
        cluster.put("/f", data)
        cluster.wait_until(lambda: whole(cluster))
        for i in range(3):
            assert flip(cluster, i, data), i
            found = verified(cluster, "/f")
            expect((found["ok"], found["bad"]), (False, 1), "found")
            cluster.wait_until(lambda: whole(cluster))
            assert verified(cluster, "/f")["ok"]
        cluster.check("/f", data)


def case_dead_server_is_replaced_and_trimmed_when_it_returns():
    with Cluster(4, ns=FAST) as cluster:
        files = files_put(cluster)
        settled(cluster, 3 * chunk_count(files))
        cluster.storages[1].kill()
        cluster.wait_until(lambda: status(cluster)["nodes_online"] == 3)
        settled(cluster, 3 * chunk_count(files))
        files_check(cluster, files)
        cluster.storage_start(1)
        cluster.wait_online(4)
        settled(cluster, 3 * chunk_count(files))
        files_check(cluster, files)
        for path in files:
            found = verified(cluster, path)
            expect((found["ok"], found["copies"]), (True, 3 * chunk_count({path: files[path]})), path)


def case_two_of_five_die_and_all_is_mended():
    with Cluster(5, ns=FAST) as cluster:
        files = files_put(cluster)
        cluster.wait_until(lambda: whole(cluster))
        cluster.storages[0].kill()
        cluster.storages[3].kill()
        cluster.wait_until(lambda: status(cluster)["nodes_online"] == 3)
        cluster.wait_until(lambda: whole(cluster), 40)
        files_check(cluster, files)


def case_copies_follow_the_wish():
    with Cluster(4, ns=FAST) as cluster:
        data = content(20 * MIB, 3)
        cluster.put("/f", data, "--copies", 2)
        settled(cluster, 4)
        for copies in (4, 1, 3):
            cluster.ok("copies", copies, "/f")
            settled(cluster, 2 * copies)
            cluster.check("/f", data)


def case_drained_server_is_emptied_while_it_serves():
    with Cluster(4, ns=FAST) as cluster:
        files = files_put(cluster)
        settled(cluster, 3 * chunk_count(files))
        name = cluster.node_of(2)["name"]
        cluster.ok("drain", name)
        cluster.wait_until(lambda: cluster.node_of(2)["chunks"] == 0, 40)
        settled(cluster, 3 * chunk_count(files))
        cluster.storages[2].kill()
        files_check(cluster, files)
        cluster.wait_until(lambda: status(cluster)["nodes_online"] == 3)
        cluster.wait_until(lambda: cluster.muster("forget", name).status == DONE, 10)
        expect(len(cluster.nodes()), 3, "servers")
        files_check(cluster, files)


CASES = [case_dead_server_is_replaced_and_trimmed_when_it_returns,
         case_two_of_five_die_and_all_is_mended, case_drained_server_is_emptied_while_it_serves,
         case_copies_follow_the_wish, case_flipped_byte_on_every_server_in_turn,
         case_flipped_bytes_are_found_and_replaced]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
