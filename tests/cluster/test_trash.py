#!/usr/bin/env python3
"""Trees that move, are copied, removed, brought back and emptied, on live clusters whose name server
is killed in the middle.

    test_trash.py [NAME ...]      only the cases whose names contain one of these
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import DONE, KIB, MIB, Cluster, content, expect, main  # noqa: E402

WORKERS = 2
DIRECTORIES, FILES = 40, 100


def status(cluster):
    return cluster.ok("status", json_=True).json()


def again(cluster):
    """The name server dies and comes back."""
    cluster.nameserver.kill()
    cluster.nameserver_start()
    cluster.wait_online(len(cluster.storages))


def tree_put(cluster, name):
    """Many small files, put as one tree."""
    local = os.path.join(cluster.path, name)
    for i in range(DIRECTORIES):
        os.makedirs("%s/d%d" % (local, i))
        for j in range(FILES):
            with open("%s/d%d/f%d" % (local, i, j), "w") as file:
                file.write("%d of %d" % (j, i))
    cluster.ok("-q", "put", "-r", local, "/" + name)
    return local


def tree_check(cluster, path, local):
    got = os.path.join(cluster.path, "got")
    cluster.ok("-q", "get", "-r", path, got)
    for i in range(DIRECTORIES):
        expect(sorted(os.listdir("%s/d%d" % (got, i))), sorted(os.listdir("%s/d%d" % (local, i))))
        for j in range(FILES):
            with open("%s/d%d/f%d" % (got, i, j)) as one, open("%s/d%d/f%d" % (local, i, j)) as two:
                expect(one.read(), two.read(), (path, i, j))
    os.rename(got, "%s-%f" % (got, time.monotonic()))


def case_copy_of_a_tree_survives_the_name_server():
    with Cluster(1) as cluster:
        local = tree_put(cluster, "t")
        for i in range(3):
            process = cluster.open("cp", "-r", "/t", "/copy%d" % i)
            time.sleep(0.05 * i)
            again(cluster)
            expect(process.wait(60), DONE, process.stderr.read())
            expect(status(cluster)["files"], (i + 2) * DIRECTORIES * FILES, "files")
        tree_check(cluster, "/copy2", local)
        cluster.ok("-q", "rm", "-r", "/t", "/copy0", "/copy1")
        cluster.ok("-q", "trash", "purge", "-f")
        cluster.wait_until(lambda: status(cluster)["freeing"] == 0, 60)
        tree_check(cluster, "/copy2", local)
        expect(status(cluster)["lost"], 0, "lost")


def case_what_was_removed_survives_the_name_server():
    with Cluster(2) as cluster:
        files = {"/a/b/f%d" % i: content(size, i) for i, size in enumerate((5, 70 * KIB, 3 * MIB))}
        cluster.ok("mkdir", "-p", "/a/b")
        for path, data in files.items():
            cluster.put(path, data)
        cluster.put("/a/b/f0", b"newer", "-f")
        cluster.ok("rm", "-r", "/a")
        expect(status(cluster)["trash_entries"], 6, "in the trash")
        again(cluster)
        cluster.ok("trash", "restore", "/a/b/f2")
        cluster.check("/a/b/f2", files["/a/b/f2"])
        cluster.ok("trash", "restore", "/a/b", "/b")
        cluster.check("/b/f0", b"newer")
        cluster.ok("trash", "restore", "/a/b/f0")
        cluster.check("/a/b/f0", files["/a/b/f0"])
        cluster.ok("mv", "/b", "/a/b")
        again(cluster)
        cluster.check("/a/b/b/f1", files["/a/b/f1"])
        expect(list(cluster.names("/a")), ["b"], "names")


def case_old_things_go_by_themselves():
    with Cluster(1, ns=("--trash-days", "0.00005")) as cluster:  # 4.3 s
        cluster.put("/f", content(3 * MIB))
        cluster.put("/g", content(3 * MIB))
        cluster.ok("rm", "/f")
        expect(status(cluster)["trash_entries"], 1, "in the trash")
        cluster.wait_until(lambda: status(cluster)["trash_entries"] == 0, 15)
        cluster.fails("no such file", "trash", "restore", "/f")
        cluster.wait_until(lambda: status(cluster)["freeing"] == 0 and max(cluster.used()) < 4 * MIB)
        cluster.check("/g", content(3 * MIB))


def case_emptied_store_stays_empty():
    with Cluster(2) as cluster:
        for i in range(4):
            cluster.put("/f%d" % i, content(2 * MIB, i))
        cluster.ok("rm", "/f0")
        cluster.ok("-q", "format", "--yes")
        expect(list(cluster.names()), [], "names")
        cluster.put("/new", content(MIB))
        again(cluster)
        expect(list(cluster.names()), ["new"], "names")
        cluster.check("/new", content(MIB))
        cluster.wait_until(lambda: status(cluster)["freeing"] == 0 and max(cluster.used()) < 2 * MIB,
                           60)
        cluster.check("/new", content(MIB))
        now = status(cluster)
        expect((now["files"], now["trash_entries"], now["lost"]), (1, 0, 0))


CASES = [case_copy_of_a_tree_survives_the_name_server, case_emptied_store_stays_empty,
         case_what_was_removed_survives_the_name_server, case_old_things_go_by_themselves]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
