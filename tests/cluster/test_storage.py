#!/usr/bin/env python3
"""muster-storage as a process, alone and in chains, with a name server that only signs tickets.

    test_storage.py [NAME ...]     only the tests whose names contain one of these
"""
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_fake import *  # noqa: E402,F403

LARGE = 5 * (1 << 20) + 12345


def expect(value, wanted, what=""):
    if value != wanted:
        raise AssertionError("%s: %r, not %r" % (what, value, wanted))


class Cluster(Workspace):
    """A fake name server and some real storage servers."""

    def __init__(self, count, *arguments):
        super().__init__()
        self.nameserver = FakeNameServer()
        self.servers, self.nodes = [], []
        for i in range(count):
            self.add("store%d" % i, *arguments)

    def add(self, name, *arguments):
        server = Storage(self.path, self.nameserver, name, arguments)
        self.daemons.append(server)
        self.servers.append(server)
        self.nodes.append(server.registered())
        return self.nodes[-1]

    def restart(self, i):
        server = Storage(self.path, self.nameserver, "store%d" % i)
        self.daemons.append(server)
        self.servers[i] = server
        self.nodes[i] = server.registered(self.nodes[i])

    def client(self, i=0, **how):
        return DataClient(self.nameserver, self.nodes[i], **how)

    def __exit__(self, kind, *rest):
        for server in self.servers:
            if kind:
                print(server.output())
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
        super().__exit__(kind, *rest)
        self.nameserver.close()


def check_receipt(node, receipt, chunk, length):
    expect((receipt["chunk"], receipt["length"], receipt["holder"]), (chunk, length, node.id))
    expect(receipt["tag"], node.sign(receipt["signed"]), "receipt's tag")


def test_registers_and_stops_cleanly():
    with Cluster(0) as cluster:
        node = cluster.add("store0", "--zone", "rack 7", "--capacity", "1G")
        expect((node.zone, node.chunks, node.start), ("rack 7", 0, 1))
        expect(node.capacity, 1 << 30)
        wait_until(lambda: cluster.nameserver.said(HEARTBEAT))
        expect(cluster.servers[0].stop(), 0, "exit status")
        cluster.restart(0)
        expect((cluster.nodes[0].start, cluster.nodes[0].disk), (2, node.disk))


def test_small_and_large():
    with Cluster(1) as cluster:
        client = cluster.client()
        for chunk, size in enumerate((1, 4096, 65536, 65537, (1 << 20) - 1, 1 << 20, LARGE, 16 << 20), 1):
            data = os.urandom(size)
            answer = client.write(chunk, data)
            expect((answer.status, len(answer.receipts), answer.failed), (OK, 1, 0), size)
            check_receipt(cluster.nodes[0], answer.receipts[0], chunk, size)
            expect(client.read(chunk, size), (OK, data), size)
            if size > BLOCK:
                expect(client.read(chunk, size, BLOCK), (OK, data[BLOCK:]), "from the second block")
                expect(client.read(chunk, size, 0, BLOCK), (OK, data[:BLOCK]), "first block")
        # Pipelined, long answers and short ones mixed.
        ids = []
        for chunk in (8, 2, 8, 7, 2):
            size = {8: 16 << 20, 7: LARGE, 2: 4096}[chunk]
            client.number += 1
            ids.append(client.number)
            ticket = cluster.nameserver.ticket(client.node, chunk, client.id, TICKET_READ, size)
            client.send(frame(READ, client.number, 0, size, ticket))
        total = 0
        while total < 2 * (16 << 20) + LARGE + 2 * 4096:
            reply = client.receive()
            assert reply.type == DATA and reply.id in ids
            total += reply.arg2


def test_repeats_and_other_lengths():
    with Cluster(2) as cluster:
        client = cluster.client()
        for chunk, size in ((1, 5000), (2, LARGE)):
            data = os.urandom(size)
            expect(client.write(chunk, data).status, OK)
            again = client.write(chunk, data)
            expect((again.status, len(again.receipts)), (OK, 1), "the same again")
            expect(client.write(chunk, data + b"x").status, EXISTS, "another length")
            further = client.write(chunk, data, cluster.nodes[1:])
            expect((further.status, len(further.receipts), further.failed), (OK, 2, 0), "a hop lacks it")
            expect(cluster.client(1).read(chunk, size), (OK, data))


