"""A whole cluster of real processes, its clients, and what the kernel knows of their connections."""
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from muster_proc import BUILD, Daemon, free_port, wait_until

MUSTER = os.path.join(BUILD, "muster")
KIB, MIB = 1 << 10, 1 << 20
DONE, FAILED, USAGE, NO_NAMESERVER = 0, 1, 2, 3
LIMIT_S = 60
CLIENT_PORTS = 40  # for each cluster, so that clusters do not meet

_blob = None
_blob_lock = threading.Lock()
_ports = iter(range(12000 + int(os.environ.get("TEST_LANE", 0)) * 10000 + os.getpid() % 100 * 80,
                    32000, CLIENT_PORTS))


_undo = {}  # what must not outlive us, whatever happens: key -> function
_stopping = threading.Event()
_workers = []
STOP_S = 3.0  # for the cases to end by themselves after a signal


def go_on():
    """Nothing new is begun once we have been told to stop."""
    if _stopping.is_set():
        raise Skip("told to stop")


def undo_later(key, function):
    _undo[key] = function
    go_on()


def undo(key):
    function = _undo.pop(key, None)
    if function:
        function()


def _undo_all():
    for key in list(_undo):
        undo(key)


def _on_signal(*_):
    """The cases run into the end of their processes, and clean up; then we do, after them."""
    _stopping.set()
    for cluster in [key for key in list(_undo) if isinstance(key, Workspace)]:
        end_all(cluster)
    end = time.monotonic() + STOP_S
    for worker in _workers:
        worker.join(max(0.0, end - time.monotonic()))
    _undo_all()
    os._exit(1)


class Skip(Exception):
    """Why a case cannot run here."""


def content(size, seed=0):
    """`size` random bytes; equal for equal seeds."""
    global _blob
    with _blob_lock:
        if _blob is None:
            _blob = random.Random(1).randbytes(4 * MIB)
    head = random.Random(seed).randbytes(min(size, 4096))
    rest = bytearray()
    at = seed * 7919 % (MIB)
    while len(rest) < size - len(head):
        rest += _blob[at:at + size - len(head) - len(rest)]
        at = (at + 4099) % MIB
    return head + bytes(rest)


def expect(value, wanted, what=""):
    if value != wanted:
        raise AssertionError("%s: %r, not %r" % (what, value, wanted))


class Result:
    def __init__(self, status, out, err, took):
        self.status, self.out, self.err, self.took = status, out, os.fsdecode(err), took

    def json(self):
        return json.loads(self.out)

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return "status %d after %.2f s, out %r, err %r" % (self.status, self.took, self.out[:300],
                                                           self.err[:500])


def sockets(pid, state=None):
    """A process' TCP sockets: {(local port, remote port): bytes not yet sent}; ports in host order."""
    inodes = set()
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                link = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except OSError:
                continue
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
        with open("/proc/%d/net/tcp" % pid) as table:
            rows = [line.split() for line in table.readlines()[1:]]
    except OSError:
        return {}
    return {(int(row[1].split(":")[1], 16), int(row[2].split(":")[1], 16)):
            int(row[4].split(":")[0], 16)
            for row in rows if row[9] in inodes and (state is None or row[3] == state)}


ESTABLISHED, LISTENING = "01", "0A"


def listening(pid):
    return sorted(local for local, _ in sockets(pid, LISTENING))


