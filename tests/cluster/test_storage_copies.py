#!/usr/bin/env python3
"""muster-storage looks after copies by order of the name server: INSPECT and FETCH.

    test_storage_copies.py [NAME ...]     only the tests whose names contain one of these
"""
import mmap
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_fake import *  # noqa: E402,F403
from test_storage import LARGE, Cluster, check_receipt, expect, main  # noqa: E402

SIZES = (1, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 16 << 20)
UNAVAILABLE_OR_OK = (OK, UNAVAILABLE)


def stored(client, chunk, data):
    answer = client.write(chunk, data)
    expect(answer.status, OK)
    return answer.receipts[0]


def files(server):
    for directory, _, names in os.walk(server.data):
        for name in names:
            yield os.path.join(directory, name)


def flip(server, chunk, data, place=0):
    """Changes one bit of what the server has stored, `place` bytes from where `data` begins."""
    if len(data) >= 1 << 20:
        paths = [big_file(server, chunk)]
    else:
        paths = [path for path in files(server) if "/seg/" in path]
    for path in paths:
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as content:
            at = content.find(data[:32])
            if at >= 0:
                content[at + place] ^= 0x10
                return
    raise AssertionError("not on the disk")


def big_file(server, chunk):
    """Names end in the chunk's id."""
    found = [path for path in files(server) if "/big/" in path and "%016x" % chunk in path]
    expect(len(found), 1, found)
    return found[0]


def says(server, what, *words):
    def found():
        return [line for line in server.output().splitlines()
                if what in line and all(word in line for word in words)]
    return wait_until(found)


# ---- FETCH ----

def test_fetch_every_length():
    with Cluster(2) as cluster:
        source, target = cluster.nodes
        contents = {chunk: os.urandom(size) for chunk, size in enumerate(SIZES, 1)}
        for chunk, data in contents.items():
            receipt = stored(cluster.client(0), chunk, data)
            status, copy = cluster.nameserver.fetch(target, source, receipt)
            expect(status, OK, len(data))
            check_receipt(target, copy, chunk, len(data))
            expect(copy["digest"], receipt["digest"])
            expect(cluster.client(1).read(chunk, len(data)), (OK, data), len(data))
            expect(cluster.nameserver.fetch(target, source, receipt)[0], OK, "the same again")
            says(cluster.servers[1], "fetched", "chunk=%016x" % chunk, "length=%d" % len(data))
        cluster.servers[1].kill()
        cluster.restart(1)
        for chunk, data in contents.items():
            expect(cluster.client(1).read(chunk, len(data)), (OK, data), "after a crash")


def test_many_at_once():
    """More than may be under way are told so, and get through when they come again."""
    with Cluster(2) as cluster:
        nameserver, (source, target) = cluster.nameserver, cluster.nodes
        client = cluster.client(0)
        sizes = [4096] * 40 + [LARGE] * 6 + [16 << 20] * 4
        waiting = {chunk: stored(client, chunk, os.urandom(size))
                   for chunk, size in enumerate(sizes, 1)}
        refused = 0
        while waiting:
            asked = {chunk: nameserver.order(*nameserver.fetch_order(target, source, receipt))
                     for chunk, receipt in waiting.items()}
            for chunk, number in asked.items():
                status = wait_until(lambda n=number: nameserver.replies.get(n)).status
                assert status in (OK, BUSY), status
                refused += status == BUSY
                if status == OK:
                    del waiting[chunk]
        assert refused, "nobody was told to come again"
        expect(len(nameserver.inspect(target, [])), 0)


def test_source_is_damaged():
    """A byte in a segment, at the end of a long file, and a file that is gone."""
    with Cluster(3) as cluster:
        nameserver, (source, target, other) = cluster.nameserver, cluster.nodes
        for chunk, size, place in ((1, 5000, 4999), (2, 300000, 70000), (3, LARGE, LARGE - 1)):
            data = os.urandom(size)
            receipt = stored(cluster.client(0), chunk, data)
            stored(cluster.client(2), chunk, data)
            flip(cluster.servers[0], chunk, data, place)
            expect(nameserver.fetch(target, source, receipt)[0], CORRUPT, size)
            expect(cluster.client(1).read(chunk, size)[0], NOT_FOUND, "nothing was kept")
            expect(nameserver.fetch(target, other, receipt)[0], OK, "from another one")
            expect(cluster.client(1).read(chunk, size), (OK, data))
        receipt = stored(cluster.client(0), 4, os.urandom(LARGE))
        os.unlink(big_file(cluster.servers[0], 4))
        expect(nameserver.fetch(target, source, receipt)[0], CORRUPT)
        receipt["chunk"] = 5
        expect(nameserver.fetch(target, source, receipt)[0], NOT_FOUND)
        receipt = stored(cluster.client(0), 6, bytes(5000))
        expect(nameserver.fetch(target, source, dict(receipt, digest=bytes(15) + b"x"))[0], CORRUPT)
        expect(nameserver.fetch(target, source, receipt, expiry=0)[0], UNAVAILABLE, "a void ticket")
        expect(nameserver.fetch(target, source, receipt)[0], OK)
        says(cluster.servers[1], "not_fetched", "error=CORRUPT")