def test_chain_of_three():
    with Cluster(3) as cluster:
        client = cluster.client()
        for chunk, size in ((1, 1), (2, 300000), (3, LARGE), (4, 16 << 20)):
            data = os.urandom(size)
            answer = client.write(chunk, data, cluster.nodes[1:])
            expect((answer.status, len(answer.receipts), answer.failed), (OK, 3, 0), size)
            for receipt in answer.receipts:
                node = next(n for n in cluster.nodes if n.id == receipt["holder"])
                check_receipt(node, receipt, chunk, size)
            expect(len({receipt["digest"] for receipt in answer.receipts}), 1, "digests")
            for i in range(3):
                expect(cluster.client(i).read(chunk, size), (OK, data), "copy %d" % i)


def test_pipelined_writes():
    with Cluster(3) as cluster:
        client = cluster.client()
        sent = [client.write_frames(chunk, os.urandom(size), cluster.nodes[1:])
                for chunk, size in enumerate([4096] * 200 + [LARGE] * 4 + [100] * 10, 1)]
        threading.Thread(target=lambda: client.send(b"".join(b"".join(out) for _, out in sent)),
                         daemon=True).start()
        finals, receipts = {}, 0
        while len(finals) < len(sent):
            reply = client.receive()
            assert reply and reply.is_reply
            expect(reply.status, OK, reply.id)
            receipts += struct.unpack_from("<H", reply.body, 16)[0]
            if not reply.flags & MORE:
                finals[reply.id] = reply.arg1
        expect((set(finals.values()), receipts), ({0}, 3 * len(sent)))


