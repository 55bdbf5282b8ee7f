"""Workloads of `make bench` about what a cluster does by itself: servers that die, come back or were cut
off, catalogues that are lost."""
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import time
from datetime import datetime

from figures import BENCH, figure, floor, lines, value
from lan import Lan, why_not
from muster_cluster import ESTABLISHED, Cluster, sockets
from muster_proc import NONE, OK, STATUS, Connection, wait_until
from test_catalogue_copies import copy_of, dump

NODES = 0x30
OFFLINE = 3
LIMIT_S = 300
MIB = 1 << 20
# Servers that clients have used since their last heartbeat make copies slowly: two of these later
# they have not.
QUIET_S = 4.0
DEBUG = ("--log-level", "debug")


class Watch:
    """STATUS and NODES over a connection that stays: some 0.1 ms an answer."""

    def __init__(self, port, address="127.0.0.1"):
        self.connection = Connection(port, address, LIMIT_S)
        assert self.connection.hello().status == OK

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def status(self):
        body = self.connection.ask(STATUS).body
        at = 16
        for _ in range(2):
            at += 2 + struct.unpack_from("<H", body, at)[0]
        online, total, files, _, _, chunks, under, lost = struct.unpack_from("<IIQQQQQQ", body, at + 20)
        return {"online": online, "total": total, "files": files, "chunks": chunks, "under": under, "lost": lost}

    def states(self):
        """{port: state} of the storage servers."""
        body = self.connection.ask(NODES, body=NONE).body
        found, at = {}, 3
        for _ in range(struct.unpack_from("<H", body, 1)[0]):
            at += 32
            for _ in range(2):
                at += 2 + struct.unpack_from("<H", body, at)[0]
            count = struct.unpack_from("<H", body, at)[0]
            port = struct.unpack_from("<H", body, at + 2 + 18)[0]
            at += 2 + 20 * count
            found[port] = body[at]
            at += 1 + 8 * 8 + 1 + 8
        return found

    def until(self, condition, seconds=LIMIT_S):
        """Seconds until it holds."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds:
                raise AssertionError("not within %d s: %s" % (seconds, self.status()))
            time.sleep(0.001)
        return time.monotonic() - start


def median(name, unit, amounts, target):
    value(name, unit, statistics.median(amounts), target)


def said_at(line):
    """When a line was logged, in seconds."""
    return datetime.strptime(line.split()[0] + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z").timestamp()


def until_said(daemon, name, shown=0):
    """The first line with that event after `shown` bytes of the log."""
    def found():
        assert daemon.process.poll() is None, "%s ended" % daemon.program
        with open(daemon.log) as log:
            log.seek(shown)
            return next((line for line in log if (" " + name + " ") in line and line.endswith("\n")), None)
    return wait_until(found, LIMIT_S)


# ---- servers that die


def put_files(how, cluster, source, files, targets):
    """`how.mib` MiB in so many files, under each of these names."""
    size, path = (how.mib << 20) // files, cluster.path + "/from"
    os.mkdir(path)
    with open(source, "rb") as whole:
        for number in range(files):
            with open("%s/%d" % (path, number), "wb") as file:
                file.write(whole.read(size))
    for target in targets:
        cluster.ok("put", "-r", path, target, limit=LIMIT_S)
    shutil.rmtree(path)


def heal_once(how, source, files):
    """One of four servers dies: seconds until it is noticed and until all copies are back, bytes that were
    missing, and the floor's rate for them."""
    with Cluster(4, ns=("--copies", "2")) as cluster:
        put_files(how, cluster, source, files, ["/files"])
        missing = cluster.node_of(0)["used"]
        bare = floor("put", 1, missing, source, cluster.path) / MIB
        with Watch(cluster.port) as watch:
            watch.until(lambda: watch.status()["under"] == 0)
            time.sleep(QUIET_S)
            missing = cluster.node_of(0)["used"]
            cluster.storages[0].process.send_signal(signal.SIGKILL)
            noticed = watch.until(lambda: watch.status()["under"] > 0)
            healed = noticed + watch.until(lambda: watch.status()["under"] == 0)
            assert watch.status()["lost"] == 0, watch.status()
    return noticed, healed, missing, bare


def heal(how, source):
    """Every chunk has its two copies again, without --repair-delay: one copy left is repaired at once."""
    for files in (16, 1000):
        took, pairs = [], []
        for _turn in range(how.rounds):
            _noticed, healed, missing, bare = heal_once(how, source, files)
            took.append(healed)
            pairs.append((bare, missing / MIB / healed))
        median("1 of 4 servers killed, %d MiB in %d files: all copies back" % (how.mib, files), "s", took,
               "<= 4")
        figure("the same, as a rate of what was missing", "MiB/s", pairs, "-")


