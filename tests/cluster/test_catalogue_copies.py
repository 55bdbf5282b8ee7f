#!/usr/bin/env python3
"""Storage servers' copies of the catalogue: they follow, catch up, and say what they are.

    test_catalogue_copies.py [NAME ...]     only the cases whose names contain one of these
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lan import Lan, why_not  # noqa: E402
from muster_cluster import Cluster, Skip, expect, main  # noqa: E402
from muster_proc import BUILD, wait_until  # noqa: E402

WORKERS = 2
LEVEL_S = 30.0
DUMP = os.path.join(BUILD, "tools", "catalogue_dump")
MANY = 10000


def dump(directory):
    """epoch, sequence, hash, "whole", number of rows, digest of the rows; None: there is none yet."""
    if not os.path.exists(directory + "/data.mdb"):
        return None
    done = subprocess.run([DUMP, directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.stdout.decode().split() if done.returncode == 0 else None


def copy_of(data):
    return dump(data + "/catalogue/view")


def wait_level(nameserver_data, datas, seconds=LEVEL_S):
    """Every copy is the name server's catalogue, to the byte and to the batch."""
    seen = []

    def level():
        wanted = dump(nameserver_data + "/view")
        seen[:] = [wanted] + [copy_of(data) for data in datas]
        return wanted and wanted[3] == "whole" and all(copy == wanted for copy in seen[1:])

    try:
        wait_until(level, seconds)
    except AssertionError:
        raise AssertionError("copies differ: %s" % seen) from None
    return seen[0]


def all_level(cluster, seconds=LEVEL_S):
    return wait_level(cluster.path + "/ns", [cluster.storage_data(i) for i in range(cluster.count)], seconds)


def create(cluster, name, count):
    """So many empty files in a new directory."""
    source = os.path.join(cluster.path, "from-" + name)
    os.mkdir(source)
    for i in range(count):
        open("%s/%05d" % (source, i), "w").close()
    cluster.ok("put", "-r", source, "/" + name, limit=240)
    shutil.rmtree(source)


def event(daemon, name, seconds=LEVEL_S):
    line = daemon.event(name, seconds)
    assert line, daemon.output()
    return line


def case_three_copies_follow():
    with Cluster(3) as cluster:
        create(cluster, "a", 1000)
        for i in range(5):
            cluster.put("/f%d" % i, b"content %d" % i)
        cluster.ok("mv", "/a/00007", "/b")
        cluster.ok("rm", "/a/00008")
        rows = int(all_level(cluster)[4])
        assert rows > 3000, rows
        cluster.wait_until(lambda: cluster.ok("status", json_=True).json()["catalogue_copies"] == 4)
        return "%d rows" % rows


def case_down_for_many_changes():
    with Cluster(3) as cluster:
        all_level(cluster)
        expect(cluster.storages[2].stop(), 0)
        create(cluster, "a", MANY)
        late = cluster.storage_start(2)
        event(late, "catalogue_level")
        assert "catalogue_anew" not in late.output(), late.output()
        all_level(cluster)


def case_directory_deleted():
    with Cluster(3) as cluster:
        create(cluster, "a", 3000)
        all_level(cluster)
        expect(cluster.storages[1].stop(), 0)
        shutil.rmtree(cluster.storage_data(1) + "/catalogue")
        again = cluster.storage_start(1)
        event(again, "catalogue_level")
        all_level(cluster)


def case_killed_in_the_middle():
    """Again and again, while changes are made."""
    with Cluster(3) as cluster:
        source = os.path.join(cluster.path, "source")
        os.mkdir(source)
        for i in range(3000):
            open("%s/%05d" % (source, i), "w").close()
        put = cluster.open("put", "-r", source, "/a")
        for i in range(8):
            victim = i % 3
            cluster.storages[victim].process.send_signal(signal.SIGKILL)
            cluster.storages[victim].process.wait()
            cluster.storage_start(victim)
            time.sleep(0.15 * (i % 4))
        put.communicate(timeout=120)
        expect(put.returncode, 0)
        all_level(cluster)
        for i in range(3):
            cluster.storages[i].process.send_signal(signal.SIGKILL)
            cluster.storages[i].process.wait()
        for i in range(3):
            cluster.storage_start(i)
        all_level(cluster)


def case_damaged_copy():
    """A copy that is not what was written is made anew, and nobody takes it for one."""
    with Cluster(2) as cluster:
        create(cluster, "a", 500)
        all_level(cluster)
        for storage in cluster.storages:
            expect(storage.stop(), 0)
        with open(cluster.storage_data(0) + "/catalogue/view/data.mdb", "r+b") as file:
            file.write(b"\xff" * 8192)
        for path in glob.glob(cluster.storage_data(1) + "/catalogue/journal/*"):
            with open(path, "r+b") as file:
                file.write(b"MJG3" + b"\xff" * 64)
        for i in range(2):
            event(cluster.storage_start(i), "catalogue_damaged")
        create(cluster, "b", 10)
        all_level(cluster)


def case_full_disk_under_the_copy():
    """The copy stops and says so; chunks go on, and so do changes: another copy has them."""
    with Cluster(2) as cluster:
        all_level(cluster)
        expect(cluster.storages[0].stop(), 0)
        shutil.rmtree(cluster.storage_data(0) + "/catalogue")
        os.mkdir(cluster.storage_data(0) + "/catalogue")
        small = cluster.tmpfs("store0/catalogue", 256 * 1024)
        daemon = cluster.storage_start(0)
        cluster.wait_online(2)
        for i in range(20):
            cluster.put("/f%d" % i, b"x" * 100000)
        create(cluster, "a", 2000)
        event(daemon, "catalogue_failed")
        cluster.check("/f3", b"x" * 100000)
        cluster.put("/g", b"y")
        del small


def case_cut_off_from_the_nameserver():
    """It learns through another, and keeps what it has."""
    problem = why_not()
    if problem:
        raise Skip(problem)
    with Lan(4) as lan:
        one, client = lan.hosts[0], lan.hosts[3]
        one.nameserver("lan")
        storages = [host.storage() for host in lan.hosts[1:3]]
        for storage in storages:
            assert storage.event("registered"), storage.output()
        datas = [host.path + "/store" for host in lan.hosts[1:3]]
        wait_level(one.path + "/ns", datas)
        lan.hosts[2].drop("input ip saddr %s" % one.address, "output ip daddr %s" % one.address)
        event(storages[1], "nameserver_lost")
        client.ok("mkdir", "/seen")
        for i in range(20):
            client.ok("mkdir", "/seen/%d" % i)
        before = dump(one.path + "/ns/view")

        def has_it():
            copy = copy_of(datas[1])
            return copy and int(copy[1]) >= int(before[1])

        wait_until(has_it, 30)
        wait_level(one.path + "/ns", datas)
        found = re.findall(r"catalogue_(\w+)", storages[1].output())
        assert "failed" not in found and "refused" not in found, found


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("case_")], WORKERS))
