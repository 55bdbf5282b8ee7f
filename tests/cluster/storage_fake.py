"""A name server that only signs tickets, and a client that only moves chunks: what it takes to test
storage servers by themselves."""
import ctypes
import hashlib
import hmac
import os
import socket
import struct
import threading

from muster_proc import *  # noqa: F403

REGISTER, INVENTORY, HEARTBEAT, STORED, CORRUPT_REPORT = 0x40, 0x41, 0x42, 0x43, 0x44
GOODBYE, BUCKETS = 0x45, 0x46
PULL = 0x57
CONNECT, DELETE, READ, WRITE, DATA = 0x50, 0x51, 0x60, 0x61, 0x62
INSPECT, FETCH = 0x52, 0x53
NO_SPACE, STALE, DENIED, UNAVAILABLE, WRONG_NODE = 8, 10, 11, 15, 18
EXPIRED, CORRUPT, BUSY, RANGE = 20, 21, 26, 27
LAST, ABORT, MORE = 1, 2, 4
BLOCK, PAYLOAD_MAX = 64 << 10, 1 << 20
TICKET_READ, TICKET_WRITE = 1, 2

isal = ctypes.CDLL("libisal.so.2")
isal.crc32_iscsi.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint]
isal.crc32_iscsi.restype = ctypes.c_uint


def crc(data):
    return isal.crc32_iscsi(data, len(data), 0xffffffff) ^ 0xffffffff


def crcs(data):
    return b"".join(struct.pack("<I", crc(data[at:at + BLOCK])) for at in range(0, len(data), BLOCK))


def endpoint(port, address="127.0.0.1", flags=5):
    return struct.pack("<BB", 4, flags) + socket.inet_aton(address) + bytes(12) + struct.pack("<H", port)


def receipt_parse(data):
    chunk, length = struct.unpack_from("<QQ", data)
    return {"chunk": chunk, "length": length, "digest": data[16:32],
            "epoch": struct.unpack_from("<Q", data, 32)[0], "holder": data[40:56],
            "signed": data[:56], "tag": data[56:72]}


class Node:
    """What the name server knows of a storage server."""

    def __init__(self, request):
        body = request.body
        self.capacity, self.free = request.arg1, request.arg2
        self.used, self.chunks, self.start, _ = struct.unpack_from("<QQQQ", body)
        self.disk = body[32:48]
        at = 48
        texts = []
        for _ in range(3):
            size = struct.unpack_from("<H", body, at)[0]
            texts.append(body[at + 2:at + 2 + size].decode())
            at += 2 + size
        self.name, self.zone, self.version = texts
        count = struct.unpack_from("<H", body, at)[0]
        at += 2
        self.endpoints = [body[at + 20 * i:at + 20 * i + 20] for i in range(count)]
        self.ports = [struct.unpack_from("<H", e, 18)[0] for e in self.endpoints]
        self.inventory = body[at + 20 * count:]
        self.key = os.urandom(32)
        self.id = None

    def sign(self, data):
        return hmac.new(self.key, data, hashlib.sha256).digest()[:16]


class FakeNameServer:
    """Registers whoever comes; remembers what it is told."""

    def __init__(self, cluster=None, name="fake", port=0):
        self.cluster, self.name = cluster or os.urandom(16), name
        self.id = os.urandom(16)
        self.epoch = 1
        self.nodes, self.reports, self.connections = {}, [], {}
        self.want_inventory = 0
        self.replies = {}
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.number = 1000
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        for one in [self.listener] + [c.socket for c in self.connections.values()]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()

    def accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(accepted,), daemon=True).start()

    def serve(self, accepted):
        connection = Connection.__new__(Connection)
        connection.socket, connection.pending, connection.number = accepted, b"", 0
        node = None
        try:
            while True:
                request = connection.receive()
                if request is None:
                    return
                if request.is_reply:
                    self.replies[request.id] = request
                    continue
                arg1, arg2, body = 0, 0, b""
                if request.type == HELLO:
                    name_size = struct.unpack_from("<H", request.body, 17)[0]
                    node = request.body[19 + name_size:35 + name_size]
                    peer = accepted.getpeername()[1]
                    arg1, arg2 = 1, self.epoch
                    body = (b"\x01" + self.cluster + text(self.name) + self.id + NONE +
                            endpoint(peer))
                elif request.type == REGISTER:
                    entry = Node(request)
                    entry.id = node
                    arg1, arg2 = self.epoch, 500
                    body = entry.key + struct.pack("<BQI", self.want_inventory, 1, 0)
                    self.connections[node] = connection
                elif request.type == HEARTBEAT:
                    arg1, arg2, body = self.epoch, 1, b"\0"
                elif request.type == BUCKETS:
                    body = struct.pack("<I", 512) + b"\xff" * 512  # all of them differ
                elif request.type == GOODBYE:
                    self.reports.append((request.type, node, request))
                    accepted.shutdown(socket.SHUT_RDWR)
                    return
                elif request.type == PULL:
                    body = struct.pack("<BII", 2, 0, 0)  # nothing newer is here
                accepted.sendall(HEADER.pack(request.type | REPLY, 0, 0, request.id, arg1, arg2,
                                             len(body), 0) + body)
                if request.type == REGISTER:
                    self.nodes[node] = entry
                self.reports.append((request.type, node, request))
        except OSError:
            pass

    def order(self, node, kind, arg1=0, arg2=0, body=b""):
        """An order for a storage server; its reply will be in `replies` under the number returned."""
        self.number += 1
        number = self.number
        self.connections[node.id].socket.sendall(frame(kind, number, arg1, arg2, body))
        return number

    def ask(self, *order):
        """The same, and returns its reply."""
        number = self.order(*order)
        return wait_until(lambda: self.replies.get(number))

    def fetch_order(self, node, source, receipt, **other):
        """Arguments for `order`: that `node` shall get the chunk of that receipt from `source`."""
        chunk, length = receipt["chunk"], receipt["length"]
        body = struct.pack("<QI", chunk, length) + receipt["digest"]
        body += self.ticket(source, chunk, node.id, TICKET_READ, length, **other)
        body += struct.pack("<H", len(source.endpoints)) + b"".join(source.endpoints)
        return node, FETCH, self.epoch, 0, body

    def fetch(self, node, source, receipt, **other):
        """(status, the new receipt or None)"""
        reply = self.ask(*self.fetch_order(node, source, receipt, **other))
        return reply.status, receipt_parse(reply.body) if reply.status == OK else None

    def inspect_order(self, node, receipts):
        body = struct.pack("<H", len(receipts))
        for receipt in receipts:
            body += struct.pack("<QI", receipt["chunk"], receipt["length"]) + receipt["digest"]
        return node, INSPECT, 0, 0, body

    @staticmethod
    def findings(reply):
        """[(chunk, status, digest)]"""
        count = struct.unpack_from("<H", reply.body)[0]
        return [struct.unpack_from("<QB16s", reply.body, 2 + 25 * i) for i in range(count)]

    def inspect(self, node, receipts):
        return self.findings(self.ask(*self.inspect_order(node, receipts)))

    def ticket(self, node, chunk, client, operation=TICKET_WRITE, length=16 << 20, **other):
        data = (struct.pack("<BQQQI", operation, chunk, length, other.get("epoch", self.epoch),
                            other.get("expiry", 600)) + other.get("holder", node.id) + client)
        return data + node.sign(data)

    def said(self, kind):
        return [request for code, _, request in self.reports if code == kind]


