#!/usr/bin/env python3
"""`make bench`: what Muster costs beside the bare machine.

Every figure stands beside its floor: the least code that could do the same job with the same
checksums and syncs (floor.c). Floor and Muster take turns in one run, so that whatever else the
machine does meets both. Prints one JSON line per figure, then a table. Loopback only.

    run.py [--rounds N] [--mib N] [--files N] [--names N] [WORKLOAD …]
"""
import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
import mesh  # noqa: E402
from figures import BENCH, Peak, figure, floor, lines, memory, table, timed, value  # noqa: E402
from muster_cluster import BUILD, Cluster  # noqa: E402
from muster_proc import wait_until  # noqa: E402

# ---- workloads


def large(how, source):
    """One large file: durable put of 1 and of 3 copies, get into nowhere."""
    size, gets = how.mib << 20, []
    for copies in (1, 3):
        with Cluster(3) as cluster:
            pairs = []
            for turn in range(how.rounds + 1):
                bare = floor("put", copies, size, source, cluster.path) / 2**20
                bare_get = floor("get", size, source) / 2**20
                ours = {line["bench"]: line["mib_per_s"] for line in
                        lines(BENCH + "/bench_large", "127.0.0.1:%d" % cluster.port, how.mib, copies,
                              source)}
                if turn:  # the first one warms up
                    pairs.append((bare, ours["large_put"]))
                    gets.append((bare_get, ours["large_get"]))
            figure("put one file, %d cop%s, durable" % (copies, "y" if copies == 1 else "ies"),
                   "MiB/s", pairs, "ratio >= 0.6")
    figure("get one file, warm", "MiB/s", gets, "ratio >= 0.6")


def small(how, _):
    """4 KiB files, 3 copies, 16 in flight."""
    puts, gets = [], []
    for turn in range(how.rounds + 1):
        with Cluster(3) as cluster:
            bare = floor("append", how.files, 4096, 16, cluster.path)
            bare_get = floor("echo", 1, 16, 200, 4200, how.files * 4)
            ours = {line["bench"]: line["files_per_s"] for line in
                    lines(BENCH + "/bench_small", "127.0.0.1:%d" % cluster.port, how.files, 16, 4096)}
        if turn:
            puts.append((bare, ours["small_put"]))
            gets.append((bare_get, ours["small_get"]))
    figure("put 4 KiB files, 3 copies, durable", "files/s", puts, ">= 4000")
    figure("get 4 KiB files", "files/s", gets, ">= 20000")


def names(how, _):
    """The name server alone: 8 connections, pipelined."""
    creates, stats = [], []
    for turn in range(how.rounds + 1):
        with tempfile.TemporaryDirectory() as directory:
            bare = floor("echo", 8, 64, 100, 48, how.files * 5, 200, directory)
        bare_stat = floor("echo", 8, 64, 60, 200, how.files * 20)
        ours = {line["bench"]: line["per_second"] for line in
                lines(BENCH + "/bench_nameserver", how.files * 5, how.files * 20)}
        if turn:
            creates.append((bare, ours["create"]))
            stats.append((bare_stat, ours["stat"]))
    figure("create, durable, 8 connections", "ops/s", creates, ">= 10000")
    figure("stat, 8 connections", "ops/s", stats, ">= 50000")


def million(how, _):
    """Many names: memory, and how soon a restarted name server answers."""
    with Cluster(0) as cluster:
        lines(BENCH + "/bench_nameserver", how.names, 0, cluster.port)
        value("name server's memory with %d files" % how.names, "MiB",
              memory(cluster.nameserver.process), "< 64")
        cluster.nameserver.kill()
        start = time.monotonic()
        cluster.nameserver_start()
        wait_until(lambda: cluster.muster("stat", "/").status == 0)
        value("kill -9 to first stat with %d files" % how.names, "s", time.monotonic() - start,
              "< 0.5")


def flat(how, _):
    """Memory while a file of 4 times the size goes in and out."""
    with Cluster(3) as cluster:
        big, out = cluster.path + "/big", open(os.devnull, "wb")
        with open(big, "wb") as file:
            file.truncate(4 * how.mib << 20)
        client = []
        roles = {"name server": [cluster.nameserver.process],
                 "storage server": [daemon.process for daemon in cluster.storages], "client": client}
        with Peak(roles) as peak:
            for words in (("put", big, "/big"), ("get", "-f", "/big", "-")):
                process = cluster.open(*words, stdout=out)
                client.append(process)
                if process.wait():
                    sys.exit("%s failed" % words[0])
        out.close()
        for role, most in peak.items():
            value("memory of the %s, %d MiB file" % (role, 4 * how.mib), "MiB", most, "< 64")


