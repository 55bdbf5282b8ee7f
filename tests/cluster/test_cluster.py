#!/usr/bin/env python3
"""Whole clusters as processes: kills, stops, full disks, crowds, junk.

    test_cluster.py [NAME ...]     only the cases whose names contain one of these

Nothing here is a mock: what the cases look at is what the programs print, the files on the disks and
the connections that the kernel knows of.
"""
import hashlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import (DONE, FAILED, KIB, MIB, NO_NAMESERVER, Cluster, Reader,  # noqa: E402
                            content, expect, listening, main)
from muster_proc import CREATE, OK, Connection, frame, probe, text, wait_until  # noqa: E402

WORKERS = 3
SLACK_S = 1.0  # a busy machine's: starting a process, being scheduled


# ---- reading while servers fail

def get_begun(cluster, path, size):
    """A get that has read `size` bytes and is held up by us; the server whose bytes wait."""
    process = cluster.open("get", path, "-")
    reader = Reader(process)
    assert reader.take(size), process.stderr.read()
    return reader, wait_until(lambda: cluster.sending_to(process))[0]


def case_get_survives_kill():
    with Cluster(4) as cluster:
        data = content(80 * MIB + 123)
        cluster.put("/f", data)
        for first in (MIB, 40 * MIB):
            reader, sender = get_begun(cluster, "/f", first)
            sender.kill()
            result = reader.finish()
            expect((result.status, result.err), (DONE, ""))
            assert reader.data == data


def case_get_goes_on_elsewhere_after_a_second():
    with Cluster(2) as cluster:
        data = content(80 * MIB)
        cluster.put("/f", data)
        reader, sender = get_begun(cluster, "/f", 2 * MIB)
        sender.process.send_signal(signal.SIGSTOP)
        result = reader.finish()
        sender.process.send_signal(signal.SIGCONT)
        expect((result.status, result.err), (DONE, ""))
        assert reader.data == data
        assert 0.5 < reader.longest < 1 + SLACK_S, "silent for %.1f s" % reader.longest
        return "longest silence %.2f s" % reader.longest


def case_slow_reader_is_no_dead_server():
    with Cluster(3) as cluster:
        data = content(48 * MIB)
        cluster.put("/f", data)
        reader, _ = get_begun(cluster, "/f", 2 * MIB)
        for size in range(10 * MIB, 40 * MIB, 10 * MIB):
            time.sleep(1.3)  # the silence is the case
            assert reader.take(size)
        result = reader.finish()
        expect((result.status, result.err), (DONE, ""))
        assert reader.data == data
        log = "".join(daemon.output() for daemon in cluster.daemons)
        assert "corrupt" not in log.lower(), log


def case_get_with_no_copy_left_fails():
    with Cluster(2) as cluster:
        cluster.put("/f", content(40 * MIB), "-c", "1")
        target = os.path.join(cluster.path, "out")
        for storage in cluster.storages:
            storage.kill()
        result = cluster.muster("get", "/f", target)
        expect(result.status, FAILED, result)
        # The name server may know by then that it has nobody to agree with, and say so.
        assert re.fullmatch(r"muster: get: /f: no storage server that holds it[^\n]*\n"
                            r"(muster: get: degraded: [^\n]*\n)?", result.err), result
        assert result.took < 5 + SLACK_S, result
        expect([name for name in os.listdir(cluster.path) if "out" in name], [], "half files")


# ---- writing while servers fail

def put_begun(cluster, path, data, first, *options):
    """A put that has taken `first` bytes and waits for more."""
    process = cluster.open("put", *options, "-", path,
                           stdin=subprocess.PIPE)
    process.stdin.write(data[:first])
    process.stdin.flush()
    return process, wait_until(lambda: cluster.talking_to(process))


def put_end(process, data):
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:
        pass
    out, error = process.stdout.read().decode(), process.stderr.read().decode()
    return process.wait(60), out, error


def whole_or_nothing(cluster, path, data, outcome):
    """What a put said is what there is."""
    status, out, error = outcome
    if status == DONE:
        assert out.startswith("stored %s: " % path), out
        cluster.check(path, data)
        return out.split(", ")[1].split()[0]
    expect((status, error.count("\n")), (FAILED, 1), error)
    assert path[1:] not in cluster.names(), error
    return "failed"


def case_put_survives_kill():
    said = []
    with Cluster(4) as cluster:
        data = content(72 * MIB + 5)
        process, servers = put_begun(cluster, "/f", data, 24 * MIB)
        servers[0].kill()
        outcome = put_end(process, data[24 * MIB:])
        said.append(whole_or_nothing(cluster, "/f", data, outcome))
        expect(outcome[0], DONE, outcome)
    with Cluster(4) as cluster:  # with two of the journal set away nothing would be stored
        process, servers = put_begun(cluster, "/g", data, 40 * MIB)
        servers[-1].process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        outcome = put_end(process, data[40 * MIB:])
        took = time.monotonic() - began
        servers[-1].process.send_signal(signal.SIGCONT)
        said.append(whole_or_nothing(cluster, "/g", data, outcome))
        expect(outcome[0], DONE, outcome)
        return "killed: %s copies, stopped: %s copies after %.1f s" % (*said, took)