def test_tickets():
    with Cluster(1) as cluster:
        client, nameserver, node = cluster.client(), cluster.nameserver, cluster.nodes[0]
        ticket = nameserver.ticket(node, 1, client.id)
        for bit in range(len(ticket) * 8):
            bad = bytearray(ticket)
            bad[bit // 8] ^= 1 << bit % 8
            status = client.write(1, b"data", ticket=bytes(bad)).status
            assert status in (DENIED, EXPIRED, WRONG_NODE, BAD_REQUEST), (bit, status)
            if status == BAD_REQUEST:
                client = cluster.client(client=client.id)
        expect(client.write(1, b"data", holder=os.urandom(16)).status, WRONG_NODE)
        expect(client.write(1, b"data", epoch=7).status, EXPIRED)
        expect(client.write(1, b"data", expiry=0).status, EXPIRED)
        expect(client.write(1, b"data", length=3).status, DENIED, "longer than allowed")
        foreign = nameserver.ticket(node, 1, os.urandom(16))
        expect(client.write(1, b"data", ticket=foreign).status, DENIED, "another client's")
        expect(client.write(1, b"data", ticket=ticket).status, OK)
        expect(client.read(1, 4, holder=os.urandom(16))[0], WRONG_NODE)
        client.send(frame(READ, 900, 0, 4, ticket))
        expect(client.receive().status, DENIED, "a write ticket to read")


def test_reads_refused():
    with Cluster(1) as cluster:
        client = cluster.client()
        client.write(1, bytes(100000))
        expect(client.read(2, 5)[0], NOT_FOUND)
        wait_until(lambda: cluster.nameserver.said(CORRUPT_REPORT))
        expect(client.read(1, 100000, 0, 100001)[0], RANGE)
        expect(client.read(1, 100000, 2 * BLOCK, 1)[0], RANGE)
        expect(client.read(1, 100000, 5, 10)[0], BAD_REQUEST)
        expect(client.read(1, 100000)[0], OK, "the connection lives")


def test_corrupt_data_is_refused():
    with Cluster(3) as cluster:
        client = cluster.client()
        for chunk, size, place in ((1, 5000, 4999), (2, LARGE, 3 << 20), (3, LARGE, LARGE - 1)):
            answer = client.write(chunk, os.urandom(size), cluster.nodes[1:], broken=place)
            expect((answer.status, len(answer.receipts)), (CORRUPT, 0), size)
            for i in range(3):
                expect(cluster.client(i).read(chunk, size)[0], NOT_FOUND, "copy %d" % i)
            data = os.urandom(size)
            expect(client.write(chunk, data, cluster.nodes[1:]).failed, 0, "the connection lives")
            expect(client.read(chunk, size), (OK, data))


def test_abort_voids():
    with Cluster(2) as cluster:
        client = cluster.client()
        for chunk, size in ((1, 5000), (2, LARGE)):
            number, out = client.write_frames(chunk, bytes(size), cluster.nodes[1:])
            begun = out[:3] if size == LARGE else out[:1]
            abort = HEADER.pack(DATA, ABORT, 0, number, (len(begun) - 1) << 20, 0, 0, 0)
            client.send(b"".join(begun) + abort)
            assert client.answer(number).status != OK
            for i in range(2):
                expect(cluster.client(i).read(chunk, size)[0], NOT_FOUND)
            expect(client.write(chunk, bytes(size), cluster.nodes[1:]).failed, 0)


def test_broken_client_leaves_nothing():
    with Cluster(2, "--capacity", "1G") as cluster:
        free = cluster.nodes[0].free
        for chunk, size in ((1, 5000), (2, LARGE)):
            client = cluster.client()
            out = b"".join(client.write_frames(chunk, bytes(size), cluster.nodes[1:])[1])
            client.send(out[:-100])
            client.close()
        heard = len(cluster.nameserver.said(HEARTBEAT))
        wait_until(lambda: len(cluster.nameserver.said(HEARTBEAT)) > heard + 4)
        for request in cluster.nameserver.said(HEARTBEAT)[-2:]:
            expect(struct.unpack_from("<Q", request.body)[0], 0, "chunks")
        assert cluster.nameserver.said(HEARTBEAT)[-1].arg2 > free - (1 << 20)
        expect(cluster.client().write(2, bytes(LARGE), cluster.nodes[1:]).failed, 0)


def test_dead_hop():
    with Cluster(3) as cluster:
        client = cluster.client()
        expect(client.write(1, b"warm", cluster.nodes[1:]).failed, 0)
        cluster.servers[1].kill()
        for chunk, size in ((2, 5000), (3, LARGE)):
            started = time.monotonic()
            answer = client.write(chunk, bytes(size), cluster.nodes[1:])
            expect((answer.status, len(answer.receipts), answer.failed, answer.dead),
                   (OK, 1, 2, cluster.nodes[1].id), size)
            assert time.monotonic() - started < 1.5, "took too long"
        cluster.servers[2].kill()
        answer = client.write(4, b"x", cluster.nodes[2:])
        expect((len(answer.receipts), answer.dead), (1, cluster.nodes[2].id))


def test_stopped_hop_costs_a_second():
    with Cluster(3) as cluster:
        client = cluster.client()
        expect(client.write(1, b"warm", cluster.nodes[1:]).failed, 0)
        expect(client.write(2, bytes(LARGE), cluster.nodes[1:]).failed, 0)
        cluster.servers[1].process.send_signal(signal.SIGSTOP)
        for chunk, size in ((3, 5000), (4, LARGE)):
            started = time.monotonic()
            answer = client.write(chunk, bytes(size), cluster.nodes[1:])
            took = time.monotonic() - started
            expect((answer.status, len(answer.receipts), answer.failed, answer.dead),
                   (OK, 1, 2, cluster.nodes[1].id), size)
            assert took < 2.0, "%d bytes took %.2f s" % (size, took)
            if chunk == 3:
                assert took > 0.9, took
        # The copies it makes once it goes on are reported, though nobody waits for them.
        cluster.servers[1].process.send_signal(signal.SIGCONT)

        def late():
            found = set()
            for request in cluster.nameserver.said(STORED):
                for at in range(2, len(request.body), 72):
                    receipt = receipt_parse(request.body[at:])
                    found.add((receipt["chunk"], receipt["holder"]))
            return found >= {(3, cluster.nodes[1].id), (3, cluster.nodes[2].id)}
        wait_until(late)
        answer = client.write(5, bytes(5000), cluster.nodes[1:])
        expect((len(answer.receipts), answer.failed), (3, 0), "afterwards")


def test_kill_keeps_what_was_acknowledged():
    with Cluster(1) as cluster:
        contents, acknowledged = {}, set()
        client = cluster.client()
        stop = threading.Event()

        def write():
            chunk = 0
            try:
                while not stop.is_set():
                    chunk += 1
                    contents[chunk] = os.urandom(random.choice((100, 5000, 200000, LARGE)))
                    if client.write(chunk, contents[chunk]).status == OK:
                        acknowledged.add(chunk)
            except (OSError, AssertionError):
                pass

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(acknowledged) > 40, 30)
        cluster.servers[0].kill()
        stop.set()
        writer.join()
        cluster.restart(0)
        client = cluster.client()
        for chunk in acknowledged:
            expect(client.read(chunk, len(contents[chunk])), (OK, contents[chunk]), chunk)