def test_source_is_killed():
    with Cluster(2) as cluster:
        nameserver, (source, target) = cluster.nameserver, cluster.nodes
        for chunk in range(1, 5):
            data = os.urandom(16 << 20)
            receipt = stored(cluster.client(0), chunk, data)
            number = nameserver.order(*nameserver.fetch_order(target, source, receipt))
            if chunk % 2:
                wait_until(lambda: any("%016x" % chunk in path for path in files(cluster.servers[1])))
            cluster.servers[0].kill()
            status = wait_until(lambda: nameserver.replies.get(number)).status
            assert status in UNAVAILABLE_OR_OK, status
            expect(cluster.client(1).read(chunk, len(data))[0], OK if status == OK else NOT_FOUND)
            cluster.restart(0)
            source = cluster.nodes[0]
            wait_until(lambda: nameserver.fetch(target, source, receipt)[0] == OK)
            expect(cluster.client(1).read(chunk, len(data)), (OK, data))


def test_source_is_silent():
    with Cluster(2) as cluster:
        nameserver, (source, target) = cluster.nameserver, cluster.nodes
        for chunk, size in ((1, 5000), (2, 16 << 20)):
            data = os.urandom(size)
            receipt = stored(cluster.client(0), chunk, data)
            cluster.servers[0].process.send_signal(signal.SIGSTOP)
            expect(nameserver.fetch(target, source, receipt)[0], UNAVAILABLE)
            cluster.servers[0].process.send_signal(signal.SIGCONT)
            expect(cluster.client(1).read(chunk, size)[0], NOT_FOUND)
            wait_until(lambda: nameserver.fetch(target, source, receipt)[0] == OK)


def test_target_is_full():
    with Cluster(1) as cluster:
        target = cluster.add("small", "--capacity", "16M")
        client = cluster.client(0)
        receipt = stored(client, 1, bytes(16 << 20))
        expect(cluster.nameserver.fetch(target, cluster.nodes[0], receipt)[0], NO_SPACE)
        receipt = stored(client, 2, bytes(4096))
        expect(cluster.nameserver.fetch(target, cluster.nodes[0], receipt)[0], OK)


class Source(Node):
    """A storage server that answers HELLO, begins with DATA, and then says nothing more."""

    def __init__(self, cluster, said):
        self.id, self.key = os.urandom(16), os.urandom(32)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoints = [endpoint(self.listener.getsockname()[1])]
        self.cluster, self.said, self.number = cluster, said, 0

    def serve(self):
        """Up to its silence."""
        self.connection = connection = Connection.__new__(Connection)
        connection.socket, connection.pending, connection.number = self.listener.accept()[0], b"", 0
        hello = connection.receive()
        body = b"\x02" + self.cluster.cluster + text("fake") + self.id + NONE + endpoint(1)
        connection.send(HEADER.pack(HELLO | REPLY, 0, 0, hello.id, 1, 1, len(body), 0) + body)
        read = connection.receive()
        expect(read.type, READ)
        if self.said:
            connection.send(data_frame(read.id, 0, self.said))
        return read

    def close(self):
        self.connection.close()
        self.listener.close()


def test_a_client_writes_it_meanwhile():
    """A source that never ends holds the chunk; the client that writes it need not wait for it."""
    with Cluster(1) as cluster:
        nameserver, target = cluster.nameserver, cluster.nodes[0]
        for chunk, size, said in ((1, 5000, 0), (2, LARGE, 0), (3, LARGE, 1 << 20)):
            data = os.urandom(size)
            receipt = stored(cluster.client(0), chunk, data)
            nameserver.ask(target, DELETE, nameserver.epoch, 0, struct.pack("<HQ", 1, chunk))
            source = Source(nameserver, data[:said])
            number = nameserver.order(*nameserver.fetch_order(target, source, receipt))
            source.serve()
            client = cluster.client(0)
            wait_until(lambda: client.write(chunk, data).status == OK)
            expect(wait_until(lambda: nameserver.replies.get(number)).status, BUSY)
            expect(client.read(chunk, size), (OK, data))
            source.close()


def data_frame(number, offset, payload, flags=0):
    sums = crcs(payload)
    return HEADER.pack(DATA, flags, 0, number, offset, len(payload),
                       len(sums) + len(payload), 0) + sums + payload