def case_put_with_all_servers_killed_fails():
    with Cluster(2) as cluster:
        data = content(64 * MIB)
        cluster.put("/old", b"old")
        process, _ = put_begun(cluster, "/f", data, 24 * MIB)
        for storage in cluster.storages:
            storage.kill()
        began = time.monotonic()
        outcome = put_end(process, data[24 * MIB:])
        took = time.monotonic() - began
        expect(whole_or_nothing(cluster, "/f", data, outcome), "failed")
        assert took < 10, took
        return "%.1f s: %s" % (took, outcome[2].strip())


def case_client_killed_in_a_put_leaves_nothing():
    with Cluster(3) as cluster:
        before = cluster.used()
        process, _ = put_begun(cluster, "/f", content(40 * MIB), 36 * MIB)
        cluster.wait_until(lambda: sum(cluster.used()) >= sum(before) + 2 * 16 * MIB)
        process.kill()
        process.wait()
        began = time.monotonic()
        expect(cluster.names(), {})
        cluster.wait_until(lambda: cluster.used() == before, 50)
        return "collected after %.0f s" % (time.monotonic() - began)


# ---- the name server fails

def case_stopped_name_server_holds_nobody_up():
    with Cluster(3) as cluster:
        cluster.put("/f", content(MIB))
        local = os.path.join(cluster.path, "local")
        with open(local, "wb") as file:
            file.write(b"hello\n")
        commands = [("ls",), ("tree",), ("stat", "/f"), ("nodes",), ("status",), ("df",), ("du",),
                    ("mkdir", "/d"), ("rm", "/f"), ("cat", "/f"), ("get", "/f", local + "2"),
                    ("put", local, "/g"), ("write", "/h", "text"), ("create", "/i"),
                    ("copies", "2", "/f"), ("rmdir", "/d"), ("cd", "/")]
        # One that is under way already.
        reader, _ = get_begun(cluster, "/f", 1)
        cluster.nameserver.process.send_signal(signal.SIGSTOP)
        results = [None] * len(commands)

        def run(i):
            results[i] = cluster.muster(*commands[i])

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(commands))]
        for thread in threads:
            thread.start()
        done = reader.finish()
        for thread in threads:
            thread.join()
        cluster.nameserver.process.send_signal(signal.SIGCONT)
        expect((done.status, bytes(reader.data) == content(MIB)), (DONE, True), done)
        late = [(words, result) for words, result in zip(commands, results)
                if result.took > 5 + SLACK_S]
        assert not late, late[0:2]
        # A copy of the catalogue may have answered those who only read.
        reads = ("ls", "tree", "stat", "du", "cat", "get", "cd")
        for words, result in zip(commands, results):
            degraded = b"degraded" in result.out or "degraded" in result.err
            if result.status == OK:
                assert words[0] in reads and degraded, (words, result)
            else:
                told = result.err.count("\n") == 1 or (words[0] == "status" and degraded)
                assert result.status == NO_NAMESERVER and told, (words, result)
        cluster.check("/f", content(MIB))
        return "slowest %.1f s" % max(result.took for result in results)


def case_commands_under_way_when_it_stops():
    """The session is there already: a shell that runs one command after the other."""
    with Cluster(2) as cluster:
        shell = cluster.open("--keep-going", stdin=subprocess.PIPE)
        shell.stdin.write(b"mkdir /a\n")
        shell.stdin.flush()
        cluster.wait_until(lambda: "a" in cluster.names())
        cluster.nameserver.process.send_signal(signal.SIGSTOP)
        times = []
        for line in (b"ls /\n", b"mkdir /b\n"):
            began = time.monotonic()
            shell.stdin.write(line)
            shell.stdin.flush()
            assert shell.stderr.readline().startswith(b"muster: ")
            times.append(time.monotonic() - began)
        cluster.nameserver.process.send_signal(signal.SIGCONT)
        shell.stdin.write(b"mkdir /c\n")
        shell.stdin.close()
        shell.wait(20)
        assert max(times) < 5 + SLACK_S, times
        assert "c" in cluster.names(), shell.stderr.read()
        return "answered after %.1f and %.1f s" % tuple(times)