def test_delete_in_this_epoch_only():
    with Cluster(1) as cluster:
        client, nameserver, node = cluster.client(), cluster.nameserver, cluster.nodes[0]
        for chunk, size in ((1, 100), (2, LARGE), (3, 100)):
            expect(client.write(chunk, bytes(size)).status, OK)
        body = struct.pack("<HQQQ", 3, 1, 2, 99)
        expect(nameserver.ask(node, DELETE, 9, 0, body).status, STALE)
        expect(client.read(1, 100)[0], OK)
        reply = nameserver.ask(node, DELETE, 1, 0, body)
        expect((reply.status, reply.arg1), (OK, 2))
        expect([client.read(c, 100)[0] for c in (1, 2, 3)], [NOT_FOUND, NOT_FOUND, OK])


def test_inventory():
    with Cluster(1) as cluster:
        client = cluster.client()
        for chunk in range(50, 0, -1):
            expect(client.write(chunk, bytes(chunk)).status, OK)
        cluster.servers[0].stop()
        cluster.nameserver.want_inventory = 1
        cluster.restart(0)
        node = cluster.nodes[0]
        expect(node.chunks, 50)
        report = wait_until(lambda: cluster.nameserver.said(INVENTORY))[0]
        refs = struct.iter_unpack("<QI", report.body[2:])
        expect((report.arg1, report.arg2, list(refs)), (0, 1, [(c, c) for c in range(1, 51)]))


def test_full_store():
    with Cluster(1, "--capacity", "64M") as cluster:
        client = cluster.client()
        chunk, status = 0, OK
        while status == OK:
            chunk += 1
            status = client.write(chunk, bytes(4 << 20)).status
            assert chunk < 20
        expect(status, NO_SPACE)
        expect(client.write(1000, bytes(4 << 20)).status, NO_SPACE)
        expect(client.read(1, 4 << 20)[0], OK)
        reply = cluster.nameserver.ask(cluster.nodes[0], DELETE, 1, 0, struct.pack("<HQQ", 2, 1, 2))
        expect(reply.arg1, 2)
        wait_until(lambda: client.write(1000, bytes(4 << 20)).status == OK)


def test_dials_the_client():
    with Cluster(1) as cluster:
        client, proof = os.urandom(16), os.urandom(16)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(5)
        port = listener.getsockname()[1]
        node = cluster.nodes[0]
        reply = cluster.nameserver.ask(node, CONNECT, 1, 0, client + proof + endpoint(port))
        expect(reply.status, OK)
        data = DataClient.__new__(DataClient)
        data.socket, data.pending, data.number, data.id = listener.accept()[0], b"", 0, client
        data.nameserver, data.node = cluster.nameserver, node
        hello = data.receive()
        expect(hello.type, HELLO)
        name = struct.unpack_from("<H", hello.body, 17)[0]
        rest = hello.body[19 + name:]
        expect((hello.body[0], rest[:16], rest[16:32], rest[48:64], rest[64]),
               (ROLE_STORAGE, node.id, client, proof, 1))
        body = b"\x03" + NONE + text("") + client + NONE + endpoint(1)
        data.send(HEADER.pack(HELLO | REPLY, 0, 0, hello.id, 1, 0, len(body), 0) + body)
        expect(data.write(1, b"active").status, OK)
        expect(data.read(1, 6), (OK, b"active"))
        listener.close()