def plain_environment(home):
    """Nobody's settings and state but those below `home`."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("MUSTER_")}
    environment.update(XDG_STATE_HOME=home + "/state", XDG_CONFIG_HOME=home + "/config", HOME=home,
                       LC_ALL="C.UTF-8", TZ="UTC")
    return environment


def end_all(cluster):
    """Kills what it started; each by its process id."""
    for process in cluster.processes + [daemon.process for daemon in cluster.daemons]:
        if process.poll() is None:
            process.kill()
        process.wait()


class Workspace:
    """What has processes and daemons."""


class Clients:
    """Runs `muster`. Who inherits has path, environment, processes and words()."""

    def open(self, *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        go_on()
        process = subprocess.Popen(self.words(words, False), stdin=stdin, stdout=stdout,
                                   stderr=subprocess.PIPE, env=self.environment, cwd=self.path)
        self.processes.append(process)
        return process

    def muster(self, *words, stdin=None, json_=False, limit=LIMIT_S):
        go_on()
        began = time.monotonic()
        done = subprocess.run(self.words(words, json_), input=stdin if stdin is not None else b"",
                              env=self.environment, cwd=self.path, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=limit, check=False)
        return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def ok(self, *words, **how):
        result = self.muster(*words, **how)
        assert result.status == DONE, (words, result)
        return result

    def fails(self, pattern, *words, status=FAILED, **how):
        """One error line that looks like this."""
        result = self.muster(*words, **how)
        expect(result.status, status, (words, result))
        assert result.err.startswith("muster: ") and result.err.count("\n") == 1, (words, result)
        assert re.search(pattern, result.err), (pattern, words, result)
        return result

    def put(self, path, data, *options):
        """Returns how many copies it says there are."""
        result = self.ok("put", *options, "-", path, stdin=data, json_=True).json()
        expect(result["size"], len(data), "size")
        return result["copies"]

    def check(self, path, data):
        result = self.ok("get", path, "-")
        if result.out != data:
            at = next((i for i, (a, b) in enumerate(zip(result.out, data)) if a != b), "the end")
            raise AssertionError("%s: %d bytes, not the %d wanted; differ at %s" %
                                 (path, len(result.out), len(data), at))

    def names(self, path="/"):
        return {row["name"]: row for row in self.ok("ls", "-l", path, json_=True).lines()}

    def nodes(self):
        return self.ok("nodes", json_=True).lines()

    def wait_online(self, count, seconds=20.0):
        def online():
            result = self.muster("status", json_=True)
            return result.status == DONE and result.json()["nodes_online"] == count
        self.wait_until(online, seconds, 0.05)

    def wait_set(self, count, seconds=20.0):
        """So many storage servers decide with the name server; what made them so is over."""
        def level():
            result = self.muster("status", json_=True)
            status = result.json() if result.status == DONE else {}
            return (status.get("journal_set"), status.get("journal_up")) == (count, count)
        self.wait_until(level, seconds)
        self.ok("mkdir", "-p", "/.set")
        self.ok("rm", "-r", "/.set")

    def wait_until(self, condition, seconds=20.0, pause=0.1):
        end = time.monotonic() + seconds
        while not condition():
            go_on()
            assert time.monotonic() < end, "nothing came of it in %.0f s" % seconds
            time.sleep(pause)


class Cluster(Workspace, Clients):
    """One name server and some storage servers on loopback; everything is gone after `with`."""

    def __init__(self, count=3, ns=(), storage=(), client_ports=None):
        self.path = tempfile.mkdtemp(prefix="muster-cluster-")
        self.name = "t%d-%s" % (os.getpid(), os.path.basename(self.path)[-8:])
        self.beacon_port = free_port(socket.SOCK_DGRAM)
        first = next(_ports)
        self.client_ports = client_ports or "%d-%d" % (first, first + CLIENT_PORTS - 1)
        self.ns_arguments, self.storage_arguments = list(ns), list(storage)
        self.daemons, self.processes, self.mounts = [], [], []
        self.port = None
        self.count, self.storages, self.nameserver = count, [], None
        self.environment = plain_environment(self.path)
        undo_later(self, self.destroy)

    def __enter__(self):
        try:
            self.nameserver_start()
            for _ in range(self.count):
                self.storage_add()
            self.wait_online(self.count)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        end_all(self)
        if kind and not issubclass(kind, Skip):
            self.show_logs()
        undo(self)

    def destroy(self):
        end_all(self)
        for mount in self.mounts:
            undo(mount)
        shutil.rmtree(self.path, ignore_errors=True)

    def show_logs(self):
        text = []
        for daemon in self.daemons:
            lines = daemon.output().splitlines()
            text += ["# %s: %s" % (os.path.basename(daemon.log), line) for line in lines[-12:]]
        print("\n".join(text), flush=True)

    # ---- servers

    def daemon(self, program, *arguments):
        go_on()
        daemon = Daemon(program, self.path, arguments, environment=self.environment)
        self.daemons.append(daemon)
        return daemon

    def nameserver_begin(self, port=None):
        """Without waiting until it serves."""
        self.nameserver = self.daemon(
            "muster-nameserver", "--data", self.path + "/ns", "--cluster", self.name, "--interface",
            "lo", "--port", str(port or self.port or 0), "--beacon-port", str(self.beacon_port),
            "--client-ports", self.client_ports, *self.ns_arguments)

    def nameserver_start(self, port=None, seconds=10.0):
        self.nameserver_begin(port)
        line = self.nameserver.event("started", seconds)
        assert line, self.nameserver.output()
        self.port = int(line.split(" port=")[1].split()[0])

    def storage_data(self, i):
        return "%s/store%d" % (self.path, i)

    def storage_start(self, i, *arguments):
        daemon = self.daemon("muster-storage", "--data", self.storage_data(i), "--interface", "lo",
                             "--port", "0", "--beacon-port", str(self.beacon_port), "--cluster",
                             self.name, *self.storage_arguments, *arguments)
        self.storages[i:i + 1] = [daemon]
        return daemon

    def storage_add(self, *arguments):
        return self.storage_start(len(self.storages), *arguments)

    def tmpfs(self, name, size):
        """A file system of its own; needs root."""
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs", path],
                              stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Skip("no mounting here: " + done.stderr.decode().strip())
        undo_later(path, lambda: subprocess.run(["umount", "-l", path], check=False))
        self.mounts.append(path)
        return path

    # ---- clients

    def words(self, words, json_):
        return [MUSTER, "-n", "127.0.0.1:%d" % self.port, "--interface", "lo", "--beacon-port",
                str(self.beacon_port)] + ["--json"] * json_ + [str(word) for word in words]

    def ports(self):
        """Of the storage servers, in their order."""
        return [listening(daemon.process.pid)[0] for daemon in self.storages]

    def node_of(self, i):
        port = self.ports()[i]
        return next(n for n in self.nodes() if n["address"].endswith(":%d" % port))

    def used(self):
        return [node["used"] for node in self.nodes()]

    # ---- who talks to whom

    def talking_to(self, process):
        """The storage servers that have a connection with this process."""
        own = sockets(process.pid, ESTABLISHED)
        return [daemon for daemon in self.storages if daemon.process.poll() is None and
                any((remote, local) in own
                    for local, remote in sockets(daemon.process.pid, ESTABLISHED))]

    def sending_to(self, process):
        """The storage servers whose bytes wait for this process to read."""
        own = sockets(process.pid, ESTABLISHED)
        return [daemon for daemon in self.storages if daemon.process.poll() is None and
                any((remote, local) in own and waiting
                    for (local, remote), waiting in sockets(daemon.process.pid, ESTABLISHED).items())]


class Reader:
    """Takes a get's output at the pace of the test; remembers the longest wait."""

    def __init__(self, process):
        self.process, self.data, self.longest = process, bytearray(), 0.0

    def take(self, size):
        while len(self.data) < size:
            began = time.monotonic()
            more = os.read(self.process.stdout.fileno(), min(256 * KIB, size - len(self.data)))
            self.longest = max(self.longest, time.monotonic() - began)
            if not more:
                return False
            self.data += more
        return True

    def finish(self):
        self.take(1 << 40)
        error = self.process.stderr.read()
        return Result(self.process.wait(LIMIT_S), b"", error, 0)