def clients(how, cluster):
    """What clients move in a second: small files put and got, a large one put and got."""
    at = "127.0.0.1:%d" % cluster.port
    rates = {line["bench"]: line["files_per_s"] for line in
             lines(BENCH + "/bench_small", at, how.files, 16, 4096)}
    rates.update({line["bench"]: line["mib_per_s"] for line in
                  lines(BENCH + "/bench_large", at, how.mib // 4, 2, cluster.path + "/large")})
    return rates


def beside_once(how, source):
    """Rates of clients alone, and while a dead server's copies are made again; how many chunks still lacked one
    then."""
    with Cluster(4, ns=("--copies", "2")) as cluster, Watch(cluster.port) as watch:
        put_files(how, cluster, source, 1000, ["/a", "/b", "/c"])
        alone = clients(how, cluster)
        watch.until(lambda: watch.status()["under"] == 0)
        cluster.storages[3].process.send_signal(signal.SIGKILL)
        watch.until(lambda: watch.status()["under"] > 0)
        beside = clients(how, cluster)
        left = watch.status()["under"]
        watch.until(lambda: watch.status()["under"] == 0)
    return alone, beside, left


def beside(how, source):
    """Clients keep half of their speed while repair runs; it must not have ended before they have."""
    pairs = {"small_put": [], "small_get": [], "large_put": [], "large_get": []}
    for _turn in range(how.rounds):
        alone, with_repair, left = beside_once(how, source)
        assert left > 0, "repair had ended before the clients had"
        for name, found in pairs.items():
            found.append((alone[name], with_repair[name]))
    for name, found in pairs.items():
        figure("clients beside repair, %s" % name.replace("_", " "),
               "files/s" if name.startswith("small") else "MiB/s", found, "ratio >= 0.5")


def noticed(how, _):
    """How long until a server counts as offline: its process is gone, or does not answer any more."""
    killed = []
    for turn in range(how.rounds):
        with Cluster(2) as cluster, Watch(cluster.port) as watch:
            decides(cluster, 2)
            ports = cluster.ports()
            cluster.storages[0].process.send_signal(signal.SIGKILL)
            killed.append(1000 * watch.until(lambda: watch.states()[ports[0]] == OFFLINE))
            if turn == 0:
                cluster.storages[1].process.send_signal(signal.SIGSTOP)
                frozen = watch.until(lambda: watch.states()[ports[1]] == OFFLINE)
    median("storage server killed, until it counts as offline", "ms", killed, "< 1000")
    value("storage server frozen, until it counts as offline", "s", frozen, "<= 16")


# ---- servers that come back


def passed(daemon, port):
    """Bytes that its connection to the name server has carried, both ways."""
    total = 0
    for local in [pair[0] for pair in sockets(daemon.process.pid, ESTABLISHED) if pair[1] == port]:
        text = subprocess.run(["ss", "-tinH", "sport", "=", ":%d" % local, "and", "dport", "=", ":%d" % port],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        total += sum(int(n) for n in re.findall(r"bytes_(?:sent|received):(\d+)", text))
    return total


def compared(cluster, name, what, restart):
    """Until the name server knows that what the first server holds is what it believes, or where not."""
    since = time.time()
    daemon, shown = restart()
    line = until_said(daemon, "inventory_level node=%s" % name, shown)
    value("%s: until its inventory is compared" % what, "s", said_at(line) - since, "< 2")
    value("bytes between it and the name server until then", "MiB",
          passed(cluster.storages[0], cluster.port) / MIB, "< 1")


def rejoin(how, _):
    """A server of a million chunks, each of them put through libmuster, comes back; and so does the name
    server."""
    with Cluster(1, ns=DEBUG + ("--copies", "1", "--trash-days", "0")) as cluster:
        lines(BENCH + "/bench_small", "127.0.0.1:%d" % cluster.port, how.names, 64, 64)
        name = cluster.node_of(0)["name"]
        # Without this one, which holds none of them, nothing could be removed meanwhile.
        cluster.storage_add()
        decides(cluster, 2)

        def store_restart():
            shown = os.path.getsize(cluster.nameserver.log)
            cluster.storage_start(0)
            return cluster.nameserver, shown

        def names_restart():
            cluster.nameserver_start()
            return cluster.nameserver, 0

        cluster.storages[0].stop()
        compared(cluster, name, "server of %d chunks restarted" % how.names, store_restart)
        cluster.storages[0].stop()
        for number in range(10):
            cluster.ok("rm", "/bench/%d/%d" % (number % 16, number))
        with Watch(cluster.port) as watch:
            watch.until(lambda: watch.status()["chunks"] == how.names - 10)
        compared(cluster, name, "the same, 10 chunks differ", store_restart)
        cluster.nameserver.kill()
        compared(cluster, name, "name server restarted", names_restart)


# ---- the catalogue


def decides(cluster, count):
    """So many servers decide, and have all."""
    def level():
        status = cluster.ok("status", json_=True).json()
        return (status["journal_set"], status["journal_up"]) == (count, count)
    wait_until(level, LIMIT_S)


def quorum(how, _):
    """As `names`, with three storage servers that must have each change, too."""
    creates, stats = [], []
    for turn in range(how.rounds + 1):
        with Cluster(3) as cluster:
            decides(cluster, 3)
            bare = floor("echo", 8, 64, 100, 48, how.files * 5, 200, cluster.path)
            bare_stat = floor("echo", 8, 64, 60, 200, how.files * 20)
            ours = {line["bench"]: line["per_second"] for line in
                    lines(BENCH + "/bench_nameserver", how.files * 5, how.files * 20, cluster.port)}
        if turn:
            creates.append((bare, ours["create"]))
            stats.append((bare_stat, ours["stat"]))
    figure("create, 3 servers in the journal set", "ops/s", creates, ">= 10000")
    figure("stat, 3 servers in the journal set", "ops/s", stats, ">= 50000")


def first_change(cluster):
    """Seconds until a name server that is just being started has made a directory."""
    start = time.monotonic()
    cluster.nameserver_start()
    while True:
        try:
            connection = Connection(cluster.port)
            if connection.hello().status == OK and connection.mkdir("/first-%d" % time.monotonic_ns()) == OK:
                return time.monotonic() - start
        except (OSError, AssertionError):
            pass
        time.sleep(0.005)


def copied(source, target):
    """Seconds to copy a catalogue as files, durably."""
    start = time.monotonic()
    shutil.copytree(source, target)
    for folder, _, names in os.walk(target):
        for name in names:
            with open(os.path.join(folder, name), "rb+") as file:
                os.fsync(file.fileno())
    took = time.monotonic() - start
    shutil.rmtree(target)
    return took


def takeover(how, _):
    """A name server begins again; then its disk is lost, and storage servers have the catalogue."""
    restarts, fences, rebuilds = [], [], []
    with Cluster(3) as cluster:
        decides(cluster, 3)
        lines(BENCH + "/bench_nameserver", how.names, 0, cluster.port)
        for _turn in range(how.rounds):
            cluster.nameserver.kill()
            restarts.append(first_change(cluster))
        for _turn in range(min(how.rounds, 3)):
            decides(cluster, 3)
            cluster.wait_until(lambda: copy_of(cluster.storage_data(0)) == dump(cluster.path + "/ns/view"),
                               LIMIT_S, 0.5)
            bare = copied(cluster.storage_data(0) + "/catalogue", cluster.path + "/floor")
            cluster.nameserver.kill()
            shutil.rmtree(cluster.path + "/ns")
            killed = time.time()
            cluster.nameserver_start(seconds=LIMIT_S)
            begun = said_at(until_said(cluster.nameserver, "catalogue_fetched"))
            fences.append(begun - killed)
            rebuilds.append((bare, said_at(until_said(cluster.nameserver, "started")) - begun))
    median("name server killed and started, %d files: first change answered" % how.names, "s", restarts, "< 5")
    median("its disk lost: until the catalogue's copy begins (fence)", "s", fences, "<= 13")
    figure("the copy of %d files, beside a copy of its bytes" % how.names, "s", rebuilds, "ratio <= 3")


def changes(client, name, count):
    client.ok("mkdir", "/" + name)
    for number in range(count):
        client.ok("mkdir", "/%s/%d" % (name, number))


def gossip(how, _):
    """A storage server whose name server is out of reach learns from another one; and one that reached
    nobody catches up."""
    problem = why_not()
    if problem:
        print("gossip: skipped: " + problem, flush=True)
        return
    through, after = [], []
    with Lan(4) as lan:
        one, client = lan.hosts[0], lan.hosts[3]
        one.nameserver("bench")
        for host in lan.hosts[1:3]:
            daemon = host.storage()
            assert daemon.event("registered"), daemon.output()
        far = lan.hosts[2]
        data = far.path + "/store"

        def level():
            start = time.monotonic()
            wanted = client.ok("status", json_=True).json()["sequence"]
            wait_until(lambda: int((copy_of(data) or (0, 0))[1]) >= wanted, LIMIT_S)
            return time.monotonic() - start

        level()
        for turn in range(how.rounds):
            far.drop("input ip saddr %s" % one.address, "output ip daddr %s" % one.address)
            changes(client, "through-%d" % turn, 20)
            through.append(level())
            far.inside("nft", "delete", "table", "ip", "t")
            far.link("down")
            changes(client, "after-%d" % turn, 20)
            far.link("up")
            after.append(level())
    median("a server cut off from the name server has its changes, through another", "s", through, "< 10")
    median("a server cut off from everybody is level, after the cut", "s", after, "< 10")


def planning(how, _):
    """What the walk over ten million chunks on a thousand servers costs the name server."""
    found = lines(BENCH + "/bench_repair", 10 * how.names, limit=3600)[0]
    what = "walk over %d chunks on %d servers" % (found["chunks"], found["servers"])
    value(what + ", of a core", "%", found["core_percent"], "< 10")
    value("its longest step", "ms", found["step_ms_most"], "-")
    value("anonymous memory", "MiB", found["memory_mib"], "< 256")


WORKLOADS = (quorum, heal, beside, noticed, rejoin, takeover, gossip)
LONG = (planning,)