def case_name_server_stops_in_a_put():
    with Cluster(3) as cluster:
        data = content(40 * MIB)
        process, _ = put_begun(cluster, "/f", data, 24 * MIB)
        cluster.nameserver.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        outcome = put_end(process, data[24 * MIB:])
        took = time.monotonic() - began
        expect(outcome[0] != DONE, True, outcome)
        cluster.nameserver.process.send_signal(signal.SIGCONT)
        cluster.wait_online(3)
        if "f" in cluster.names():
            cluster.check("/f", data)
        assert took < 5 + SLACK_S, (took, outcome)
        process, _ = put_begun(cluster, "/g", data, 24 * MIB)
        cluster.nameserver.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(1.5, cluster.nameserver.process.send_signal, (signal.SIGCONT,))
        timer.start()
        expect(put_end(process, data[24 * MIB:])[0], DONE, "after a stop of 1.5 s")
        timer.join()
        cluster.check("/g", data)
        return "%.1f s: %s" % (took, outcome[2].strip())


def case_storage_servers_leave_and_return():
    with Cluster(3) as cluster:
        data = content(20 * MIB)
        cluster.put("/f", data)
        nodes = [cluster.node_of(i) for i in range(3)]
        began = time.monotonic()
        cluster.storages[0].kill()
        cluster.storages[1].process.send_signal(signal.SIGSTOP)

        def states():
            return {node["id"]: node["state"] for node in cluster.nodes()}

        cluster.wait_until(lambda: states()[nodes[0]["id"]] != "online", 2)
        cluster.check("/f", data)
        cluster.wait_until(lambda: states()[nodes[1]["id"]] == "suspect", 8)
        cluster.wait_until(lambda: [states()[nodes[i]["id"]] for i in range(3)] ==
                           ["offline", "offline", "online"], 16)
        took = time.monotonic() - began
        cluster.check("/f", data)
        cluster.storages[1].process.send_signal(signal.SIGCONT)
        cluster.storage_start(0)
        cluster.wait_online(3)
        after = {node["id"]: node for node in cluster.nodes()}
        expect(sorted(after), sorted(node["id"] for node in nodes), "ids")
        expect([after[nodes[i]["id"]]["starts"] for i in range(3)], [2, 1, 1], "starts")
        return "offline after %.1f s" % took


def disk_of(cluster):
    """Every file below the storage servers' directories: inode, size, time of change."""
    found = {}
    for i in range(len(cluster.storages)):
        for directory, _, names in os.walk(os.path.join(cluster.storage_data(i), "big")):
            for name in names:
                info = os.stat(os.path.join(directory, name))
                found[os.path.join(directory, name)] = (info.st_ino, info.st_size, info.st_mtime_ns)
    return found


def healthy(cluster, nodes):
    """The name server counts in the background, so this is to be waited for."""
    status = cluster.ok("status", json_=True).json()
    return [status[key] for key in ("nodes_total", "nodes_online", "under_copied", "lost")] == [
        nodes, nodes, 0, 0]


def case_restarts_keep_everything():
    files = {"/d/%d" % i: content(size, i) for i, size in
             enumerate((0, 1, 5000, MIB, 20 * MIB, 33 * MIB))}
    with Cluster(4) as cluster:
        cluster.ok("mkdir", "/d")
        for path, data in files.items():
            cluster.put(path, data)
        time_of = cluster.ok("ls", "-l", "/d", json_=True).out

        def settled():
            nodes = cluster.nodes()
            return (sum(node["chunks"] for node in nodes) == 3 * (1 + 1 + 1 + 2 + 3) and
                    {node["id"]: (node["used"], node["chunks"]) for node in nodes})

        wait_until(settled)
        before, disk = settled(), disk_of(cluster)
        for what in ("nameserver", "storages", "all"):
            if what != "storages":
                cluster.nameserver.kill()
            if what != "nameserver":
                for i, storage in enumerate(cluster.storages):
                    storage.kill()
                    if what == "storages":  # one at a time: of what has one copy left more are made
                        cluster.storage_start(i)
                        assert cluster.storages[i].event("registered"), "no name server"
            if what == "all":
                for i in range(4):
                    cluster.storage_start(i)
            if what != "storages":
                cluster.nameserver_start()
            cluster.wait_online(4)
            for path, data in files.items():
                cluster.check(path, data)
            expect(cluster.ok("ls", "-l", "/d", json_=True).out, time_of, "listing")
            cluster.wait_until(settled)
            expect(settled(), before, "used and chunks after " + what)
            expect(disk_of(cluster), disk, "files on the disks after " + what)
            cluster.wait_until(lambda: healthy(cluster, 4))
        cluster.put("/d/new", b"still writable")
        cluster.check("/d/new", b"still writable")