def main(cases, workers):
    """Runs the cases whose names contain one of the words given, or all; several at a time."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    wanted = sys.argv[1:]
    cases = [case for case in cases if not wanted or any(word in case.__name__ for word in wanted)]
    waiting = queue.Queue()
    for case in cases:
        waiting.put(case)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    lock = threading.Lock()

    def note(kind, line):
        with lock:
            counts[kind] += 1
            print(line, flush=True)

    def work():
        while True:
            try:
                go_on()
                case = waiting.get_nowait()
            except (queue.Empty, Skip):
                return
            name, began = case.__name__[5:], time.monotonic()
            try:
                said = case()
                note("passed", "ok %s (%.1f s)%s" % (name, time.monotonic() - began,
                                                     "  # " + said if said else ""))
            except Skip as why:
                note("skipped", "ok %s # SKIP %s" % (name, why))
            except Exception:  # noqa: BLE001
                note("failed", "not ok %s (%.1f s)\n# %s" % (
                    name, time.monotonic() - began, traceback.format_exc().replace("\n", "\n# ")))

    _workers.extend(threading.Thread(target=work) for _ in range(min(workers, len(cases))))
    for worker in _workers:
        worker.start()
    for worker in _workers:
        worker.join()
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return 1 if counts["failed"] or not cases else 0