def test_name_server_comes_back():
    with Cluster(1) as cluster:
        old, node = cluster.nameserver, cluster.nodes[0]
        client = cluster.client()
        expect(client.write(1, b"before").status, OK)
        old.close()
        assert cluster.servers[0].event("nameserver_lost")
        expect(client.write(2, b"meanwhile").status, OK)
        expect(client.read(1, 6), (OK, b"before"))
        new = FakeNameServer(cluster.nameserver.cluster, port=old.port)
        new.epoch = 2
        wait_until(lambda: node.id in new.nodes, 15)
        expect(client.write(3, b"old ticket").status, EXPIRED)
        renewed = DataClient(new, new.nodes[node.id])
        expect(renewed.write(3, b"new ticket").status, OK)
        cluster.nameserver = new
        new.close()


def test_belongs_to_one_cluster():
    with Cluster(1) as cluster:
        cluster.servers[0].stop()
        other = FakeNameServer(name="other")
        server = Storage(cluster.path, other, "store0")
        cluster.daemons.append(server)
        assert server.event("refused")
        expect(other.nodes, {})
        server.stop()
        server = Storage(cluster.path, other, "store0", ["--cluster", "other"])
        cluster.daemons.append(server)
        expect(server.wait(), 1, "exit status")
        assert "belongs to the cluster 'fake'" in server.output(), server.output()
        other.close()


def beacon_of(nameserver, counter):
    return BEACON.pack(b"MSTR", 1, 1, 128, 0, nameserver.port, 0, nameserver.cluster, nameserver.id,
                       1, 1, counter, 5000, 0, nameserver.name.encode(), NONE)


def test_beacons_lead_to_the_name_server():
    with Workspace() as work:
        first, second = FakeNameServer(name="one"), FakeNameServer(name="two")
        port = free_port(socket.SOCK_DGRAM)
        listener = BeaconListener(port)

        def start(name, *arguments):
            daemon = Daemon("muster-storage", work.path,
                            ["--data", os.path.join(work.path, name), "--interface", "lo",
                             "--beacon-port", str(port)] + list(arguments))
            work.daemons.append(daemon)
            assert daemon.event("no_nameserver")
            listener.say(beacon_of(first, start.counter))
            listener.say(beacon_of(second, start.counter))
            start.counter += 1
            return daemon
        start.counter = 1
        undecided = start("a")
        assert undecided.event("two_clusters"), undecided.output()
        expect((first.nodes, second.nodes), ({}, {}))
        undecided.stop()
        decided = start("b", "--cluster", "two")
        assert decided.event("registered")
        expect((len(first.nodes), len(second.nodes)), (0, 1))
        decided.stop()
        # It remembers where the name server was.
        again = Daemon("muster-storage", work.path,
                       ["--data", os.path.join(work.path, "b"), "--interface", "lo",
                        "--beacon-port", str(port)])
        work.daemons.append(again)
        assert again.event("registered", 2)
        listener.close()
        first.close()
        second.close()


