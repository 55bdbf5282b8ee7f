"""Daemons as processes, and just enough of the protocol to talk to them.

Every daemon gets a temporary directory, a free port, a cluster name of its own and the loopback
interface only; what was started is ended, by its process id.
"""
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD_DIR", os.path.join(ROOT, "build", "release"))
NONE = bytes(16)
HEADER = struct.Struct("<HBBIQQII")
REPLY = 0x8000

HELLO, PING, STAT, LIST, MKDIR, REMOVE, CREATE, STATUS = 1, 2, 0x10, 0x11, 0x12, 0x13, 0x14, 0x31
OK, NOT_FOUND, EXISTS, BAD_REQUEST, UNSUPPORTED, TOO_LARGE = 0, 1, 2, 12, 13, 14
WRONG_CLUSTER, WRONG_VERSION = 16, 17
ROLE_STORAGE, ROLE_CLIENT = 2, 3


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("nothing came of it in %.0f s" % seconds)


class Daemon:
    """A program of the build with its output in a file."""

    def __init__(self, program, directory, arguments=(), limits=None, environment=None,
                 before=()):
        self.program = program
        self.directory = directory
        self.log = os.path.join(directory, "%s-%d.log" % (program, time.monotonic_ns()))

        def prepare():
            for which, value in (limits or {}).items():
                resource.setrlimit(which, (value, value))

        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*before, os.path.join(BUILD, program), *arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=prepare if limits else None,
                restore_signals=not limits,
                env=dict(os.environ, **(environment or {})))

    def output(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def event(self, name, seconds=10.0):
        """The first line of the log with that event, waited for; None: the daemon ended instead."""
        def found():
            for line in self.output().splitlines():
                if (" " + name + " ") in (line + " "):
                    return line
            return "" if self.process.poll() is None else "ended"

        line = wait_until(found, seconds)
        return None if line == "ended" else line

    def stop(self, seconds=10.0):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds=10.0):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end" % self.program)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class NameServer(Daemon):
    def __init__(self, directory, arguments=(), name=None, **how):
        self.cluster = name or "test-%d" % os.getpid()
        self.data = os.path.join(directory, "ns")
        self.beacon_port = how.pop("beacon_port", None) or free_port(socket.SOCK_DGRAM)
        super().__init__("muster-nameserver", directory,
                         ["--data", self.data, "--cluster", self.cluster, "--interface",
                          how.pop("interface", "lo"), "--port", "0", "--beacon-port", str(self.beacon_port)] + list(arguments),
                         **how)
        self.port = None

    def started(self, seconds=10.0):
        line = self.event("started", seconds)
        assert line, self.output()
        self.port = int(line.split(" port=")[1].split()[0])
        return self

    def connect(self, **how):
        connection = Connection(self.port)
        reply = connection.hello(**how)
        assert reply.status == OK, reply.status
        return connection


class Reply:
    def __init__(self, header, body):
        kind, self.flags, self.status, self.id, self.arg1, self.arg2, _, self.padding = header
        self.type, self.is_reply = kind & ~REPLY, bool(kind & REPLY)
        self.body = body


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(value)) + value


def frame(kind, number, arg1=0, arg2=0, body=b""):
    return HEADER.pack(kind, 0, 0, number, arg1, arg2, len(body), 0) + body


class Connection:
    """A blocking connection; replies are taken in the order in which they come."""

    def __init__(self, port, address="127.0.0.1", timeout=10.0):
        self.socket = socket.create_connection((address, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0
        self.operation = 0
        self.pending = b""
        self.id = os.urandom(16)

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next frame; None at the end of the stream."""
        while True:
            if len(self.pending) >= HEADER.size:
                header = HEADER.unpack_from(self.pending)
                size = HEADER.size + header[6]
                if len(self.pending) >= size:
                    body, self.pending = self.pending[HEADER.size:size], self.pending[size:]
                    return Reply(header, body)
            try:
                more = self.socket.recv(1 << 18)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self.pending += more

    def request(self, kind, arg1=0, arg2=0, body=b""):
        """Sends, and returns the request's id."""
        self.number += 1
        self.send(frame(kind, self.number, arg1, arg2, body))
        return self.number

    def ask(self, kind, arg1=0, arg2=0, body=b""):
        number = self.request(kind, arg1, arg2, body)
        while True:
            reply = self.receive()
            assert reply is not None, "the connection was closed"
            if reply.is_reply and reply.id == number:
                return reply

    def hello(self, role=ROLE_CLIENT, cluster=NONE, name="", versions=1 << 16 | 1, expected=NONE):
        body = (struct.pack("<B", role) + cluster + text(name) + self.id + expected + NONE + NONE +
                b"\0")
        reply = self.ask(HELLO, versions, 0, body)
        if reply.status == OK:
            self.cluster = reply.body[1:17]
            size = struct.unpack_from("<H", reply.body, 17)[0]
            self.cluster_name = reply.body[19:19 + size].decode()
            self.server = reply.body[19 + size:35 + size]
            self.epoch = reply.arg2
        return reply

    def change(self, kind, body):
        self.operation += 1
        return self.ask(kind, self.operation, self.operation, body)

    def mkdir(self, path, flags=0):
        return self.change(MKDIR, struct.pack("<B", flags) + text(path)).status

    def create(self, path):
        return self.change(CREATE, text(path)).status

    def stat(self, path):
        return self.ask(STAT, 0, 0, text(path)).status


BEACON = struct.Struct("<4sBBHIHH16s16sQQQII32s16s")


class Beacon:
    def __init__(self, data, when):
        (self.magic, self.version, self.kind, self.length, self.key, self.port, _, self.cluster,
         self.server, self.epoch, self.start, self.counter, self.interval_ms, _, name,
         self.tag) = BEACON.unpack(data)
        self.name = name.rstrip(b"\0").decode()
        self.when = when


def probe(name="", cluster=NONE, kind=2, version=1):
    return BEACON.pack(b"MSTR", version, kind, 128, 0, 0, 0, cluster, NONE, 0, 0, 1, 0, 0,
                       name.encode(), NONE)


class BeaconListener:
    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.bind(("", port))
        self.port = port

    def close(self):
        self.socket.close()

    def next(self, seconds):
        """The next beacon of a name server that serves, or None."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(2048)
            except socket.timeout:
                return None
            if len(data) == BEACON.size and data[:4] == b"MSTR" and data[5] == 1:
                return Beacon(data, time.monotonic())

    def say(self, data):
        self.socket.sendto(data, ("127.255.255.255", self.port))


class Workspace:
    """A temporary directory and the daemons in it, for `with`."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="muster-")
        self.daemons = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for daemon in self.daemons:
            daemon.kill()
        shutil.rmtree(self.path, ignore_errors=True)

    def nameserver(self, *arguments, wait=True, **how):
        daemon = NameServer(self.path, arguments, **how)
        self.daemons.append(daemon)
        return daemon.started() if wait else daemon