def test_odd_sources():
    """What is not an answer to our READ costs the source its connection, and nobody anything else."""
    mega = os.urandom(1 << 20)
    receipt = {"chunk": 1, "length": LARGE, "digest": os.urandom(16)}
    oddities = {
        "another place": lambda number: data_frame(number, 1 << 20, mega),
        "another transfer": lambda number: data_frame(number + 1, 0, mega),
        "too early an end": lambda number: data_frame(number, 0, mega, LAST),
        "no block": lambda number: data_frame(number, 0, mega[:1000]),
        "an empty answer": lambda number: HEADER.pack(READ | REPLY, 0, 0, number, 0, 0, 0, 0),
        "a refusal in the middle": lambda number: data_frame(number, 0, mega) +
        HEADER.pack(READ | REPLY, 0, BUSY, number, 0, 0, 0, 0),
        "two refusals": lambda number: 2 * HEADER.pack(READ | REPLY, 0, BUSY, number, 0, 0, 0, 0),
        "more after a refusal": lambda number:
        HEADER.pack(READ | REPLY, 0, BUSY, number, 0, 0, 0, 0) + data_frame(number, 0, mega),
    }
    with Cluster(1) as cluster:
        nameserver, target = cluster.nameserver, cluster.nodes[0]
        for what, said in oddities.items():
            source = Source(nameserver, b"")
            number = nameserver.order(*nameserver.fetch_order(target, source, receipt))
            read = source.serve()
            source.connection.socket.settimeout(10)
            try:
                source.connection.send(said(read.id))
            except ConnectionError:
                pass  # the first bytes were enough
            expect(wait_until(lambda: nameserver.replies.get(number)).status, UNAVAILABLE, what)
            try:
                expect(source.connection.receive(), None, what)
            except ConnectionResetError:
                pass
            source.close()
        expect(cluster.client(0).read(1, LARGE)[0], NOT_FOUND)


def test_a_wrong_order_costs_nothing():
    """The digest that the name server gives is not that of the last good copy."""
    with Cluster(2) as cluster:
        nameserver, (source, target) = cluster.nameserver, cluster.nodes
        for chunk, size in ((1, 5000), (2, LARGE)):
            data, other = os.urandom(size), os.urandom(size)
            receipt = stored(cluster.client(1), chunk, data)
            right = stored(cluster.client(0), chunk, other)
            wrong = dict(receipt, digest=bytes(15) + b"x")
            expect(nameserver.inspect(target, [wrong])[0], (chunk, CORRUPT, receipt["digest"]))
            expect(nameserver.fetch(target, source, wrong)[0], CORRUPT)
            assert cluster.client(1).read(chunk, size) == (OK, data), "still here"
            expect(nameserver.fetch(target, source, right)[0], OK)
            assert cluster.client(1).read(chunk, size) == (OK, other), "what was to come instead"
        cluster.servers[1].kill()
        cluster.restart(1)
        assert cluster.client(1).read(chunk, size) == (OK, other), "after a crash"


def test_delete_ends_it():
    with Cluster(1) as cluster:
        nameserver, target = cluster.nameserver, cluster.nodes[0]
        for chunk, said in ((1, 0), (2, 1 << 20)):
            data = os.urandom(LARGE)
            receipt = {"chunk": chunk, "length": LARGE, "digest": os.urandom(16)}
            source = Source(nameserver, data[:said])
            number = nameserver.order(*nameserver.fetch_order(target, source, receipt))
            source.serve()
            nameserver.ask(target, DELETE, nameserver.epoch, 0, struct.pack("<HQ", 1, chunk))
            expect(wait_until(lambda: nameserver.replies.get(number)).status, EXPIRED)
            assert source.connection.receive() is None, "the source is let go"
            expect(cluster.client(0).read(chunk, LARGE)[0], NOT_FOUND)
            source.close()


def test_nothing_leaks():
    """Failed fetches leave no descriptors, files or reserved space behind."""
    with Cluster(1) as cluster:
        target = cluster.add("small", "--capacity", "64M")
        nameserver, good, server = cluster.nameserver, cluster.nodes[0], cluster.servers[1]
        receipt = stored(cluster.client(0), 1, bytes(LARGE))
        expect(nameserver.fetch(target, good, dict(receipt, chunk=2))[0], NOT_FOUND)
        before = len(os.listdir("/proc/%d/fd" % server.process.pid)), len(list(files(server)))
        for _ in range(20):
            expect(nameserver.fetch(target, good, dict(receipt, digest=bytes(15) + b"x"))[0], CORRUPT)
            expect(nameserver.fetch(target, good, dict(receipt, chunk=2))[0], NOT_FOUND)
            expect(nameserver.inspect(target, [receipt])[0][1], NOT_FOUND)
        wait_until(lambda: (len(os.listdir("/proc/%d/fd" % server.process.pid)),
                            len(list(files(server)))) == before)
        expect(nameserver.fetch(target, good, receipt)[0], OK)