def test_junk_harms_nobody():
    with Cluster(1) as cluster:
        port = cluster.nodes[0].ports[0]
        rng = random.Random(4711)
        for i in range(60):
            with socket.create_connection(("127.0.0.1", port), 5) as junk:
                if i % 3 == 0:
                    data = rng.randbytes(rng.randrange(1, 3000))
                elif i % 3 == 1:
                    data = HEADER.pack(rng.choice((HELLO, WRITE, READ, DATA, REGISTER)), 0, 0, 1,
                                       rng.getrandbits(64), rng.getrandbits(64), 200, 0) + bytes(200)
                else:
                    data = HEADER.pack(DATA, 1, 0, 1, 0, 1 << 20, (1 << 20) + 64, 0)
                try:
                    junk.sendall(data)
                    junk.settimeout(0.02)
                    junk.recv(1000)
                except OSError:
                    pass
        client = cluster.client()
        for i in range(40):
            _, out = client.write_frames(100 + i, bytes(rng.choice((3000, LARGE))))
            data = bytearray(b"".join(out))
            for _ in range(3):
                data[rng.randrange(min(len(data), 400))] ^= 1 << rng.randrange(8)
            try:
                client.send(data)
            except OSError:
                pass
            client.close()
            client = cluster.client()
        expect(client.write(1, b"alive").status, OK)
        expect(client.read(1, 5), (OK, b"alive"))


def test_silent_clients_block_nobody():
    with Cluster(2) as cluster:
        silent = [cluster.client() for _ in range(20)]
        for chunk, client in enumerate(silent, 100):
            client.send(b"".join(client.write_frames(chunk, bytes(LARGE), cluster.nodes[1:])[1])[:90000])
        data = os.urandom(LARGE)
        client = cluster.client()
        started = time.monotonic()
        expect(client.write(1, data, cluster.nodes[1:]).failed, 0)
        assert time.monotonic() - started < 5
        for client in silent:
            client.close()
        expect(cluster.client(1).read(1, LARGE), (OK, data))


def test_advertised_addresses():
    with Cluster(0) as cluster:
        node = cluster.add("store0", "--advertise", "192.0.2.7:4321", "--advertise", "192.0.2.8")
        hosts = [socket.inet_ntoa(e[2:6]) for e in node.endpoints]
        expect((hosts, node.ports[0]), (["192.0.2.7", "192.0.2.8"], 4321))


def test_stranger_sends_little():
    with Cluster(1) as cluster:
        port = cluster.nodes[0].ports[0]
        with socket.create_connection(("127.0.0.1", port), 10) as stranger:
            stranger.sendall(frame(PING, 1, 5) + HEADER.pack(DATA, 0, 0, 1, 0, 1 << 20, (1 << 20) + 64, 0))
            stranger.settimeout(2)
            while stranger.recv(100):
                pass


def test_stranger_is_dropped():
    with Cluster(1) as cluster:
        with socket.create_connection(("127.0.0.1", cluster.nodes[0].ports[0]), 10) as silent:
            started = time.monotonic()
            expect(silent.recv(10), b"")
            assert 4 < time.monotonic() - started < 7


def test_refuses_to_start():
    with Cluster(1) as cluster:
        def refused(*arguments):
            daemon = Daemon("muster-storage", cluster.path, list(arguments))
            cluster.daemons.append(daemon)
            status = daemon.wait()
            assert status in (1, 2), status
            lines = [l for l in daemon.output().splitlines() if l.startswith("muster-storage: ")]
            expect(len(lines), 1, daemon.output())
            return lines[0]
        base = ["--nameserver", "127.0.0.1:1", "--interface", "lo", "--data"]
        refused(*base, cluster.servers[0].data)
        foreign = os.path.join(cluster.path, "foreign")
        os.mkdir(foreign)
        open(os.path.join(foreign, "thesis.txt"), "w").close()
        refused(*base, foreign)
        assert "--port" in refused(*base, cluster.path + "/x", "--port", str(cluster.nodes[0].ports[0]))
        assert "--key" in refused(*base, cluster.path + "/x", "--key", "FILE")
        refused("--no-such-option")


def main(cases):
    tests = [(name, test) for name, test in cases.items() if name.startswith("test_") and
             (len(sys.argv) < 2 or any(word in name for word in sys.argv[1:]))]
    failed = 0
    for name, test in tests:
        started = time.monotonic()
        try:
            test()
            print("ok %s (%.1f s)" % (name, time.monotonic() - started), flush=True)
        except Exception:  # noqa: BLE001
            failed += 1
            print("not ok %s" % name)
            traceback.print_exc(file=sys.stdout)
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(globals()))