def listings(how, _):
    """Long listings: time, and memory that does not grow with them."""
    with Cluster(0) as cluster:
        lines(BENCH + "/bench_nameserver", 100000, 0, cluster.port, 100000)
        cluster.ok("mv", "/d00000", "/wide")  # the next run makes its own, and one more
        cluster.ok("rmdir", "/d00001")
        took = [timed(cluster, "ls", "/wide")[0] for _ in range(how.rounds)]
        value("ls of a directory of 100000 names (whole command)", "s", statistics.median(took), "< 1")
        lines(BENCH + "/bench_nameserver", how.names, 0, cluster.port)
        for words in (("ls", "-R", "/"), ("tree", "/")):
            took, most = timed(cluster, *words)
            value("%s over %d names" % (words[0] + " -R" * (words[0] == "ls"), how.names), "s", took, "streams")
            value("its memory", "MiB", most, "< 16")


def trees(how, _):
    """cp -r and rm -r of 100 000 files that have bytes; put -r of 10 000 beside the library's own rate."""
    copies, removals, ratios = [], [], []
    with Cluster(3) as cluster, tempfile.TemporaryDirectory() as directory:
        address = "127.0.0.1:%d" % cluster.port
        for number in range(10000):
            with open("%s/%d" % (directory, number), "wb") as file:
                file.write(os.urandom(4096))
        for turn in range(how.rounds + 1):
            rate = next(line["files_per_s"] for line in lines(BENCH + "/bench_small", address, 10000, 64, 4096)
                        if line["bench"] == "small_put")
            took, _most = timed(cluster, "put", "-r", directory, "/tree-%d" % turn)
            if turn:
                ratios.append((rate, 10000 / took))
        lines(BENCH + "/bench_small", address, 100000, 16, 4096)
        for turn in range(how.rounds):
            copies.append(timed(cluster, "cp", "-r", "/bench", "/copy-%d" % turn)[0])
            removals.append(timed(cluster, "rm", "-r", "-f", "/copy-%d" % turn)[0])
    figure("put -r of 10000 files of 4 KiB, beside libmuster's rate", "files/s", ratios, "ratio >= 0.7")
    value("cp -r of 100000 files (whole command)", "s", statistics.median(copies), "< 3")
    value("rm -r of 100000 files, counted (whole command)", "s", statistics.median(removals), "< 0.3")


def interrupt(how, source):
    """From Ctrl-C to the end of the command, in the middle of a put."""
    took = []
    with Cluster(3) as cluster:
        for _turn in range(how.rounds):
            with open(os.devnull, "wb") as out:
                process = cluster.open("put", "-f", source, "/big", stdout=out)
                wait_until(lambda: cluster.talking_to(process))
                start = time.monotonic()
                process.send_signal(signal.SIGINT)
                if process.wait() == 0:
                    sys.exit("interrupt: the put was over before (--mib)")
                took.append(1000 * (time.monotonic() - start))
    value("Ctrl-C in a put, until the command has ended", "ms", statistics.median(took), "< 50")


def discovery(how, _):
    """A storage server that was told nothing; a client that remembers nothing."""
    joins, finds = [], []
    for _turn in range(how.rounds):
        with Cluster(1) as cluster:
            start = time.monotonic()
            cluster.storage_add()
            cluster.wait_online(2)
            joins.append(time.monotonic() - start)
            shutil.rmtree(cluster.path + "/state", ignore_errors=True)
            # By the cluster's name and its beacons, not by an address.
            start = time.monotonic()
            words = [os.path.join(BUILD, "muster"), "--cluster", cluster.name, "--interface", "lo", "status"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=dict(
                cluster.environment, MUSTER_BEACON_PORT=str(cluster.beacon_port)))
            finds.append(1000 * (time.monotonic() - start))
    value("storage server in use after its start", "s", statistics.median(joins), "< 6")
    value("client finds the name server (whole command)", "ms", statistics.median(finds), "< 300")


WORKLOADS = {f.__name__: f for f in (large, small, names, million, listings, trees, flat, interrupt, discovery,
                                   *mesh.WORKLOADS)}
LONG = {f.__name__: f for f in mesh.LONG}  # only when named


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large file")
    parser.add_argument("--files", type=int, default=20000, help="small files in a round")
    parser.add_argument("--names", type=int, default=1000000, help="names in a full catalogue")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD",
                        help="%s; only when named: %s" % (", ".join(WORKLOADS), ", ".join(LONG)))
    how = parser.parse_args()
    every = {**WORKLOADS, **LONG}
    unknown = set(how.workloads) - set(every)
    if unknown:
        parser.error("unknown workload: " + ", ".join(unknown))
    with tempfile.NamedTemporaryFile(prefix="muster-bench-") as source:
        for _ in range(how.mib):
            source.write(os.urandom(1 << 20))
        source.flush()
        for name in how.workloads or WORKLOADS:
            every[name](how, source.name)
    table()


if __name__ == "__main__":
    main()