def case_overlapping_restarts_settle_soon():
    """Each storage server goes before the one that went before it has registered again, while files
    are put. Less than any delay later there are as many copies of each chunk as there should be."""
    soon_s, slowest = 20, 0.0
    with Cluster(4) as cluster:
        files, failed = {}, []

        def put(number):
            for i in range(6):
                path, data = "/%d-%d" % (number, i), content((1, 5000, 300 * KIB)[i % 3], number * 10 + i)
                if cluster.muster("put", "-", path, stdin=data).status == DONE:
                    files[path] = data
                else:
                    failed.append(path)

        def settled():
            status = cluster.ok("status", json_=True).json()
            return healthy(cluster, 4) and status["freeing"] == 0 and sum(
                node["chunks"] for node in cluster.nodes()) == 3 * status["chunks"]

        for number in range(5):
            for path, size in (("/small", 5000), ("/large", 20 * MIB)):
                files["%s%d" % (path, number)] = data = content(size, number)
                cluster.put("%s%d" % (path, number), data)
            putting = threading.Thread(target=put, args=(number,))
            putting.start()
            for i, storage in enumerate(cluster.storages):
                if number % 2:
                    storage.kill()
                else:
                    storage.stop()
                cluster.storage_start(i)
            putting.join()
            cluster.wait_online(4)
            began = time.monotonic()
            cluster.wait_until(settled, soon_s)
            slowest = max(slowest, time.monotonic() - began)
        for path, data in files.items():
            cluster.check(path, data)
    return "%d files, %d puts failed, settled after %.1f s at most" % (len(files), len(failed), slowest)


def case_kills_under_load_lose_nothing():
    """Name server and storage servers die at random while clients put; each keeps its word."""
    rng = random.Random(os.getpid())
    told, stop, lock = {}, threading.Event(), threading.Lock()
    with Cluster(4, ns=("--dead-after", "5", "--suspect-after", "3")) as cluster:

        def client(number):
            for i in range(10000):
                if stop.is_set():
                    return
                seed, path = number * 10000 + i, "/c%d-%d" % (number, i)
                data = content((1, 3000, 300 * KIB, 3 * MIB)[i % 4], seed)
                local = "%s/local%d" % (cluster.path, number)
                with open(local, "wb") as file:
                    file.write(data)
                # From a file it can begin again, from a stream it cannot.
                if i % 3:
                    result = cluster.muster("put", local, path)
                else:
                    result = cluster.muster("put", "-", path, stdin=data)
                with lock:
                    told[path] = (result, data, bool(i % 3))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for kill in range(12):
                enough = len(told) + rng.randrange(1, 12)
                cluster.wait_until(lambda: len(told) >= enough, 30, 0.005)
                if kill % 3 == 2:
                    i = rng.randrange(4)
                    cluster.storages[i].kill()
                    cluster.storage_start(i)
                else:
                    cluster.nameserver.kill()
                    cluster.nameserver_start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        cluster.wait_online(4)
        there = cluster.names()
        failed = [0, 0]
        for path, (result, data, again) in told.items():
            if result.status == DONE or path[1:] in there:
                expect(path[1:] in there, True, (path, result))
                cluster.check(path, data)
            failed[again] += result.status != DONE
            assert result.status in (DONE, FAILED, NO_NAMESERVER), (path, result)
        return "%d puts, of files %d failed, of streams %d; 12 kills" % (len(told), failed[1], failed[0])


def case_repeated_operations_act_once():
    """The answer lost with the name server's death: the same number again gets the same answer."""
    rng = random.Random(7)
    with Cluster(0) as cluster:
        again = 0
        for life in range(8):
            connection = Connection(cluster.port)
            expect(connection.hello().status, OK)
            names = ["/%d-%d" % (life, i) for i in range(200)]

            def all_frames():
                return [frame(CREATE, i, i, 1, text(name)) for i, name in enumerate(names, 1)]

            connection.send(b"".join(all_frames()))
            killer = threading.Timer(rng.uniform(0, 0.02), cluster.nameserver.process.kill)
            killer.start()
            answered = set()
            try:
                while len(answered) < len(names):
                    reply = connection.receive()
                    if reply is None:
                        break
                    expect(reply.status, OK)
                    answered.add(reply.id)
            except OSError:
                pass
            killer.join()
            cluster.nameserver.process.wait()
            cluster.nameserver_start()
            second = Connection(cluster.port)
            second.id = connection.id
            expect(second.hello().status, OK)
            second.send(b"".join(all_frames()))
            for _ in names:
                reply = second.receive()
                expect(reply.status, OK, "%s, answered before: %s" % (names[reply.id - 1],
                                                                    reply.id in answered))
            again += len(names) - len(answered)
        return "%d of 1600 unanswered at first" % again


# ---- space

def fill(cluster, size):
    """Puts files until one is refused; returns their contents."""
    files = {}
    for i in range(200):
        data = content(size, i)
        result = cluster.muster("put", "-", "/fill%d" % i, stdin=data)
        if result.status != DONE:
            assert "full" in result.err and result.err.count("\n") == 1, result
            return files
        files["/fill%d" % i] = data
    raise AssertionError("never full")


