#!/usr/bin/env python3
"""The name server's disk is lost, again and again, amid a workload: an empty one takes over what was
acknowledged, all of it.

    REBUILDS=5 REBUILD_SEED=1 test_rebuild.py

Each round takes about 20 s: storage servers follow an empty name server only after they have not
heard the old one for a while.
"""
import os
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import KIB, Cluster, content, expect, main  # noqa: E402
from muster_proc import wait_until  # noqa: E402
from test_catalogue_copies import all_level  # noqa: E402

ROUNDS = int(os.environ.get("REBUILDS", 5))
SEED = int(os.environ.get("REBUILD_SEED", time.time_ns() % 1000000))
WORKERS = 1
CLIENTS, STORAGES = 4, 3
PATIENCE_S = 60   # of a client, for a name server that is being rebuilt
BEGINS_S = 60.0
FILES_MAX = 60    # of each client; then some go
SAMPLE = 12       # files of each client that are read after a round


class Worker(threading.Thread):
    """A client with a directory of its own, and what must be in it. A command that failed may have
    been carried out or not; what it was about is looked at later."""

    def __init__(self, cluster, number):
        super().__init__(daemon=True)
        self.cluster, self.number = cluster, number
        self.dice = random.Random(SEED * 100 + number)
        self.home = "/w%d" % number
        self.source = "%s/source%d" % (cluster.path, number)
        self.files, self.removed, self.unsure = {}, {}, set()
        self.made = self.acknowledged = self.failed = 0
        self.last = 0.0      # when something was acknowledged
        self.error = None
        self.may_run, self.idle, self.end = threading.Event(), threading.Event(), False

    # ---- operations: (words, what the model is afterwards)

    def new_name(self):
        self.made += 1
        return "%s/f%d" % (self.home, self.made)

    def new_content(self):
        return content(self.dice.choice((0, 100, 3 * KIB, 40 * KIB)) + self.dice.randrange(500),
                       self.dice.randrange(10000))

    def write_source(self, data):
        with open(self.source, "wb") as file:
            file.write(data)

    def some(self):
        return self.dice.choice(sorted(self.files)) if self.files else None

    def put(self, path=None):
        path, data = path or self.new_name(), self.new_content()
        self.write_source(data)
        return ("put", "-f", self.source, path), {path: data}

    def put_again(self):
        return self.put(self.some())

    def move(self):
        path, to = self.some(), self.new_name()
        return ("mv", path, to), {path: None, to: self.files[path]}

    def copy(self):
        path, to = self.some(), self.new_name()
        return ("cp", path, to), {to: self.files[path]}

    def append(self):
        path, data = self.some(), self.new_content()[:2000] + b"."
        self.write_source(data)
        return ("append", path, self.source), {path: self.files[path] + data}

    def remove(self):
        path = self.some()
        self.removed[path] = self.files[path]
        return ("rm", path), {path: None}

    def restore(self):
        path = self.dice.choice(sorted(self.removed))
        data = self.removed.pop(path)
        return ("trash", "restore", path), {path: data}

    def choose(self):
        ways = [self.put]
        if self.files:
            ways += [self.put, self.put_again, self.move, self.copy, self.append]
            ways += [self.remove] * (1 + len(self.files) // (FILES_MAX // 4))
        if self.removed:
            ways.append(self.restore)
        return self.dice.choice(ways)()

    def one(self):
        words, after = self.choose()
        result = self.cluster.muster("--timeout", PATIENCE_S, *words, limit=2 * PATIENCE_S)
        if result.status:
            self.failed += 1
            self.unsure.update(after)
            print("# %s: %s" % (" ".join(words), result), flush=True)
        else:
            self.acknowledged += 1
            self.last = time.monotonic()
        for path, data in after.items():
            self.files.pop(path, None)
            self.removed.pop(path, None) if data is not None else None
            if data is not None and path not in self.unsure:
                self.files[path] = data
        for path in self.unsure:
            self.files.pop(path, None)
            self.removed.pop(path, None)

    def run(self):
        try:
            while not self.end:
                self.idle.set()
                self.may_run.wait()
                self.idle.clear()
                if not self.end:
                    self.one()
        except Exception as why:  # noqa: BLE001
            self.error = why
        self.idle.set()

    # ---- judging

    def check(self):
        if self.error:
            raise self.error
        names = {self.home + "/" + name: row for name, row in self.cluster.names(self.home).items()}
        there = {path: row["size"] for path, row in names.items() if path not in self.unsure}
        expect(there, {path: len(data) for path, data in self.files.items()}, self.home)
        for path in self.dice.sample(sorted(self.files), min(SAMPLE, len(self.files))):
            self.cluster.check(path, self.files[path])


def each(workers, what):
    """All at once; says what went wrong."""
    wrong = []

    def run(worker):
        try:
            what(worker)
        except Exception as why:  # noqa: BLE001
            wrong.append(why)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def go(workers):
    for worker in workers:
        worker.may_run.set()


def halt(workers):
    """When each has ended what it was doing."""
    for worker in workers:
        worker.may_run.clear()
    for worker in workers:
        worker.idle.wait()
        time.sleep(0.01)
        worker.idle.wait()


def set_is_level(cluster):
    status = cluster.muster("status", json_=True)
    now = status.json() if status.status == 0 else {}
    return (now.get("journal_set"), now.get("journal_up")) == (STORAGES, STORAGES)


def lose(cluster, workers, dice):
    """Returns how long it took until the new one served, and until it had answered somebody."""
    go(workers)
    time.sleep(0.3 + dice.random() * 1.5)
    cluster.nameserver.kill()
    lost = time.monotonic()
    shutil.rmtree(cluster.path + "/ns")
    cluster.nameserver = cluster.daemon(
        "muster-nameserver", "--data", cluster.path + "/ns", "--cluster", cluster.name, "--interface",
        "lo", "--port", str(cluster.port), "--beacon-port", str(cluster.beacon_port),
        "--client-ports", cluster.client_ports)
    line = cluster.nameserver.event("started", BEGINS_S)
    assert line and " from=servers " in line and " rebuilt=yes" in line, cluster.nameserver.output()
    served = time.monotonic() - lost
    wait_until(lambda: any(worker.last > lost + 0.05 for worker in workers), BEGINS_S)
    return served, min(worker.last for worker in workers if worker.last > lost + 0.05) - lost


def case_rebuilt_under_load():
    dice = random.Random(SEED)
    with Cluster(STORAGES) as cluster:
        workers = [Worker(cluster, number) for number in range(CLIENTS)]
        for worker in workers:
            cluster.ok("mkdir", worker.home)
            worker.start()
        try:
            for number in range(ROUNDS):
                cluster.wait_until(lambda: set_is_level(cluster), BEGINS_S)
                served, answered = lose(cluster, workers, dice)
                halt(workers)
                cluster.wait_online(STORAGES, BEGINS_S)
                each(workers, Worker.check)
                dump = all_level(cluster)
                print("# round %d of %d, seed %d: serves after %.2f s, answers after %.2f s; %d changes "
                      "acknowledged, %d failed; %s rows at batch %s of epoch %s" % (
                          number + 1, ROUNDS, SEED, served, answered,
                          sum(worker.acknowledged for worker in workers),
                          sum(worker.failed for worker in workers), dump[4], dump[1], dump[0]), flush=True)
        finally:
            for worker in workers:
                worker.end = True
            go(workers)
            for worker in workers:
                worker.join(2 * PATIENCE_S)
        problems = cluster.muster("check").out.decode()
        assert "the catalogue was rebuilt" in problems and problems.endswith("\n1 problem\n"), problems
        return "%d changes, %d failed" % (sum(worker.acknowledged for worker in workers),
                                          sum(worker.failed for worker in workers))


if __name__ == "__main__":
    sys.exit(main([case_rebuilt_under_load], WORKERS))