# ---- INSPECT ----

def test_inspect():
    with Cluster(1) as cluster:
        nameserver, (node,), (server,) = cluster.nameserver, cluster.nodes, cluster.servers
        client = cluster.client()
        contents = {chunk: os.urandom(size) for chunk, size in enumerate(SIZES + SIZES[1:], 1)}
        receipts = {chunk: stored(client, chunk, data) for chunk, data in contents.items()}
        unknown = dict(receipts[1], chunk=99)
        expected = [(chunk, 0, receipt["digest"]) for chunk, receipt in receipts.items()]
        expect(nameserver.inspect(node, list(receipts.values()) + [unknown]),
               expected + [(99, NOT_FOUND, bytes(16))])
        reports = len(nameserver.said(CORRUPT_REPORT))
        bad = {3: CORRUPT, 4: CORRUPT, 5: CORRUPT, 6: CORRUPT, 8: CORRUPT}
        flip(server, 3, contents[3], 0)         # one block in a segment
        flip(server, 4, contents[4], 65536)     # the last byte of two
        flip(server, 5, contents[5], -10)       # a checksum
        flip(server, 6, contents[6], 500000)    # a file of its own
        flip(server, 8, contents[8], (16 << 20) - 1)
        os.unlink(big_file(server, 7))
        bad[7] = NOT_FOUND
        found = {chunk: (status, digest) for chunk, status, digest in
                 nameserver.inspect(node, list(receipts.values()))}
        for chunk, receipt in receipts.items():
            status, digest = found[chunk]
            expect(status, bad.get(chunk, 0), chunk)
            assert (digest == receipt["digest"]) == (chunk not in bad), chunk
        assert found[4][1] != bytes(16), "what is there has a digest, too"
        for chunk in bad:
            expect(client.read(chunk, len(contents[chunk]))[0], NOT_FOUND, "no longer served")
            says(server, "inspected_bad", "chunk=%016x" % chunk)
        for chunk, data in contents.items():
            if chunk not in bad:
                expect(client.read(chunk, len(data)), (OK, data))
        # Only the reads above were worth a message.
        wait_until(lambda: len(nameserver.said(CORRUPT_REPORT)) >= reports + len(bad))
        expect(len(nameserver.said(CORRUPT_REPORT)), reports + len(bad))
        stored(client, 8, contents[8])
        expect(nameserver.inspect(node, [receipts[8]])[0][1], 0, "written anew")


def test_repair():
    """What the name server does about a bad copy: INSPECT finds it, FETCH replaces it."""
    with Cluster(2) as cluster:
        nameserver, (good, node) = cluster.nameserver, cluster.nodes
        for chunk, size in ((1, 5000), (2, LARGE)):
            data = os.urandom(size)
            receipt = stored(cluster.client(0), chunk, data)
            stored(cluster.client(1), chunk, data)
            flip(cluster.servers[1], chunk, data)
            expect(nameserver.inspect(node, [receipt])[0][1], CORRUPT)
            expect(nameserver.fetch(node, good, receipt)[0], OK)
            expect(nameserver.inspect(node, [receipt])[0][1], OK)
            expect(cluster.client(1).read(chunk, size), (OK, data))


def test_readers_go_first():
    """A client is served while a long inspection runs."""
    with Cluster(1) as cluster:
        nameserver, node = cluster.nameserver, cluster.nodes[0]
        client = cluster.client()
        data = os.urandom(8 << 20)
        receipts = [stored(client, chunk, data) for chunk in range(1, 65)]
        number = nameserver.order(*nameserver.inspect_order(node, receipts))
        served = 0
        while not nameserver.replies.get(number):
            expect(client.read(1 + served % 64, len(data), 0, BLOCK), (OK, data[:BLOCK]))
            served += 1
        assert served > 5, served
        findings = nameserver.findings(nameserver.replies[number])
        expect([chunk for chunk, _, _ in findings], list(range(1, 65)))
        expect({status for _, status, _ in findings} - {OK, BUSY}, set())
        expect(findings[0][1], OK)
        expect(cluster.servers[0].stop(), 0, "exit status")


def test_stops_amid_an_inspection():
    with Cluster(1) as cluster:
        nameserver, node = cluster.nameserver, cluster.nodes[0]
        client = cluster.client()
        receipts = [stored(client, chunk, bytes(16 << 20)) for chunk in range(1, 5)]
        nameserver.order(*nameserver.inspect_order(node, receipts))
        expect(cluster.servers[0].stop(), 0, "exit status")


if __name__ == "__main__":
    sys.exit(main(globals()))