class Answer:
    """All replies to one WRITE."""

    def __init__(self):
        self.receipts, self.status, self.failed, self.dead = [], 0, 0, NONE


class DataClient(Connection):
    """Moves chunks over one data connection."""

    def __init__(self, nameserver, node, lane=0, client=None, **how):
        super().__init__(node.ports[0], **how)
        self.nameserver, self.node = nameserver, node
        if client:
            self.id = client
        self.status = self.hello().status

    def write_frames(self, chunk, data, hops=(), broken=None, **other):
        """WRITE and its DATA; returns the request's id."""
        self.number += 1
        ticket = other.pop("ticket", None)
        ticket = ticket or self.nameserver.ticket(self.node, chunk, self.id, **other)
        body = ticket + struct.pack("<H", len(hops))
        for hop in hops:
            body += self.nameserver.ticket(hop, chunk, self.id)
            body += struct.pack("<H", len(hop.endpoints)) + b"".join(hop.endpoints)
        out = [frame(WRITE, self.number, len(data), 0, body)]
        for at in range(0, len(data), PAYLOAD_MAX):
            piece = data[at:at + PAYLOAD_MAX]
            sums = crcs(piece)
            if broken is not None and at <= broken < at + len(piece):
                place = broken - at
                piece = piece[:place] + bytes([piece[place] ^ 1]) + piece[place + 1:]
            last = LAST if at + len(piece) == len(data) else 0
            out.append(HEADER.pack(DATA, last, 0, self.number, at, len(piece),
                                   len(sums) + len(piece), 0) + sums + piece)
        return self.number, out

    def answer(self, number):
        answer = Answer()
        while True:
            reply = self.receive()
            assert reply is not None, "the connection was closed"
            if not reply.is_reply or reply.id != number:
                continue
            answer.status = reply.status
            if reply.status == OK:
                count = struct.unpack_from("<H", reply.body, 16)[0]
                answer.receipts += [receipt_parse(reply.body[18 + 72 * i:]) for i in range(count)]
                answer.failed, answer.dead = reply.arg1, reply.body[:16]
            if not reply.flags & MORE:
                return answer

    def write(self, chunk, data, hops=(), **other):
        number, out = self.write_frames(chunk, data, hops, **other)
        self.send(b"".join(out))
        return self.answer(number)

    def read(self, chunk, length, offset=0, count=None, **other):
        """(status, bytes); each block's crc is checked."""
        self.number += 1
        ticket = self.nameserver.ticket(self.node, chunk, self.id, TICKET_READ, length, **other)
        self.send(frame(READ, self.number, offset, count or length - offset, ticket))
        data = b""
        while True:
            reply = self.receive()
            assert reply is not None, "the connection was closed"
            if reply.id != self.number or reply.is_reply != (reply.type == READ):
                continue
            if reply.type == READ:
                return reply.status, data
            blocks = (reply.arg2 + BLOCK - 1) // BLOCK * 4
            payload = reply.body[blocks:]
            assert reply.arg1 == offset + len(data), reply.arg1
            assert crcs(payload) == reply.body[:blocks], "crc"
            data += payload
            if reply.flags & LAST:
                return OK, data


class Storage(Daemon):
    def __init__(self, directory, nameserver, name="store", arguments=()):
        self.data = os.path.join(directory, name)
        super().__init__("muster-storage", directory,
                         ["--data", self.data, "--nameserver", "127.0.0.1:%d" % nameserver.port,
                          "--interface", "lo", "--log-level", "debug"] + list(arguments))
        self.nameserver = nameserver
        self.before = set(nameserver.nodes)

    def registered(self, node=None):
        """Waits for it; `node`: what it was before a restart."""
        nodes = self.nameserver.nodes
        if node is None:
            new = wait_until(lambda: set(nodes) - self.before)
            return nodes[new.pop()]

        def again():
            assert self.process.poll() is None, "ended: %s" % self.process.poll()
            return nodes[node.id] is not node and nodes[node.id]
        return wait_until(again)
