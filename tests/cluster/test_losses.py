#!/usr/bin/env python3
"""Servers that are gone for good, miss a lot, or come back as something else: real processes.

    LOSSES=4 test_losses.py [NAME ...]     only the cases whose names contain one of these
"""
import hashlib
import itertools
import os
import random
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lan import Lan, why_not  # noqa: E402
from muster_cluster import DONE, KIB, MIB, Cluster, Skip, content, expect, main  # noqa: E402
from test_catalogue_copies import all_level, wait_level  # noqa: E402
from test_repair import (FAST, chunks_held, files_check, holds, settled, status, verified,  # noqa: E402
                         whole)

WORKERS = 2
LOSSES = int(os.environ.get("LOSSES", 4))
SEED = int(os.environ.get("LOSSES_SEED", time.time_ns() % 1000000))
SIZES = (1, 3000, 300 * KIB, 3 * MIB)
CUT_S = 30
LEVEL_S = 10


class Putters:
    """Clients that put files, one after the other; what was acknowledged."""

    def __init__(self, cluster, count):
        self.cluster, self.told, self.refused = cluster, {}, 0
        self.wrong, self.end = [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        try:
            for i in itertools.count():
                if self.end.is_set():
                    return
                path, data = "/c%d-%d" % (number, i), content(SIZES[i % 4], number * 10000 + i)
                result = self.cluster.muster("put", "-", path, stdin=data)
                if result.status == DONE:
                    self.told[path] = data
                else:
                    self.refused += 1
        except Exception as why:  # noqa: BLE001
            self.wrong.append(why)

    def stop(self):
        self.end.set()
        for thread in self.threads:
            thread.join()
        if self.wrong:
            raise self.wrong[0]


def lose(cluster, *numbers):
    """All at once, and nothing of them is left."""
    names = [cluster.node_of(i)["name"] for i in numbers]
    for i in numbers:
        cluster.storages[i].process.kill()
    for i in numbers:
        cluster.storages[i].process.wait()
        shutil.rmtree(cluster.storage_data(i))
    return names


def replace(cluster, numbers, names):
    """New servers for those that will not come back."""
    for name in names:
        cluster.wait_until(lambda name=name: cluster.muster("forget", name).status == DONE, 20)
    for i in numbers:
        cluster.storage_start(i)
    cluster.wait_online(cluster.count)
    cluster.wait_set(3, 60)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def has(path, data):
    try:
        return holds(path, data[1000:1064]) >= 0
    except FileNotFoundError:  # it went just now
        return False


def find(cluster, data):
    """The servers whose disks have these bytes."""
    found = set()
    for i in range(len(cluster.storages)):
        for folder, _, names in os.walk(cluster.storage_data(i)):
            if any(has(os.path.join(folder, name), data) for name in names):
                found.add(i)
    return sorted(found)


# ---- cases

def case_any_one_gone_for_good_amid_puts():
    """Two copies were durable before a put was acknowledged: one server may be lost with all it had."""
    dice = random.Random(SEED)
    with Cluster(4, ns=FAST) as cluster:
        cluster.wait_set(3)
        files = {}
        for number in range(LOSSES):
            putters = Putters(cluster, 3)
            try:
                time.sleep(0.5 + dice.random())
                names = lose(cluster, number % 4)
                seen = len(putters.told)
                cluster.wait_until(lambda seen=seen, putters=putters: len(putters.told) > seen + 5, 30)
            finally:
                putters.stop()
            expect(putters.refused, 0, "refused puts")
            cluster.wait_until(lambda: status(cluster)["nodes_online"] == 3)
            expect(status(cluster)["lost"], 0, "lost chunks")
            files.update({"%s" % path: data for path, data in putters.told.items()})
            files_check(cluster, putters.told)
            cluster.wait_until(lambda: whole(cluster), 60)  # by itself
            files_check(cluster, files)
            replace(cluster, [number % 4], names)
            cluster.ok("mkdir", "/round%d" % number)
            for path in putters.told:
                cluster.ok("mv", path, "/round%d%s" % (number, path))
                files["/round%d%s" % (number, path)] = files.pop(path)
        return "%d losses, %d files, 0 lost; seed %d" % (LOSSES, len(files), SEED)


def case_any_two_gone_for_good():
    """Once a file has its three copies two servers may be lost at the same moment."""
    pairs = list(itertools.combinations(range(5), 2))
    random.Random(SEED).shuffle(pairs)
    with Cluster(5, ns=FAST) as cluster:
        cluster.wait_set(3)
        files = {"/f%d" % i: content((5, 70 * KIB, 3 * MIB, 20 * MIB)[i % 4], i) for i in range(24)}
        for path, data in files.items():
            cluster.put(path, data)
        without = 0
        for pair in pairs[:LOSSES]:
            cluster.wait_until(lambda: whole(cluster), 60)
            names = lose(cluster, *pair)
            cluster.wait_until(lambda: status(cluster)["nodes_online"] == 3)
            expect(status(cluster)["lost"], 0, "lost chunks")
            files_check(cluster, files)
            # Where two of the journal set are gone only the operator can say that they are.
            if status(cluster)["journal_up"] < 2:
                without += 1
                replace(cluster, pair, names)
            cluster.wait_until(lambda: whole(cluster), 60)
            files_check(cluster, files)
            if cluster.storages[pair[0]].process.poll() is not None:
                replace(cluster, pair, names)
        return "%d pairs, %d with most of the journal set; %d files, 0 lost; seed %d" % (
            min(LOSSES, len(pairs)), without, len(files), SEED)


def case_what_was_removed_leaves_every_disk():
    """A server that was away has old versions and removed files: they go when it returns, for good."""
    with Cluster(3, ns=FAST, storage=("--capacity", "1G")) as cluster:
        small = {"/s%d" % i: content(900 * KIB, 100 + i) for i in range(25)}
        files = {"/large": content(3 * MIB, 1), "/older": content(3 * MIB, 2), **small}
        for path, data in files.items():
            cluster.put(path, data)
        settled(cluster, 3 * len(files))
        expect(find(cluster, files["/large"]), [0, 1, 2])
        expect(find(cluster, files["/s3"]), [0, 1, 2])
        cluster.storages[2].stop()
        cluster.ok("rm", "/large", *list(small)[:22])
        cluster.put("/older", b"newer", "-f")
        cluster.fails("no such file", "get", "/large", "-")
        expect(find(cluster, files["/large"]), [0, 1, 2], "in the trash")
        cluster.ok("trash", "purge", "-f")
        gone = [files["/large"], files["/older"], small["/s3"]]
        cluster.wait_until(lambda: [find(cluster, data) for data in gone] == [[2]] * 3, 60)
        cluster.storage_start(2)
        cluster.wait_online(3)
        cluster.wait_until(lambda: [find(cluster, data) for data in gone] == [[]] * 3, 60)
        settled(cluster, 3 * 4)
        cluster.check("/older", b"newer")
        for path in list(small)[22:]:
            cluster.check(path, small[path])
        # Not after restarts either.
        cluster.nameserver.kill()
        for i in range(3):
            cluster.storages[i].kill()
            cluster.storage_start(i)
        cluster.nameserver_start()
        cluster.wait_online(3)
        cluster.wait_until(lambda: whole(cluster))
        expect(sorted(cluster.names()), sorted(["older"] + [path[1:] for path in list(small)[22:]]))
        cluster.check("/older", b"newer")
        expect([find(cluster, data) for data in gone], [[]] * 3)


def case_repair_names_file_source_and_target():
    with Cluster(4, ns=FAST) as cluster:
        data = content(3 * MIB, 7)
        cluster.put("/films & more", data)
        cluster.wait_until(lambda: whole(cluster))
        holders = {holder["id"]: holder for holder in
                   cluster.ok("stat", "/films & more", json_=True).json()["holders"]}
        nodes = {cluster.node_of(i)["id"]: (i, cluster.node_of(i)["name"]) for i in range(4)}
        dead = nodes[sorted(holders)[0]]
        target = next(nodes[node][1] for node in nodes if node not in holders)
        began = time.monotonic()
        cluster.storages[dead[0]].kill()
        line = cluster.nameserver.event("repaired", 20)
        took = time.monotonic() - began
        assert 'path="/films & more"' in line and " node=%s " % target in line, line
        source = re.search(r" source=(\S+)", line).group(1)
        assert source in [nodes[node][1] for node in holders if nodes[node] != dead], line
        cluster.wait_until(lambda: whole(cluster))
        expect(cluster.ok("stat", "/films & more", json_=True).json()["copies"], 3, "copies")
        cluster.check("/films & more", data)
        return "%.1f s after the kill" % took


def case_late_servers_get_their_share():
    """Files that were put when there were too few servers are whole when there are enough."""
    with Cluster(1, ns=FAST) as cluster:
        files = {"/f%d" % i: content(size, i) for i, size in enumerate((5, 70 * KIB, 3 * MIB))}
        for path, data in files.items():
            expect(cluster.put(path, data), 1, "copies")
        for count in (2, 3):
            cluster.storage_add()
            cluster.wait_until(lambda count=count: chunks_held(cluster) == count * len(files), 40)
        cluster.wait_until(lambda: whole(cluster))
        cluster.storages[0].kill()
        cluster.wait_until(lambda: status(cluster)["nodes_online"] == 2)
        files_check(cluster, files)


def case_unmounted_disk_is_not_the_server():
    """Its directory is an empty place now. What starts there is somebody else, the server stays lost,
    and is back with its disk."""
    with Cluster(3, ns=FAST) as cluster:
        data = content(3 * MIB, 4)
        cluster.put("/f", data)
        settled(cluster, 3)
        node, place = cluster.node_of(1), cluster.storage_data(1)
        expect(cluster.storages[1].stop(), 0)
        os.rename(place, place + ".disk")
        os.mkdir(place)
        daemon = cluster.storage_start(1)
        assert daemon.event("joined"), daemon.output()
        cluster.wait_online(3)
        states = {one["id"]: (one["state"], one["name"]) for one in cluster.nodes()}
        expect(len(states), 4, "servers")
        expect(states[node["id"]][0], "offline")
        expect(len({name for _, name in states.values()}), 4, "names")
        cluster.wait_until(lambda: whole(cluster) and cluster.node_of(1)["chunks"] == 1, 30)
        cluster.check("/f", data)
        # With something in it that is not ours it does not start at all.
        expect(daemon.stop(), 0)
        shutil.rmtree(place)
        os.mkdir(place)
        with open(place + "/README", "w") as file:
            file.write("mount me")
        daemon = cluster.storage_start(1)
        expect(daemon.wait(), 1, "exit status")
        assert "not mounted" in daemon.output(), daemon.output()
        # The disk is back, and so is the server.
        shutil.rmtree(place)
        os.rename(place + ".disk", place)
        assert cluster.storage_start(1).event("registered")
        expect(cluster.node_of(1)["id"], node["id"], "id")
        cluster.wait_online(3)
        cluster.check("/f", data)


def case_cut_off_for_half_a_minute():
    """Files come, change and go meanwhile; then all are equal again."""
    problem = why_not()
    if problem:
        raise Skip(problem)
    with Lan(5) as lan:
        one, client = lan.hosts[0], lan.hosts[4]
        one.nameserver("lan")
        storages = [host.storage() for host in lan.hosts[1:4]]
        for storage in storages:
            assert storage.event("registered"), storage.output()
        client.wait_set(3)
        files = {"/f%d" % i: content(300 * KIB, i) for i in range(12)}
        for path, data in files.items():
            client.put(path, data)
        datas = [host.path + "/store" for host in lan.hosts[1:4]]
        wait_level(one.path + "/ns", datas)
        began = time.monotonic()
        lan.hosts[2].link("down")
        for i in range(4):
            client.ok("rm", "/f%d" % i)
            del files["/f%d" % i]
        for i in range(4, 8):
            files["/f%d" % i] = content(400 * KIB, 50 + i)
            client.put("/f%d" % i, files["/f%d" % i], "-f")
        for i in range(20, 26):
            files["/f%d" % i] = content(500 * KIB, i)
            client.put("/f%d" % i, files["/f%d" % i])
        client.ok("trash", "purge", "-f")
        while time.monotonic() < began + CUT_S:
            assert client.muster("status").status == DONE
            time.sleep(1)
        lan.hosts[2].link("up")
        joined = time.monotonic()
        wait_level(one.path + "/ns", datas, LEVEL_S)
        level = time.monotonic() - joined
        client.wait_online(3)
        client.wait_until(lambda: chunks_held(client) == 3 * len(files) and whole(client), 60)
        equal = time.monotonic() - joined
        expect(sorted(client.names()), sorted(path[1:] for path in files))
        files_check(client, files)
        answer = verified(client, "/")
        expect((answer["ok"], answer["copies"]), (True, 3 * len(files)), answer)
        return "catalogue level %.1f s after the cut, chunks %.1f s" % (level, equal)


def case_rebuilt_catalogue_is_the_same():
    """Row by row: with files that were removed, replaced, moved and copied, and the trash."""
    with Cluster(3) as cluster:
        cluster.wait_set(3)
        for i in range(12):
            cluster.put("/f%d" % i, content(i * 1000, i))
        cluster.ok("mkdir", "-p", "/d/e")
        cluster.ok("cp", "/f1", "/f2", "/d/e")
        cluster.ok("mv", "/f3", "/d/three")
        cluster.ok("mv", "/d/e", "/moved")
        cluster.ok("cp", "-r", "/moved", "/copy")
        cluster.ok("rm", "/f4", "/f5")
        cluster.ok("rm", "-r", "/copy")
        cluster.ok("trash", "restore", "/f5")
        cluster.put("/f6", b"another", "-f")
        cluster.ok("append", "/f7", "-", stdin=b"and more")
        cluster.ok("copies", 2, "/f8")

        def shown():
            trash = cluster.ok("trash", "ls", json_=True).lines()
            for row in trash:
                del row["purge_in"]
            return [trash] + [cluster.ok(*words, json_=True).lines() for words in
                              (("ls", "-lR", "/"), ("du", "/"))] + [
                        digest(cluster.ok("cat", "/" + path).out) for path in
                        ("f6", "f7", "d/three", "moved/f1")]

        before = shown()
        rows = all_level(cluster)[4]
        cluster.nameserver.kill()
        shutil.rmtree(cluster.path + "/ns")
        cluster.nameserver_begin()
        line = cluster.nameserver.event("started", 30)
        assert line and " rebuilt=yes" in line, cluster.nameserver.output()
        cluster.wait_online(3)
        expect(shown(), before)
        all_level(cluster)
        return "%s rows" % rows


CASES = [value for name, value in list(globals().items()) if name.startswith("case_")]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