def full_disk(cluster, room):
    cluster.put("/small", b"small")
    larger = os.path.join(cluster.path, "larger")
    with open(larger, "wb") as file:
        file.truncate(2 * room)
    cluster.fails("full", "put", larger, "/larger")  # its size is known
    with open(larger, "rb") as file:                 # its size is not
        process = cluster.open("put", "-", "/larger", stdin=file)
        expect((process.wait(60), b"full" in process.stderr.read()), (FAILED, True))
    expect(sorted(cluster.names()), ["small"], "names")
    cluster.wait_until(lambda: max(cluster.used()) < MIB, 20)
    files = fill(cluster, 5 * MIB)
    assert len(files) * 5 * MIB > room * 6 // 10, "full after only %d files" % len(files)
    for path, data in files.items():
        cluster.check(path, data)
    cluster.check("/small", b"small")
    gone = list(files)[:len(files) // 2 + 1]
    cluster.ok("rm", *gone)
    cluster.wait_until(lambda: cluster.muster("put", "-f", "-", "/after",
                                              stdin=content(8 * MIB)).status == DONE, 20)
    cluster.check("/after", content(8 * MIB))
    for storage in cluster.storages:
        assert storage.process.poll() is None, storage.output()
    return "%d files of 5 MiB in %d MiB" % (len(files), room // MIB)


def case_full_by_capacity():
    with Cluster(3, storage=("--capacity", "64M")) as cluster:
        return full_disk(cluster, 64 * MIB)


def case_full_by_file_system():
    with Cluster(0) as cluster:
        for i in range(3):
            cluster.tmpfs("store%d" % i, 96 * MIB)
            cluster.storage_add()
        cluster.wait_online(3)
        return full_disk(cluster, 64 * MIB)


def disk_fill(place):
    """Takes all that is left there, to the last block; returns what to remove again."""
    path = place + "/filler"
    with open(path, "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return path


NS_FULL = "the name server's disk is full"


def write_until_refused(cluster, name):
    """The files that were stored."""
    files = {}
    for i in range(3000):
        path = "/%s%d" % (name, i)
        result = cluster.muster("write", path, "x" * 200)
        if result.status != DONE:
            expect(result.err, "muster: write: %s: %s\n" % (path, NS_FULL))
            return files
        files[path] = b"x" * 200
    raise AssertionError("never refused")


def writable(cluster):
    return cluster.ok("status", json_=True).json()["writable"]


def case_name_server_disk_full():
    with Cluster(0) as cluster:
        cluster.nameserver.stop()
        place = cluster.tmpfs("ns", 8 * MIB)
        cluster.nameserver_start()
        cluster.storage_add()
        cluster.wait_online(1)
        cluster.put("/before", b"before")
        expect(writable(cluster), True, "writable")

        def served(files):
            for path, data in files.items():
                cluster.check(path, data)
            expect(sorted("/" + name for name in cluster.names()), sorted(files), "names")
            cluster.ok("stat", "/before")

        filler = disk_fill(place)
        files = write_until_refused(cluster, "n")
        expect(writable(cluster), False, "writable")
        for words in (("create", "/c"), ("mkdir", "/d"), ("rm", "/before"),
                      ("put", "/etc/hostname", "/p")):
            cluster.fails(NS_FULL, *words)
        files["/before"] = b"before"
        served(files)
        cluster.nameserver.kill()
        cluster.nameserver_start()
        cluster.wait_online(1)
        expect(writable(cluster), False, "writable after a start")
        cluster.fails(NS_FULL, "create", "/c")
        served(files)
        os.unlink(filler)
        cluster.wait_until(lambda: writable(cluster), 10)
        cluster.put("/after", b"after")
        files["/after"] = b"after"
        served(files)

        # Filled while it is busy, and stopped in an orderly way.
        thread = threading.Thread(target=disk_fill, args=(place,))
        thread.start()
        files.update(write_until_refused(cluster, "m"))
        thread.join()
        expect(cluster.nameserver.process.poll(), None, "the name server")
        expect(cluster.nameserver.stop(), 0, "exit status")
        cluster.nameserver_start()
        cluster.wait_online(1)
        served(files)
        os.unlink(filler)
        cluster.wait_until(lambda: writable(cluster), 10)
        cluster.nameserver.kill()
        cluster.nameserver_start()
        cluster.wait_online(1)
        served(files)
        return "%d files noted while it was full" % (len(files) - 2)


# ---- what is promised

def case_fifty_clients():
    with Cluster(4) as cluster:
        problems = []

        def client(number):
            try:
                data = content((17, 70 * KIB, 2 * MIB, 5 * MIB)[number % 4] + number, number)
                cluster.put("/f%d" % number, data)
                cluster.check("/f%d" % number, data)
                other = (number * 7) % 50
                result = cluster.muster("get", "/f%d" % other, "-")
                if result.status == DONE:
                    expect(result.out == content((17, 70 * KIB, 2 * MIB, 5 * MIB)[other % 4] + other,
                                                 other), True, "/f%d" % other)
            except Exception as problem:  # noqa: BLE001
                problems.append(problem)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems, "%d of 50: %s" % (len(problems), problems[:3])
        expect(len(cluster.names()), 50)


def case_says_how_many_copies():
    with Cluster(0) as cluster:
        cluster.fails("no storage server", "put", "/etc/hostname", "/f")
        expect(cluster.names(), {})
        cluster.ok("create", "/empty")
        for count in (1, 2, 3):
            cluster.storage_add()
            cluster.wait_online(count)
            expect(cluster.put("/f%d" % count, content(100 * KIB)), count)
            # The next server gets copies of it as soon as it is there.
            stat = cluster.ok("stat", "/f%d" % count, json_=True).json()
            expect((stat["copies"], stat["copies_wanted"], len(stat["holders"])), (count, 3, count))
            result = cluster.ok("put", "-f", "-", "/f", stdin=content(20 * MIB))
            assert b" %d/3 copies" % count in result.out, result
        names = {node["name"] for node in cluster.nodes()}
        cluster.storages[0].kill()
        cluster.storages[1].kill()
        cluster.wait_online(1)
        cluster.fails("read-only: too few servers", "put", "-", "/one", stdin=content(2 * MIB))
        up = {node["name"] for node in cluster.nodes() if node["state"] == "online"}
        for name in names - up:  # they never return: one copy of the catalogue decides
            cluster.wait_until(lambda: cluster.muster("forget", name).status == DONE)
        result = cluster.muster("put", "-", "/one", stdin=content(2 * MIB), json_=True)
        expect((result.status, result.json()["copies"]), (DONE, 1))


def case_holders_are_as_many_as_asked():
    with Cluster(5) as cluster:
        for copies in range(1, 10):
            data = content(40 * MIB if copies == 3 else 200 * KIB, copies)
            path = "/f%d" % copies
            result = cluster.ok("put", "-c", copies, "-", path, stdin=data)
            held = min(copies, 5)
            assert b", %d/%d cop" % (held, copies) in result.out, result
            stat = cluster.ok("stat", path, json_=True).json()
            expect((stat["copies"], stat["copies_wanted"]), (held, copies))
            expect(sum(holder["chunks"] for holder in stat["holders"]), held * stat["chunks"])
        data = os.urandom(300 * KIB)
        expect(cluster.put("/default", data), 3)
        needle = data[100 * KIB:100 * KIB + 512]
        holding = 0
        for i in range(5):
            found = 0
            for directory, _, names in os.walk(cluster.storage_data(i)):
                for name in names:
                    with open(os.path.join(directory, name), "rb") as file:
                        found += file.read().count(needle)
            assert found <= 1, found
            holding += found
        expect(holding, 3, "servers whose disk has the bytes")
        cluster.ok("mkdir", "/two")
        cluster.ok("copies", "2", "/two")
        expect(cluster.put("/two/f", b"x"), 2)


def case_thirty_files_spread_evenly():
    with Cluster(5) as cluster:
        for i in range(30):
            cluster.put("/f%d" % i, content(MIB, i))
        held = {}
        for i in range(30):
            for holder in cluster.ok("stat", "/f%d" % i, json_=True).json()["holders"]:
                held[holder["id"]] = held.get(holder["id"], 0) + 1
        expect(sum(held.values()), 90)
        assert len(held) == 5 and max(held.values()) - min(held.values()) <= 6, held
        return "copies on each: %s" % sorted(held.values())


def case_sizes_are_exact():
    with Cluster(3) as cluster:
        for seed, size in enumerate((0, 1, 2047, 2048, 2049, 65535, 65536, 65537, MIB - 1, MIB, MIB + 1,
                                     16 * MIB - 1, 16 * MIB, 16 * MIB + 1,
                                     64 * MIB - 1, 64 * MIB, 64 * MIB + 1)):
            data, path = content(size, seed), "/%d" % size
            local = os.path.join(cluster.path, "local")
            with open(local, "wb") as file:
                file.write(data)
            if seed % 2:
                cluster.ok("put", local, path)
            else:
                cluster.put(path, data)
            cluster.check(path, data)
            cluster.ok("get", "-f", path, local)
            with open(local, "rb") as file:
                expect(hashlib.sha256(file.read()).digest(), hashlib.sha256(data).digest(), path)
            expect(cluster.ok("stat", path, json_=True).json()["size"], size)


def case_readers_see_old_or_new():
    with Cluster(3) as cluster:
        versions = [bytes([65 + i]) * (size + i) for i, size in
                    enumerate((3 * MIB, 17 * MIB, 100, 5 * MIB, 33 * MIB, 70 * KIB))]
        cluster.put("/f", versions[0])
        whole = {hashlib.sha256(version).digest() for version in versions}
        stop, problems, seen = threading.Event(), [], []

        def read(number):
            while not stop.is_set():
                result = cluster.muster("get", "/f", "-")
                digest = hashlib.sha256(result.out).digest()
                if result.status != DONE:
                    problems.append(result)
                elif digest not in whole:
                    problems.append("mixed: %r" % {bytes([byte]) for byte in result.out})
                seen.append(digest)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(24):
                enough = len(seen) + 1
                cluster.put("/f", versions[turn % len(versions)], "-f")
                cluster.wait_until(lambda: len(seen) >= enough or problems, 20, 0.01)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not problems, (len(problems), problems[:2])
        return "%d reads saw %d versions" % (len(seen), len(set(seen)))


NAMES = ["plain", "with space", " lead", "it's", 'say "hi"', "][", "a|b", "a,b;c", "line\nbreak",
         "ümläut", "日本語", "-dash", "#hash", "back\\slash", "$HOME", "*", "...", "x" * 255, "é" * 127,
         os.fsdecode(b"\xff\xfe"), "\x1b[31m"]


def case_names_go_round_and_stay_off_the_disks():
    with Cluster(3) as cluster:
        cluster.ok("mkdir", "/secret-directory")
        for i, name in enumerate(NAMES):
            cluster.put("/secret-directory/" + name, content(700 * KIB if i % 2 else 9, i))
        listed = {os.fsencode(row["name"]) if not row["name"].isascii() else row["name"].encode()
                  for row in cluster.names("/secret-directory").values()}
        for i, name in enumerate(NAMES):
            cluster.check("/secret-directory/" + name, content(700 * KIB if i % 2 else 9, i))
            if name.isprintable() and name.isascii():
                assert name.encode() in listed, (name, listed)
        expect(len(listed), len(NAMES))
        words = [os.fsencode(name) for name in NAMES if len(name) > 3] + [b"secret-directory"]
        for i in range(3):
            for directory, directories, files in os.walk(os.fsencode(cluster.storage_data(i))):
                for name in directories + files:
                    assert not any(word in name for word in words), (directory, name)
        for name in ("/secret-directory/..", "/../x", "/secret-directory/./../../etc"):
            result = cluster.muster("put", "-", name, stdin=b"x")
            assert not os.path.exists(os.path.join(cluster.path, "x")), result
        cluster.fails("name", "create", "/" + "y" * 256)


# ---- starting up wrongly

def case_refuses_to_start():
    with Cluster(1) as cluster, Cluster(1) as other:
        def refused(program, *arguments):
            daemon = cluster.daemon(program, "--interface", "lo", "--port", "0", "--beacon-port",
                                    str(cluster.beacon_port), *arguments)
            status = daemon.wait()
            lines = [line for line in daemon.output().splitlines() if line.startswith(program + ": ")]
            expect((status, len(lines)), (1, 1), daemon.output())
            return lines[0]

        def unwritable(program):
            place = os.path.join(cluster.path, "readonly-" + program)
            os.makedirs(place)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0:
                try:
                    refused(program, "--data", place, "--cluster", cluster.name)
                finally:
                    subprocess.run(["umount", "-l", place], check=True)
            refused(program, "--data", "/proc/version/x", "--cluster", cluster.name)
            refused(program, "--data", "/dev/null", "--cluster", cluster.name)

        unwritable("muster-nameserver")
        unwritable("muster-storage")
        refused("muster-nameserver", "--data", cluster.path + "/ns", "--cluster", cluster.name)
        refused("muster-storage", "--data", cluster.storage_data(0), "--cluster", cluster.name)
        other.nameserver.stop()
        other.storages[0].stop()
        refused("muster-nameserver", "--data", other.path + "/ns", "--cluster", cluster.name)
        refused("muster-storage", "--data", other.storage_data(0), "--cluster", cluster.name)
        # Without a name to compare it keeps trying: another name server may come to that address.
        daemon = cluster.daemon("muster-storage", "--data", other.storage_data(0), "--interface", "lo",
                                "--port", "0", "--nameserver", "127.0.0.1:%d" % cluster.port)
        wait_until(lambda: "WRONG_CLUSTER" in daemon.output())
        expect(len(cluster.nodes()), 1)
        taken = cluster.ports()[0]
        daemon = cluster.daemon("muster-storage", "--interface", "lo", "--data", cluster.path + "/new",
                                "--port", str(taken))
        expect(daemon.wait(), 1)
        assert str(taken) in daemon.output() and "--port" in daemon.output(), daemon.output()


# ---- strangers

def frames_of_junk(rng):
    header = struct.Struct("<HBBIQQII")
    yield rng.randbytes(rng.randrange(1, 5000))
    yield header.pack(1, 0, 0, 1, 0x10001, 0, 0xffffffff, 0)
    yield header.pack(1, 0, 0, 1, 0x10001, 0, 1 << 20, 0) + rng.randbytes(4096)
    yield header.pack(rng.randrange(1 << 16), rng.randrange(256), 0, 7, 0, 0, 64, 0) + rng.randbytes(64)
    yield header.pack(0x62, 1, 0, 1, 0, 1 << 20, 1 << 20, 0) + rng.randbytes(1 << 20)
    yield header.pack(0x8001, 0, 0, 1, 0, 0, 0, 0) * 50
    yield header.pack(1, 0, 0, 1, 0x10001, 0, 60, 1) + bytes(60)
    yield header.pack(2, 0, 0, 1, 0, 0, 0, 0)[:rng.randrange(1, 32)]
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b""


def case_junk_on_every_port():
    rng = random.Random(os.getpid())
    with Cluster(3) as cluster:
        data = content(48 * MIB)
        cluster.put("/f", data)
        reader, _ = get_begun(cluster, "/f", MIB)
        client_ports = listening(reader.process.pid)
        assert client_ports, "the client does not listen"
        targets = [cluster.port] + cluster.ports() + client_ports
        say = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        say.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        held = []
        for turn in range(6):
            for port in targets:
                for junk in frames_of_junk(rng):
                    try:
                        stranger = socket.create_connection(("127.0.0.1", port), 5)
                        stranger.settimeout(5)
                        stranger.sendall(junk)
                    except OSError:
                        continue
                    if rng.random() < 0.2:
                        held.append(stranger)
                    else:
                        stranger.close()
            for size in (0, 1, 127, 128, 129, 1400, 60000):
                beacon = bytearray(probe(cluster.name))
                beacon[rng.randrange(len(beacon))] ^= 1 << rng.randrange(8)
                beacon[5] = 1 + turn % 2
                for datagram in (rng.randbytes(size), bytes(beacon), bytes(beacon)[:size]):
                    try:
                        say.sendto(datagram, ("127.255.255.255", cluster.beacon_port))
                    except OSError:
                        pass
        say.settimeout(0.2)
        try:
            raise AssertionError("a datagram was answered: %r" % (say.recvfrom(2048),))
        except socket.timeout:
            pass
        result = reader.finish()
        expect((result.status, result.err), (DONE, ""))
        assert reader.data == data
        for daemon in cluster.daemons:
            assert daemon.process.poll() is None, daemon.output()
        expect(len(cluster.nodes()), 3, "nodes")
        cluster.put("/g", content(20 * MIB))
        cluster.check("/g", content(20 * MIB))
        began = time.monotonic()
        for stranger in held:  # all of them are dropped by now or soon
            stranger.settimeout(max(0.1, began + 8 - time.monotonic()))
            try:
                while stranger.recv(65536):
                    pass
            except ConnectionError:
                pass
            stranger.close()


def case_no_client_port_left():
    port = listening_port_free()
    with Cluster(3, client_ports="%d-%d" % (port, port)) as cluster:
        data = content(20 * MIB)
        cluster.put("/f", data)
        readers = [get_begun(cluster, "/f", MIB)[0] for _ in range(4)]
        listeners = [len(listening(reader.process.pid)) for reader in readers]
        expect(sorted(listeners), [0, 0, 0, 1], "who listens")
        for reader in readers:
            result = reader.finish()
            expect((result.status, result.err), (DONE, ""))
            assert reader.data == data
        # Somebody else has the only port.
        with socket.create_server(("127.0.0.1", port)):
            result = cluster.ok("get", "/f", "-")
            assert result.out == data
            return "taken by a stranger: %.2f s" % result.took


def listening_port_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# The long ones first.
CASES = [case_client_killed_in_a_put_leaves_nothing, case_kills_under_load_lose_nothing,
         case_storage_servers_leave_and_return, case_stopped_name_server_holds_nobody_up,
         case_name_server_stops_in_a_put, case_readers_see_old_or_new,
         case_overlapping_restarts_settle_soon, case_restarts_keep_everything,
         case_sizes_are_exact, case_says_how_many_copies,
         case_full_by_capacity, case_full_by_file_system, case_fifty_clients,
         case_name_server_disk_full, case_commands_under_way_when_it_stops, case_junk_on_every_port,
         case_repeated_operations_act_once, case_get_survives_kill,
         case_get_goes_on_elsewhere_after_a_second, case_slow_reader_is_no_dead_server,
         case_get_with_no_copy_left_fails, case_put_survives_kill,
         case_put_with_all_servers_killed_fails, case_holders_are_as_many_as_asked,
         case_thirty_files_spread_evenly, case_names_go_round_and_stay_off_the_disks,
         case_refuses_to_start, case_no_client_port_left]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
