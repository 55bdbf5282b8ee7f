#!/usr/bin/env python3
"""muster-storage when something gives way: its disk, its descriptors, a peer, itself.

    test_storage_faults.py [NAME ...]     only the tests whose names contain one of these
"""
import os
import resource
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_fake import *  # noqa: E402,F403
from test_storage import LARGE, Cluster, check_receipt, expect, main  # noqa: E402

DISK_FAILED = 1


def limit(server, what, value):
    hard = resource.prlimit(server.process.pid, what)[1]
    resource.prlimit(server.process.pid, what, (value, hard))


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def heartbeat_flags(cluster):
    said = cluster.nameserver.said(HEARTBEAT)
    return said[-1].body[12] if said else 0


def heartbeat_load(request):
    return struct.unpack_from("<I", request.body, 8)[0]


def test_failed_disk_still_reads():
    with Cluster(1) as cluster:
        client, server = cluster.client(), cluster.servers[0]
        contents = {1: os.urandom(5000), 2: os.urandom(LARGE)}
        for chunk, data in contents.items():
            expect(client.write(chunk, data).status, OK)
        limit(server, resource.RLIMIT_FSIZE, 0)
        assert client.write(3, bytes(LARGE)).status != OK
        assert client.write(4, bytes(5000)).status != OK
        assert client.write(5, bytes(5000)).status != OK
        for chunk, data in contents.items():
            expect(client.read(chunk, len(data)), (OK, data), chunk)
        wait_until(lambda: heartbeat_flags(cluster) & DISK_FAILED)
        limit(server, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        assert client.write(6, bytes(5000)).status != OK, "a failed disk does not mend itself"
        server.stop()
        cluster.restart(0)
        client = cluster.client()
        for chunk, data in contents.items():
            expect(client.read(chunk, len(data)), (OK, data), chunk)
        expect(client.write(4, bytes(5000)).status, OK)


def test_no_descriptors_left():
    with Cluster(1) as cluster:
        client, server = cluster.client(), cluster.servers[0]
        data = os.urandom(LARGE)
        expect(client.write(1, data).status, OK)
        expect(client.write(10, b"opens the segment").status, OK)
        before = descriptors(server)
        limit(server, resource.RLIMIT_NOFILE, before + 8)
        port = cluster.nodes[0].ports[0]
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        wait_until(lambda: descriptors(server) >= before + 8)
        assert client.write(2, data).status != OK
        expect(client.write(3, b"small").status, OK)
        expect(client.read(3, 5), (OK, b"small"))
        assert client.read(1, LARGE)[0] != OK
        for stranger in strangers:
            stranger.close()
        wait_until(lambda: descriptors(server) <= before + 1)
        expect(client.write(2, data).status, OK)
        expect(cluster.client().read(1, LARGE), (OK, data), "the copy was not called bad")
        expect(cluster.nameserver.said(CORRUPT_REPORT), [])


def test_nothing_leaks():
    with Cluster(2, "--capacity", "400M") as cluster:
        client = cluster.client()
        expect(client.write(1, bytes(LARGE), cluster.nodes[1:]).failed, 0)
        before = [descriptors(server) for server in cluster.servers]
        for chunk in range(100, 130):
            broken = cluster.client()
            out = b"".join(broken.write_frames(chunk, bytes(LARGE), cluster.nodes[1:])[1])
            broken.send(out[:chunk % 5 * (1 << 20) + 500])
            if chunk % 3 == 0:
                ticket = cluster.nameserver.ticket(broken.node, 1, broken.id, TICKET_READ, LARGE)
                reader = DataClient(cluster.nameserver, cluster.nodes[0], client=broken.id)
                reader.send(frame(READ, 1, 0, LARGE, ticket) * 3)
                reader.close()
            broken.close()
        for server, count in zip(cluster.servers, before):
            wait_until(lambda: descriptors(server) <= count + 8)
        for i in range(2):
            wait_until(lambda: all(not name.endswith(".new") for _, _, names in
                                   os.walk(cluster.servers[i].data + "/big") for name in names))
        chunk = 1000
        while client.write(chunk, bytes(16 << 20)).status == OK:
            chunk += 1
        assert chunk - 1000 > 18, "reserved space came back: %d" % (chunk - 1000)


def test_delete_while_it_is_read_and_written():
    with Cluster(1) as cluster:
        client, node = cluster.client(), cluster.nodes[0]
        data = os.urandom(16 << 20)
        expect(client.write(1, data).status, OK)
        reader = cluster.client()
        ticket = cluster.nameserver.ticket(node, 1, reader.id, TICKET_READ, len(data))
        reader.send(frame(READ, 1, 0, len(data), ticket))
        number, out = client.write_frames(2, data)
        client.send(b"".join(out[:3]))
        wait_until(lambda: any(name.endswith(".new") for _, _, names in
                               os.walk(cluster.servers[0].data + "/big") for name in names))
        order = struct.pack("<HQQ", 2, 1, 2)
        expect(cluster.nameserver.ask(node, DELETE, 1, 0, order).arg1, 2)
        got = b""
        while len(got) < len(data):
            reply = reader.receive()
            got += reply.body[(reply.arg2 + BLOCK - 1) // BLOCK * 4:]
        expect(got == data, True, "what was read")
        client.send(b"".join(out[3:]))
        expect(client.answer(number).status, EXPIRED)
        expect([client.read(c, len(data))[0] for c in (1, 2)], [NOT_FOUND, NOT_FOUND])


def test_stops_amid_transfers():
    with Cluster(2) as cluster:
        data = os.urandom(16 << 20)
        expect(cluster.client().write(1, data, cluster.nodes[1:]).failed, 0)
        clients = [cluster.client() for _ in range(12)]
        for chunk, client in enumerate(clients, 10):
            if chunk % 2:
                ticket = cluster.nameserver.ticket(client.node, 1, client.id, TICKET_READ, len(data))
                client.send(frame(READ, 1, 0, len(data), ticket))
            else:
                client.send(b"".join(client.write_frames(chunk, data, cluster.nodes[1:])[1][:4]))
        started = time.monotonic()
        expect(cluster.servers[0].stop(), 0, "exit status")
        assert time.monotonic() - started < 5
        expect(cluster.servers[1].stop(), 0, "exit status of the hop")
        for i in range(2):
            cluster.restart(i)
            expect(cluster.client(i).read(1, len(data)), (OK, data))


def test_new_key_amid_a_transfer():
    with Cluster(1) as cluster:
        client, old = cluster.client(), cluster.nodes[0]
        for chunk, size in ((1, 5000), (2, LARGE)):
            before = cluster.nameserver.nodes[old.id]
            data = os.urandom(size)
            number, out = client.write_frames(chunk, data)
            client.send(out[0] + out[1][:1000])
            cluster.nameserver.connections[old.id].socket.shutdown(socket.SHUT_RDWR)
            node = wait_until(lambda: cluster.nameserver.nodes[old.id] is not before and
                              cluster.nameserver.nodes[old.id])
            client.send(out[1][1000:] + b"".join(out[2:]))
            answer = client.answer(number)
            expect(answer.status, OK)
            check_receipt(node, answer.receipts[0], chunk, size)
            client.node = node


def test_newer_sender_wins():
    """A sender that stopped in the middle does not keep its chunk from who sends it again."""
    with Cluster(1) as cluster:
        for chunk, size in ((1, 5000), (2, LARGE), (3, 5 << 20)):
            data = os.urandom(size)
            stopped, other = cluster.client(), cluster.client()
            _, out = stopped.write_frames(chunk, data)
            before = len(cluster.nameserver.said(HEARTBEAT))
            stopped.send(b"".join(out)[:-1000])
            wait_until(lambda: any(heartbeat_load(request) for request in
                                   cluster.nameserver.said(HEARTBEAT)[before:]))
            wait_until(lambda: other.write(chunk, data).status == OK, 3)
            expect(other.read(chunk, size), (OK, data), chunk)
            assert stopped.receive() is None, "the older connection is closed"


def cool(server):
    """Nothing of what is stored is in the page cache any more."""
    for directory, _, names in os.walk(server.data):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_by_loop(server):
    """Bytes that the loop's thread has got out of files."""
    pid = server.process.pid
    with open("/proc/%d/task/%d/io" % (pid, pid)) as file:
        return int(next(line for line in file if line.startswith("rchar")).split()[1])


def tells_what_is_cached(directory):
    try:
        with open(os.path.join(directory, "superblock"), "rb") as file:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def test_the_loop_waits_for_no_disk():
    """READs of what is not in the page cache: right bytes, in whatever size, and by a worker."""
    with Cluster(1) as cluster:
        client, server = cluster.client(), cluster.servers[0]
        contents = {chunk: os.urandom(size) for chunk, size in
                    enumerate((100, BLOCK, 300001, (1 << 20) - 1, 1 << 20, LARGE), 1)}
        for chunk, data in contents.items():
            expect(client.write(chunk, data).status, OK)
        before = read_by_loop(server)
        for chunk, data in contents.items():
            cool(server)
            expect(client.read(chunk, len(data)), (OK, data), len(data))
            cool(server)
            expect(client.read(chunk, len(data), 0, min(len(data), BLOCK)), (OK, data[:BLOCK]))
        cold = read_by_loop(server) - before
        if tells_what_is_cached(server.data):
            assert cold < 200000, cold
        expect(client.read(4, len(contents[4])), (OK, contents[4]))
        expect(client.read(4, len(contents[4])), (OK, contents[4]))
        assert read_by_loop(server) - before - cold >= len(contents[4]), "what is cached, at once"


def test_a_reader_leaves_a_worker_behind():
    with Cluster(1) as cluster:
        data = os.urandom(900000)
        expect(cluster.client().write(1, data).status, OK)
        for _ in range(50):
            cool(cluster.servers[0])
            client = cluster.client()
            client.number += 1
            ticket = cluster.nameserver.ticket(client.node, 1, client.id, TICKET_READ, len(data))
            client.send(20 * frame(READ, client.number, 0, len(data), ticket))
            client.close()
        expect(cluster.client().read(1, len(data)), (OK, data))
        expect(cluster.servers[0].stop(), 0, "exit status")


def test_damage_that_a_worker_finds():
    """A header, a file that is too short: the reader hears of it, and the name server."""
    with Cluster(1) as cluster:
        client, server = cluster.client(), cluster.servers[0]
        for chunk in (1, 2):
            expect(client.write(chunk, os.urandom(LARGE)).status, OK)
        big = {int(name, 16): os.path.join(directory, name)
               for directory, _, names in os.walk(os.path.join(server.data, "big"))
               for name in names}
        with open(big[1], "r+b") as file:
            file.seek(20)
            file.write(b"x")
        os.truncate(big[2], 8192)
        for chunk in big:
            fd = os.open(big[chunk], os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        cool(server)
        for chunk in (1, 2):
            expect(client.read(chunk, LARGE, 0, BLOCK)[0], CORRUPT)
            expect(client.read(chunk, LARGE, 0, BLOCK)[0], NOT_FOUND)
        wait_until(lambda: len(cluster.nameserver.said(CORRUPT_REPORT)) >= 2)


if __name__ == "__main__":
    sys.exit(main(globals()))
