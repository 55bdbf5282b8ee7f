"""LANs of network namespaces: a bridge in one, a host with an interface `eth0` in each of the others.

Nothing outside is touched. Needs root, or a kernel that lets everybody have namespaces: then enter()
runs the program again inside some of its own.
"""
import itertools
import json
import os
import shutil
import subprocess
import tempfile

from muster_cluster import (MUSTER, Clients, Skip, Workspace, end_all, go_on, plain_environment, undo,
                            undo_later)
from muster_proc import Daemon

_INSIDE = "MUSTER_TEST_NAMESPACES"
_numbers = itertools.count()
NET = "10.77.0"


def _run(*words, check=True):
    if check:
        go_on()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if check and done.returncode:
        raise OSError("%s: %s" % (" ".join(words), done.stderr.decode().strip()))
    return done.stdout.decode()


def why_not():
    """None, or why there can be no namespaces here."""
    name = "mt%d-try" % os.getpid()
    try:
        _run("ip", "netns", "add", name)
        undo_later(name, lambda: _run("ip", "netns", "del", name, check=False))
        try:
            _run("ip", "-n", name, "link", "add", "x0", "type", "veth", "peer", "name", "x1")
        finally:
            undo(name)
    except OSError as problem:
        return str(problem)
    return None


def enter(argv):
    """Runs the program again where it may make namespaces, if it may not here. Returns why that
    cannot be either, or None."""
    problem = why_not()
    if problem is None or os.environ.get(_INSIDE):
        return problem
    inside = "mount -t tmpfs tmpfs /run && exec \"$@\""
    probe = subprocess.run(["unshare", "-Urnm", "sh", "-c", inside, "sh", "true"],
                           stderr=subprocess.PIPE, check=False)
    if probe.returncode:
        return "%s; unshare: %s" % (problem, probe.stderr.decode().strip())
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-Urnm", "sh", "-c", inside, "sh"] + argv)
    return None


class Host(Clients):
    """One machine: its address, its daemons, its clients."""

    def __init__(self, lan, number):
        self.lan, self.number = lan, number
        self.netns = "%s-%d" % (lan.name, number)
        self.address = "%s.%d" % (NET, number)
        self.path = os.path.join(lan.path, "host%d" % number)
        os.mkdir(self.path)
        self.environment = plain_environment(self.path)
        self.processes = lan.processes
        self.options = []

    def ip(self, *words):
        return _run("ip", "-n", self.netns, *words)

    def inside(self, *words):
        return _run("ip", "netns", "exec", self.netns, *words)

    def words(self, words, json_):
        return (["ip", "netns", "exec", self.netns, MUSTER] + self.options + ["--json"] * json_ +
                [str(word) for word in words])

    def python(self, text, *arguments):
        """A Python program on this host."""
        process = subprocess.Popen(["ip", "netns", "exec", self.netns, "python3", "-c", text] +
                                   [str(a) for a in arguments], stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def drop(self, *rules):
        """nft rules of this host's own, such as "output tcp dport 3503"; they drop."""
        lines = ["table ip t {"]
        for direction in ("input", "output"):
            lines.append("chain %s { type filter hook %s priority 0;" % (direction, direction))
            lines += ["%s drop" % rule.split(" ", 1)[1] for rule in rules
                      if rule.startswith(direction)]
            lines.append("}")
        subprocess.run(["ip", "netns", "exec", self.netns, "nft", "-f", "-"], check=True,
                       input="\n".join(lines + ["}"]).encode())

    def link(self, state):
        """Pulls the cable out of the switch, or puts it back."""
        _run("ip", "-n", self.lan.switch, "link", "set", "h%d" % self.number, state)

    def renumber(self, address):
        self.ip("addr", "del", self.address + "/24", "dev", "eth0")
        self.ip("addr", "add", address + "/24", "brd", "+", "dev", "eth0")
        self.address = address

    def bytes_passed(self, interface="eth0"):
        """In and out of it, ever."""
        row = json.loads(self.ip("-s", "-j", "link", "show", interface))[0]["stats64"]
        return row["rx"]["bytes"] + row["tx"]["bytes"]

    def daemon(self, program, *arguments):
        go_on()
        daemon = HostDaemon(self, program, arguments)
        self.lan.daemons.append(daemon)
        return daemon

    def nameserver(self, cluster, *arguments):
        daemon = self.daemon("muster-nameserver", "--data", self.path + "/ns", "--cluster", cluster,
                             *arguments)
        assert daemon.event("started"), daemon.output()
        return daemon

    def storage(self, *arguments, data="store"):
        return self.daemon("muster-storage", "--data", os.path.join(self.path, data), *arguments)


class HostDaemon(Daemon):
    """A daemon in the host's namespace; its process id is the daemon's own."""

    def __init__(self, host, program, arguments):
        self.host = host
        super().__init__(program, host.path, arguments, environment=host.environment,
                         before=("ip", "netns", "exec", host.netns))


class Lan(Workspace):
    """`count` hosts, 10.77.0.1 and on, on one switch; all gone after `with`."""

    def __init__(self, count):
        self.name = "mt%d-%d" % (os.getpid(), next(_numbers))
        self.switch = self.name + "-sw"
        self.path = tempfile.mkdtemp(prefix="muster-lan-")
        self.daemons, self.processes, self.hosts = [], [], []
        self.count = count
        undo_later(self, self.destroy)

    def _add(self, name):
        _run("ip", "netns", "add", name)
        undo_later(name, lambda: _run("ip", "netns", "del", name, check=False))

    def _wire(self, host):
        self._add(host.netns)
        port = "h%d" % host.number
        _run("ip", "-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0",
             "netns", host.netns)
        _run("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        host.ip("addr", "add", host.address + "/24", "brd", "+", "dev", "eth0")
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", "eth0", "up")

    def __enter__(self):
        try:
            self._add(self.switch)
            _run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
            _run("ip", "-n", self.switch, "link", "set", "br0", "up")
            for number in range(1, self.count + 1):
                host = Host(self, number)
                self.hosts.append(host)
                self._wire(host)
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, kind, *_):
        end_all(self)
        if kind and not issubclass(kind, Skip):
            for daemon in self.daemons:
                for line in daemon.output().splitlines()[-15:]:
                    print("# host %d: %s" % (daemon.host.number, line), flush=True)
        undo(self)

    def destroy(self):
        end_all(self)
        for name in [host.netns for host in self.hosts] + [self.switch]:
            undo(name)
        shutil.rmtree(self.path, ignore_errors=True)
