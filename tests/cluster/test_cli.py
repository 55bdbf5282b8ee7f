#!/usr/bin/env python3
"""muster as a process: every command, good and bad, against one cluster of `muster up`.

    test_cli.py [NAME ...]     only the tests whose names contain one of these
"""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_proc import BUILD, free_port, wait_until  # noqa: E402

MUSTER = os.path.join(BUILD, "muster")
DONE, FAILED, USAGE, NO_NAMESERVER = 0, 1, 2, 3
LIMIT_S = 60
SERVERS = 3
NAMES = ["plain", "with space", "it's", 'say "hi"', "][", "a|b", "a,b;c", "tab\there", "line\nbreak",
         "ümläut", "日本語", "-dash", "#hash", "back\\slash", "$HOME", "*", "...", "x" * 255,
         "é" * 127, os.fsdecode(b"\xff\xfe"), "\x1b[31mred"]


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def text(self):
        return os.fsdecode(self.out)

    @property
    def error(self):
        return os.fsdecode(self.err)

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "status %d, out %r, err %r" % (self.status, self.out[:500], self.err[:500])


class Place:
    """A home of its own: settings, state, local files."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="muster-cli-")
        self.local = os.path.join(self.path, "local")
        os.mkdir(self.local)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("MUSTER_")}
        self.environment.update(XDG_STATE_HOME=self.path + "/state", LC_ALL="C.UTF-8",
                                XDG_CONFIG_HOME=self.path + "/config", HOME=self.path, TZ="UTC")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self, *words, stdin=b"", environment=None, **how):
        return Result(subprocess.run([MUSTER] + list(words), input=stdin, cwd=self.local,
                                     env=dict(self.environment, **(environment or {})),
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     timeout=LIMIT_S, **how))

    def start(self, *words):
        return subprocess.Popen([MUSTER] + list(words), env=self.environment, cwd=self.local,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ok(self, *words, **how):
        result = self.run(*words, **how)
        assert result.status == DONE and not result.err, (words, result)
        return result

    def fails(self, status, pattern, *words, **how):
        """One error line that looks like this."""
        result = self.run(*words, **how)
        assert result.status == status, (words, result)
        assert re.search(pattern, result.error), (pattern, words, result)
        assert result.error.startswith("muster: "), result
        assert status == USAGE or result.error.count("\n") == 1, result
        return result

    def file(self, name, content=b"content\n"):
        path = os.path.join(self.local, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read(self, name):
        with open(os.path.join(self.local, name), "rb") as file:
            return file.read()


class Cluster(Place):
    """One for all tests; each has a directory of its own in it."""

    def __init__(self):
        super().__init__()
        self.data = os.path.join(self.path, "cluster")
        self.count = 0
        result = self.run("up", str(SERVERS), "--data", self.data)
        if result.status != DONE:
            self.run("down", "--data", self.data)
            raise AssertionError(repr(result))

    def directory(self):
        """A fresh remote directory, and a fresh local one to go with it."""
        self.count += 1
        self.local = os.path.join(self.path, "local-%d" % self.count)
        os.mkdir(self.local)
        path = "/test-%d" % self.count
        self.ok("mkdir", path)
        return path

    def pid(self, server):
        with open(os.path.join(self.data, server, "pid")) as file:
            return int(file.read())

    def __exit__(self, *_):
        self.run("down", "--data", self.data)
        super().__exit__()


class Terminal:
    """muster on a terminal; what it shows is collected."""

    def __init__(self, place, *words, columns=80, environment=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(place.local)
            os.execve(MUSTER, [MUSTER] + list(words),
                      dict(place.environment, TERM="xterm", **(environment or {})))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = ""
        self.status = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            data = os.read(self.fd, 65536) if ready else b""
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def until(self, text, seconds=10.0):
        """Waits until this is shown, and forgets all up to it; returns that."""
        end = time.monotonic() + seconds
        while text not in self.plain():
            assert time.monotonic() < end, (text, self.shown)
            if not self.read(end - time.monotonic()) and text not in self.plain():
                raise AssertionError("%r was not shown, but %r" % (text, self.shown))
        before, _, after = self.plain().partition(text)
        self.shown = after
        return before

    def plain(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", self.shown)

    def type(self, text):
        os.write(self.fd, text.encode())

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def end(self, seconds=20.0):
        """Waits for its end; returns the exit status."""
        end = time.monotonic() + seconds
        while not self.ended():
            assert time.monotonic() < end, "it goes on: %r" % self.shown
            self.read(0.05)
        while self.read(0):
            pass
        return self.status


def keys(record):
    return sorted(record)


# ---- without a cluster ----

def test_usage():
    with Place() as place:
        place.fails(USAGE, "no such command: frob", "frob")
        place.fails(USAGE, "unknown option --frob", "--frob")
        place.fails(USAGE, "unknown option -z", "ls", "-z")
        place.fails(USAGE, "put: wants at least 2 arguments", "put", "a")
        place.fails(USAGE, "nodes: takes no arguments", "nodes", "a")
        place.fails(USAGE, "cd: takes at most 1 argument\n", "cd", "a", "b")
        place.fails(USAGE, "copies: wants a number of copies from 1 to 9", "copies", "0", "/a")
        place.fails(USAGE, "put: wants a number of copies", "put", "-c", "10", "a", "/a")
        place.fails(USAGE, "--range wants OFFSET:LENGTH", "get", "--range", "5", "/a", "a")
        place.fails(USAGE, "--range wants OFFSET:LENGTH", "get", "--range", "5:0", "/a", "a")
        place.fails(USAGE, "up: wants a number", "up", "0")
        place.fails(USAGE, "--transfer", "--transfer", "pigeon", "ls")
        place.fails(USAGE, "a quote is not closed", stdin=b"ls 'a\n")
        place.fails(FAILED, "--key", "--key", "file", "ls")
        place.fails(FAILED, "--key", "-k", "file", "pwd")


def test_no_nameserver():
    with Place() as place:
        here = ("--interface", "lo", "--beacon-port", str(free_port()), "--timeout", "0.3")
        for command in (["ls"], ["nodes"], ["put", "x", "/x"], ["cat", "/x"], ["cd", "/x"]):
            place.file("x")
            place.fails(NO_NAMESERVER, "no name server found", *here, *command)
        result = place.run(*here, "--json", "status")
        assert result.status == NO_NAMESERVER, result
        assert json.loads(result.err)["error"]["code"] == "NO_NAMESERVER", result
        place.fails(NO_NAMESERVER, "status: ", *here, stdin=b"status\nversion\n")


def test_help():
    with Place() as place:
        listed = re.findall(r"^  (\w+) ", place.ok("help").text, re.M)
        assert {"put", "get", "ls", "up", "down", "lcd", "exit"} <= set(listed), listed
        for name in listed:
            text = place.ok("help", name).text
            assert text.startswith("usage: " + name) and "examples" in text, text
            assert place.ok(name, "--help").text == text
            assert max(map(len, text.splitlines())) <= 80, text
        assert "--beacon-port" in place.ok("--help").text
        for program in ("muster", "muster-nameserver", "muster-storage"):
            shown = subprocess.run([os.path.join(BUILD, program), "--help"], check=True,
                                   stdout=subprocess.PIPE).stdout.decode()
            assert max(map(len, shown.splitlines())) <= 80, shown
        assert place.ok("--version").text.startswith("muster ")
        assert place.ok("version").text == place.ok("--version").text
        place.fails(USAGE, "no such command: frob", "help", "frob")


def test_settings_file():
    with Place() as place:
        os.makedirs(place.path + "/config/muster")
        with open(place.path + "/config/muster/config", "w") as file:
            file.write("json = yes\n")
        assert keys(place.ok("version").json()) == ["version"]
        assert place.ok("version", environment={"MUSTER_JSON": "no"}).text.startswith("muster ")
        assert place.ok("--json=no", "version").text.startswith("muster ")
        with open(place.path + "/config/muster/config", "w") as file:
            file.write("\nfrob = 1\n")
        place.fails(USAGE, "config:2: unknown setting 'frob'", "version")


def test_local_commands():
    with Place() as place:
        place.file("sub/inner")
        result = place.ok(stdin=b"lpwd\nlcd sub\nlls\nlpwd\n")
        local = os.path.realpath(place.local)
        assert result.text.splitlines() == [local, "inner", local + "/sub"], result
        place.fails(FAILED, "lcd: nowhere: no such file", "lcd", "nowhere")
        assert place.ok("pwd").text == "/\n"
        assert place.ok("--json", "pwd").json() == {"path": "/"}


def test_hostile_homes():
    """State that cannot be read or written is no reason to fail."""
    with Place() as place:
        for home in ("/proc/nothing", "relative"):
            assert place.ok("pwd", environment={"XDG_STATE_HOME": home, "HOME": home}).text == "/\n"


def test_up_and_down():
    with Place() as place:
        data = place.path + "/try"
        assert "nothing was running" in place.ok("down", "--data", data).text
        try:
            up = place.ok("--json", "up", "2", "--data", data).json()
            assert keys(up) == ["cluster", "data", "nameserver", "nodes"] and up["nodes"] == 2, up
            place.ok("write", "/kept", "still here")
            assert place.ok("--json", "status").json()["nodes_online"] == 2
            assert "is up" in place.ok("up", "--data", data).text
            pid = int(open(data + "/storage-1/pid").read())
            assert os.path.exists("/proc/%d" % pid)
            assert place.ok("--json", "down").json()["stopped"] == 3
            wait_until(lambda: not os.path.exists("/proc/%d" % pid))
            again = place.ok("--json", "up", "--data", data).json()
            assert again["cluster"] == up["cluster"] and again["nodes"] == 2, again
            assert place.ok("cat", "/kept").text == "still here"
        finally:
            place.run("down", "--data", data)
        assert "nothing was running" in place.ok("down", "--data", data).text


def test_down_spares_strangers():
    """A process that got the number of a server of ours is not ours."""
    with Place() as place, subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            os.makedirs(place.path + "/try/nameserver")
            for name, text in (("pid", "%d\n" % stranger.pid), ("start", "1\n")):
                with open(place.path + "/try/nameserver/" + name, "w") as file:
                    file.write(text)
            assert "nothing was running" in place.ok("down", "--data", place.path + "/try").text
            assert stranger.poll() is None
        finally:
            stranger.kill()


# ---- with one ----

def test_put_get(cluster):
    home = cluster.directory()
    cluster.file("a", b"hello world")
    assert cluster.ok("put", "a", home + "/b").text == "stored %s/b: 11 bytes, 3/3 copies\n" % home
    assert cluster.ok("cat", home + "/b").out == b"hello world"
    cluster.fails(FAILED, r"put: %s/b: file exists \(use -f to replace it\)" % home, "put", "a", home + "/b")
    cluster.file("a", b"other")
    cluster.ok("put", "-f", "a", home + "/b")
    cluster.ok("put", "a", home)
    cluster.ok("get", home + "/b", "back")
    assert cluster.read("back") == b"other"
    cluster.fails(FAILED, r"get: back: file exists \(use -f", "get", home + "/b", "back")
    cluster.ok("get", "-f", home + "/b", "back")
    os.mkdir(cluster.local + "/into")
    cluster.ok("get", home + "/a", home + "/b", "into")
    assert sorted(os.listdir(cluster.local + "/into")) == ["a", "b"]
    assert cluster.ok("get", home + "/b", "-").out == b"other"
    assert not [name for name in os.listdir(cluster.local) if name.startswith(".muster")]


def test_put_get_refusals(cluster):
    home = cluster.directory()
    cluster.file("one"), cluster.file("two"), cluster.file("tree/inner")
    cluster.fails(FAILED, "put: missing: no such file", "put", "missing", home)
    cluster.fails(FAILED, r"put: tree: is a directory \(use -r\)", "put", "tree", home)
    cluster.fails(FAILED, "no such file or directory", "put", "one", home + "/no/where")
    cluster.fails(FAILED, "no such file or directory", "put", "one", home + "/nowhere/")
    cluster.fails(FAILED, "no such file or directory", "put", "one", "two", home + "/nowhere")
    cluster.ok("put", "one", home + "/file")
    cluster.fails(FAILED, "not a directory", "put", "one", "two", home + "/file")
    cluster.fails(FAILED, "is a directory", "put", "-", home)
    cluster.fails(FAILED, "get: %s/no: no such file" % home, "get", home + "/no", "no")
    cluster.fails(FAILED, r"is a directory \(use -r\)", "get", home, "no")
    cluster.fails(FAILED, "is a directory", "cat", home)
    cluster.fails(FAILED, "nowhere/x: no such file", "get", home + "/file", "nowhere/x")
    cluster.fails(FAILED, "not a directory", "get", home + "/file", home + "/file", "one")
    assert not os.path.exists(cluster.local + "/no")
    result = cluster.run("put", "missing", "one", home)
    assert result.status == FAILED and "stored" in result.text, result


def test_stdin_and_sizes(cluster):
    home = cluster.directory()
    for size in (0, 1, 65536, 2097153):
        data = os.urandom(size)
        cluster.ok("put", "-", "%s/%d" % (home, size), stdin=data)
        assert cluster.ok("cat", "%s/%d" % (home, size)).out == data
    cluster.fails(FAILED, "standard input", stdin=b"put - /x\n")


def test_range(cluster):
    home = cluster.directory()
    data = bytes(range(256)) * 1000
    cluster.ok("put", "-", home + "/f", stdin=data)
    for text, wanted in (("0:10", data[:10]), ("100:3", data[100:103]), ("1K:1K", data[1024:2048]),
                         ("255999:1", data[-1:]), ("255990:", data[255990:]), ("0:", data)):
        assert cluster.ok("get", "--range", text, home + "/f", "-").out == wanted, text
    cluster.fails(FAILED, "outside the file", "get", "--range", "256001:1", home + "/f", "-")
    cluster.fails(FAILED, "outside the file", "get", "--range", "256001:1", home + "/f", "broken")
    assert not os.path.exists(cluster.local + "/broken")


def test_write(cluster):
    home = cluster.directory()
    assert "11 bytes, 3/3 copies" in cluster.ok("write", home + "/w", "hello", "world").text
    assert cluster.ok("cat", home + "/w").out == b"hello world"
    cluster.fails(FAILED, "file exists", "write", home + "/w", "again")
    cluster.ok("write", "-f", home + "/w", "-f", "x")
    assert cluster.ok("cat", home + "/w").out == b"-f x"
    cluster.ok("write", "-c", "1", home + "/one", "x")
    assert cluster.ok("--json", "stat", home + "/one").json()["copies_wanted"] == 1


def test_trees(cluster):
    home = cluster.directory()
    for i in range(200):
        cluster.file("tree/%d/%d" % (i % 7, i), os.urandom(i * 37))
    cluster.file("tree/deep/er/and/deeper", b"x")
    os.mkdir(cluster.local + "/tree/empty")
    os.symlink("../tree/0/0", cluster.local + "/tree/to-file")
    os.symlink("deep", cluster.local + "/tree/to-directory")
    result = cluster.run("put", "-r", "tree", home + "/t")
    assert result.status == DONE and "202 files" in result.text, result
    assert re.search(r": 202 files, [0-9.]+ KiB( in [0-9.]+ s \([^)]*\))?, 3/3 copies; 1 skipped\n$",
                     result.text), result
    assert result.error == "muster: put: tree/to-directory: skipped: a link to a directory\n", result
    assert "202 files" in cluster.ok("get", "-r", home + "/t", "back").text
    os.remove(cluster.local + "/tree/to-directory")
    subprocess.run(["diff", "-r", "tree", "back"], cwd=cluster.local, check=True)
    cluster.ok("get", "-r", home + "/t", "back")
    subprocess.run(["diff", "-r", "tree", "back/t"], cwd=cluster.local, check=True)
    result = cluster.run("put", "-r", "tree", home)
    assert result.status == DONE, result
    assert cluster.ok("--json", "du", home + "/tree").json()["files"] == 202
    result = cluster.run("put", "-r", "tree", home)
    assert result.status == FAILED and "202 failed" in result.text, result
    assert cluster.run("put", "-rf", "tree", home).status == DONE
    record = cluster.ok("-q", "--json", "get", "-r", home + "/t", "third").json()
    assert record["files"] == 202 and record["failed"] == 0, record
    cluster.fails(FAILED, "no such file", "put", "-r", "nothing", home + "/n")
    cluster.fails(FAILED, "no such file", "put", "-r", "tree", home + "/no/where")
    cluster.fails(FAILED, "no such file", "get", "-r", home + "/nothing", "n")


def test_trees_of_all_kinds(cluster):
    """What cannot be stored or fetched is named as the user knows it; the rest comes through."""
    home = cluster.directory()
    cluster.file("tree/sub/f")
    os.mkfifo(cluster.local + "/tree/fifo")
    os.symlink("fifo", cluster.local + "/tree/to-fifo")
    os.symlink("nowhere", cluster.local + "/tree/dangling")
    os.symlink("circle", cluster.local + "/tree/circle")
    os.symlink("..", cluster.local + "/tree/sub/up")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(cluster.local + "/tree/socket"))
    result = cluster.run("put", "-r", "tree/", home + "/t")
    assert result.status == FAILED and ": 1 file, 8 bytes, 3/3 copies; 2 failed; 4 skipped\n" in result.text, result
    assert sorted(result.error.splitlines()) == [
        "muster: put: tree/circle: no such file or directory (the link leads nowhere)",
        "muster: put: tree/dangling: no such file or directory (the link leads nowhere)",
        "muster: put: tree/fifo: skipped: neither a file nor a directory",
        "muster: put: tree/socket: skipped: neither a file nor a directory",
        "muster: put: tree/sub/up: skipped: a link to a directory",
        "muster: put: tree/to-fifo: skipped: neither a file nor a directory"], result
    cluster.fails(FAILED, "put: tree/circle: too many levels of symbolic links$", "put", "tree/circle", home)
    cluster.fails(FAILED, "put: tree/socket: no such device or address$", "put", "tree/socket", home)
    cluster.ok("get", "-r", home + "/t", "back")
    result = cluster.run("get", "-r", home + "/t/sub", "back")
    assert result.status == FAILED and result.text.endswith(": 0 files, 0 bytes; 1 failed\n"), result
    assert result.error == "muster: get: back/sub/f: file exists (use -f to replace it)\n", result


def test_tree_stays_inside(cluster):
    """A link that stands in the way leads nowhere."""
    home = cluster.directory()
    cluster.file("evil/sub/file", b"evil")
    cluster.ok("put", "-r", "evil", home + "/t")
    os.mkdir(cluster.local + "/target")
    os.mkdir(cluster.path + "/outside")
    os.symlink(cluster.path + "/outside", cluster.local + "/target/sub")
    os.symlink("target", cluster.local + "/t")
    result = cluster.run("get", "-r", home + "/t", "-f", ".")
    assert os.listdir(cluster.path + "/outside") == [], result
    assert result.status == FAILED, result


def test_names(cluster):
    home = cluster.directory()
    for i, name in enumerate(NAMES):
        content = b"%d" % i
        path = cluster.file("names/" + name, content)
        cluster.ok("put", "--", path, home)
        assert cluster.ok("cat", "--", home + "/" + name).out == content, name
        cluster.ok("get", "--", home + "/" + name, "fetched")
        assert cluster.read("fetched") == content, name
        os.remove(cluster.local + "/fetched")
        record = cluster.ok("--json", "stat", home + "/" + name).json()
        assert os.fsencode(record["name"]) == os.fsencode(name), (record, name)
    listed = [json.loads(line) for line in cluster.ok("--json", "ls", home).out.splitlines()]
    wanted = sorted(os.fsencode(name) for name in NAMES)
    assert [os.fsencode(record["name"]) for record in listed] == wanted
    lines = cluster.ok("ls", home).out
    assert len(lines.splitlines()) == len(NAMES) and b"\x1b" not in lines, lines
    assert b"line\\nbreak" in lines and b"\\xff\\xfe" in lines, lines
    assert cluster.run("put", "-r", "names", home + "/copy").status == DONE
    cluster.ok("get", "-r", home + "/copy", "names-back")
    subprocess.run(["diff", "-r", "names", "names-back"], cwd=cluster.local, check=True)
    cluster.fails(FAILED, "too long", "create", home + "/" + "x" * 256)
    cluster.fails(FAILED, "not a valid name", "create", "")


def test_above_the_root(cluster):
    for command in (["ls", ".."], ["cd", "/.."], ["cat", "/../etc/passwd"], ["mkdir", "/a/../../b"]):
        cluster.fails(FAILED, "nothing above the root", *command)
    home = cluster.directory()
    assert cluster.ok("ls", "-l", home + "/../" + home[1:]).text == ""


def test_listing(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/b/inner", home + "/a")
    cluster.ok("write", home + "/c", "text")
    assert cluster.ok("ls", home).text == "a/\nb/\nc\n"
    assert cluster.ok("ls", home + "/c").text == home + "/c\n"
    assert cluster.ok("ls", "-R", home).text == "%s:\na/\nb/\nc\n\n%s/a:\n\n%s/b:\ninner/\n\n%s/b/inner:\n" % (
        (home,) * 4)
    long = cluster.ok("ls", "-l", home).text.splitlines()
    assert re.fullmatch(r"3/3        4 B  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  c", long[2]), long
    assert cluster.ok("tree", home).text == (
        home + "\n├── a/\n├── b/\n│   └── inner/\n└── c\n3 directories, 1 file\n")
    records = [json.loads(line) for line in cluster.ok("--json", "ls", home).out.splitlines()]
    for record in records:
        assert keys(record) == ["copies", "digest", "modified", "name", "path", "size", "type",
                                "version"], record
    assert records[2]["path"] == home + "/c" and records[2]["type"] == "file", records
    assert records[0]["type"] == "dir", records
    cluster.fails(FAILED, "ls: /nothing: no such file", "ls", "/nothing")
    cluster.fails(FAILED, "tree: .*/c: not a directory", "tree", home + "/c")
    result = cluster.run("ls", "/nothing", home)
    assert result.status == FAILED and "c\n" in result.text, result


def test_stat(cluster):
    home = cluster.directory()
    cluster.ok("write", home + "/f", "hello world")
    before = time.time() * 1000
    text = cluster.ok("stat", home + "/f").text
    for line in (r"path      %s/f" % home, r"type      file", r"size      11 bytes", r"version   1",
                 r"digest    xxh3:df8d09e93f874900a99b8775cc15b6c7", r"copies    3/3"):
        assert re.search("^%s$" % line, text, re.M), text
    assert len(re.findall(r" at 127\.0\.0\.1:\d+$", text, re.M)) == 3, text
    assert cluster.ok("info", home + "/f").text == text
    record = cluster.ok("--json", "stat", home + "/f").json()
    assert keys(record) == ["chunks", "copies", "copies_wanted", "created", "digest", "holders",
                            "modified", "name", "path", "size", "type", "version"], record
    assert record["digest"] == "xxh3:df8d09e93f874900a99b8775cc15b6c7", record
    assert abs(record["created"] - before) < 60000 and len(record["holders"]) == 3, record
    cluster.ok("write", "-f", home + "/f", "again")
    assert cluster.ok("--json", "stat", home + "/f").json()["version"] == 2
    assert "type      directory" in cluster.ok("stat", home).text
    cluster.fails(FAILED, "stat: /nothing: no such file", "stat", "/nothing")


def test_directories(cluster):
    home = cluster.directory()
    cluster.fails(FAILED, "file exists", "mkdir", home)
    cluster.ok("mkdir", "-p", home)
    cluster.fails(FAILED, "no such file", "mkdir", home + "/a/b")
    cluster.ok("mkdir", "-p", home + "/a/b")
    cluster.fails(FAILED, "directory not empty", "rmdir", home + "/a")
    cluster.ok("rmdir", home + "/a/b", home + "/a")
    cluster.ok("create", home + "/empty")
    assert cluster.ok("--json", "stat", home + "/empty").json()["size"] == 0
    cluster.fails(FAILED, "file exists", "create", home + "/empty")
    cluster.fails(FAILED, "not a directory", "rmdir", home + "/empty")
    cluster.fails(FAILED, "not a directory", "mkdir", home + "/empty/x")


def test_names_that_cannot_be(cluster):
    home = cluster.directory()
    for words in (["rm", "/"], ["rm", "-r", "/"], ["rmdir", "/"], ["mv", "/", home], ["mv", home + "/..", home]):
        cluster.fails(FAILED, r": /: not a valid name \(it is the root", *words)
    cluster.fails(FAILED, "rm: '': not a valid name", "rm", "")
    cluster.fails(FAILED, r"no such file or directory \(use -p", "mkdir", home + "/x/y")
    assert cluster.fails(FAILED, "verify: .*: no such file", "verify", home + "/none").text == ""
    cluster.fails(FAILED, "put: '': no such file or directory", "put", "", home)
    cluster.fails(USAGE, "--nameserver: wants HOST", "-n", "", "ls")
    with Terminal(cluster, "rm", "-r", "/") as terminal:
        assert terminal.end() == FAILED and "[y/N]" not in terminal.shown, terminal.shown
    cluster.ok("mkdir", home + "/d", home + "/e", home + "/e/d")
    cluster.fails(FAILED, r"file exists \(use --keep-both to have both\)$", "cp", "-r", "-f", home + "/d", home + "/e")


def test_remove(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/d/e")
    cluster.ok("write", home + "/d/f", "12345")
    cluster.fails(FAILED, r"directory not empty \(use -r", "rm", home + "/d")
    cluster.fails(FAILED, r"directory not empty \(use -r", "rm", "-f", home + "/d")
    assert cluster.ok("rm", "-r", home + "/d").text == "removed %s/d: 3 entries, 5 bytes\n" % home
    cluster.fails(FAILED, "no such file", "rm", home + "/d")
    cluster.ok("rm", "-f", home + "/d")
    cluster.ok("write", home + "/f", "1")
    record = cluster.ok("--json", "rm", home + "/f").json()
    assert record == {"path": home + "/f", "removed": 1, "bytes": 1}, record


def test_copies(cluster):
    home = cluster.directory()
    cluster.ok("write", home + "/f", "x")
    # The third one may be gone already.
    assert re.search("/f: [23]/2 copies", cluster.ok("copies", "2", home + "/f").text)
    cluster.ok("copies", "1", home)
    assert "1 byte, 1/1 copies" in cluster.ok("write", home + "/g", "y").text
    assert cluster.ok("--json", "copies", "5", home + "/g").json()["copies_wanted"] == 5
    cluster.fails(FAILED, "copies: /nothing: no such file", "copies", "2", "/nothing")
    # Five copies are more than there are servers: it would stay under-copied.
    cluster.ok("copies", "1", home + "/g")


def test_store(cluster):
    nodes = [json.loads(line) for line in cluster.ok("--json", "nodes").out.splitlines()]
    assert len(nodes) == SERVERS, nodes
    for node in nodes:
        assert keys(node) == ["address", "capacity", "catalogue_lag", "chunks", "first_seen", "free", "id",
                              "last_seen", "last_start", "machine", "name", "starts", "state",
                              "used", "zone"], node
        assert node["state"] == "online" and len(node["id"]) == 32, node
    text = cluster.ok("nodes").text.splitlines()
    assert text[0].startswith("NAME") and len(text) == SERVERS + 1, text
    status = cluster.ok("--json", "status").json()
    for name in ("cluster", "nameserver", "epoch", "sequence", "nodes_online", "nodes_total", "files",
                 "directories", "bytes", "chunks", "under_copied", "lost", "repairing",
                 "catalogue_copies", "writable"):
        assert name in status, (name, status)
    assert status["nodes_online"] == SERVERS and status["writable"] is True, status
    assert "3 of 3 online" in cluster.ok("status").text
    space = cluster.ok("--json", "df").json()
    assert keys(space) == ["capacity", "free", "freeing", "nodes", "trash_bytes", "trash_entries",
                           "used"], space
    assert space["free"] == sum(node["free"] for node in space["nodes"])
    assert cluster.ok("df").text.splitlines()[-2].startswith("all")


def test_du(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", "-p", home + "/a/b")
    cluster.ok("write", home + "/a/b/f", "123")
    cluster.ok("write", home + "/g", "4567")
    record = cluster.ok("--json", "du", home).json()
    assert record == {"path": home, "bytes": 7, "files": 2, "directories": 2}, record
    assert cluster.ok("du", home + "/g").text.split() == ["4", "B", "1", "file", home + "/g"]


def test_current_directory(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", home + "/sub dir")
    try:
        cluster.ok("cd", home)
        assert cluster.ok("pwd").text == home + "\n"
        cluster.ok("cd", "sub dir")
        cluster.ok("write", "f", "x")
        assert cluster.ok("ls").text == "f\n" and cluster.ok("ls", "..").text == "sub dir/\n"
        assert cluster.ok(stdin=b"pwd\ncd /\npwd\n").text == "%s/sub dir\n/\n" % home
        assert cluster.ok("pwd").text == home + "/sub dir\n"
        cluster.fails(FAILED, "cd: .*/f: not a directory", "cd", "f")
        cluster.fails(FAILED, "cd: /nothing: no such file", "cd", "/nothing")
        assert cluster.ok("pwd").text == home + "/sub dir\n"
    finally:
        cluster.ok("cd")
    assert cluster.ok("pwd").text == "/\n"


def test_errors_as_json(cluster):
    for code, words in (("NOT_FOUND", ["cat", "/nothing"]), ("EXISTS", ["mkdir", cluster.directory()]),
                        ("USAGE", ["ls", "-z"]), ("USAGE", ["frob"]), ("BAD_NAME", ["ls", "/.."])):
        result = cluster.run("--json", *words)
        error = json.loads(result.err)["error"]
        assert keys(error) == ["code", "message", "path"] and error["code"] == code, result
        assert not result.out and result.status in (FAILED, USAGE), result


def test_scripts(cluster):
    home = cluster.directory()
    script = "# a comment\n\nmkdir '%s/a b'\nwrite \"%s/a b/f\" hello\\ world # more\ncat '%s/a b/f'" % ((home,) * 3)
    assert cluster.ok("-q", stdin=script.encode()).out == b"hello world"
    result = cluster.run(stdin=b"pwd\ncat /nothing\npwd\n")
    assert result.status == FAILED and result.text == "/\n", result
    result = cluster.run("--keep-going", stdin=b"pwd\ncat /nothing\npwd\n")
    assert result.status == FAILED and result.text == "/\n/\n", result
    result = cluster.run("--keep-going", stdin=b"frob\npwd\n")
    assert result.status == USAGE and result.text == "/\n", result
    assert cluster.ok(stdin=b"pwd\nexit\nfrob\n").text == "/\n"
    cluster.fails(USAGE, "NUL", stdin=b"pwd\0\n")


def unread(pipe):
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def test_quiet_and_broken_pipe(cluster):
    home = cluster.directory()
    assert cluster.ok("-q", "write", home + "/f", "x").text == ""
    cluster.ok("put", "-", home + "/big", stdin=bytes(4 << 20))
    for words in (["cat", home + "/big"], ["get", home + "/big", "-"]):
        process = cluster.start(*words)
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(LIMIT_S) == FAILED
        assert process.stderr.read() == b""
        process.stderr.close()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen([MUSTER, "cat", home + "/big"], env=cluster.environment, stdout=writer,
                               stderr=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader, "rb") as slow:
        wait_until(lambda: process.poll() is not None or unread(slow) >= 1 << 16)
        assert len(slow.read()) == 4 << 20
    assert process.wait(LIMIT_S) == DONE, process.stderr.read()
    process.stderr.close()
    with open("/dev/full", "wb") as full:
        result = subprocess.run([MUSTER, "cat", home + "/big"], env=cluster.environment, stdout=full,
                                stderr=subprocess.PIPE, timeout=LIMIT_S)
        assert result.returncode == FAILED and b"no space left" in result.stderr, result
        result = subprocess.run([MUSTER, "pwd"], env=cluster.environment, stdout=full,
                                stderr=subprocess.PIPE, timeout=LIMIT_S)
        assert result.returncode == FAILED and b"standard output" in result.stderr, result


def test_interrupted_put(cluster):
    """Nothing is left of it in the store."""
    home = cluster.directory()
    fifo = cluster.local + "/fifo"
    os.mkfifo(fifo)
    process = cluster.start("put", fifo, home + "/half")
    with open(fifo, "wb", buffering=0) as writer:
        writer.write(bytes(1000))
        wait_until(lambda: "fifo" in " ".join(os.readlink(link) for link in links_of(process.pid)))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == FAILED and b"cancelled" in error, error
    cluster.fails(FAILED, "no such file", "stat", home + "/half")


def test_interrupted_get(cluster):
    """No half file, and no leftover beside it."""
    home = cluster.directory()
    cluster.ok("put", "-", home + "/f", stdin=bytes(1000))
    cluster.ok("put", "-", home + "/tree-f", stdin=bytes(1000))
    servers = [cluster.pid("storage-%d" % (i + 1)) for i in range(SERVERS)]
    for words in (["get", home + "/f", "back"], ["get", "-r", home, "tree"]):
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        try:
            process = cluster.start(*words)
            wait_until(lambda: [name for _, _, names in os.walk(cluster.local) for name in names])
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=LIMIT_S)
        finally:
            for pid in servers:
                os.kill(pid, signal.SIGCONT)
        assert process.returncode == FAILED and error.count(b"cancelled") == 1, error
        left = [name for _, _, names in os.walk(cluster.local) for name in names]
        assert left == [], left


def test_interrupted_before_it_began(cluster):
    """Before there is a session, and while a pipe has no writer yet."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        for words in (["ls"], ["rm", "/a", "/b"], ["cat", "/x"], ["put", cluster.file("l"), "/x"], ["trash", "ls"]):
            process = cluster.start("-n", "127.0.0.1:%d" % deaf.getsockname()[1], *words)
            connection = deaf.accept()[0]
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=LIMIT_S)
            connection.close()
            expected = "muster: %s: cancelled\n" % words[0]
            assert (process.returncode, error.decode()) == (FAILED, expected), (words, process.returncode, error)
    home = cluster.directory()
    os.mkfifo(cluster.local + "/fifo")
    process = cluster.start("put", "fifo", home + "/half")
    wait_until(lambda: any("socket" in os.readlink(link) for link in links_of(process.pid)))
    try:
        process.wait(0.3)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == FAILED and b": cancelled\n" in error, error


def test_fewer_copies():
    """What is said about copies is true with one server, and with none."""
    with Place() as place:
        data = place.path + "/try"
        try:
            place.ok("-q", "up", "1", "--data", data)
            place.file("tree/f", b"xy")
            assert place.ok("put", "-r", "tree", "/t").text == "stored /t: 1 file, 2 bytes, 1/3 copies at least\n"
            assert place.ok("write", "/a", "x").text == "stored /a: 1 byte, 1/3 copies\n"
            assert "1/3  " in place.ok("ls", "-l", "/a").text
            os.kill(int(open(data + "/storage-1/pid").read()), signal.SIGKILL)
            wait_until(lambda: place.ok("--json", "status").json()["nodes_online"] == 0, 30)
            place.fails(FAILED, "write: /b: ", "write", "/b", "x")
            place.fails(FAILED, "stat: /b: no such file", "-q", "stat", "/b")
        finally:
            place.run("down", "--data", data)


def links_of(pid):
    folder = "/proc/%d/fd/" % pid
    return [folder + name for name in os.listdir(folder)]


def test_terminal_rm(cluster):
    home = cluster.directory()
    for answer, status in (("n\n", FAILED), ("y\n", DONE)):
        cluster.ok("mkdir", "-p", home + "/d/e")
        with Terminal(cluster, "rm", "-r", home + "/d") as terminal:
            terminal.until("remove %s/d and all that is in it? [y/N] " % home)
            terminal.type(answer)
            assert terminal.end() == status, terminal.shown
    cluster.fails(FAILED, "no such file", "stat", home + "/d")
    cluster.ok("mkdir", "-p", home + "/d/e")
    with Terminal(cluster, "rm", "-rf", home + "/d") as terminal:
        assert terminal.end() == DONE and "?" not in terminal.shown, terminal.shown


def test_terminal_listing(cluster):
    home = cluster.directory()
    for i in range(30):
        cluster.ok("create", "%s/name-%02d" % (home, i))
    with Terminal(cluster, "ls", home, columns=50, environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == DONE
    lines = terminal.shown.split("\r\n")
    assert lines[0].split() == ["name-00", "name-06", "name-12", "name-18", "name-24"], lines
    with Terminal(cluster, "nodes", columns=60, environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == DONE
    assert max(map(len, terminal.shown.split("\r\n"))) <= 60, terminal.shown
    assert "FIRST SEEN" not in terminal.shown and "\x1b" not in terminal.shown, terminal.shown


def test_interactive(cluster):
    home = cluster.directory()
    cluster.ok("mkdir", home + "/with space")
    with Terminal(cluster, environment={"NO_COLOR": "1"}) as terminal:
        terminal.until("muster:/> ")
        terminal.type("cd %s/wi\t\n" % home)
        terminal.until("muster:%s/with space> " % home)
        terminal.type("write f 'hello world'\n")
        terminal.until("stored %s/with space/f: 11 bytes, 3/3 copies" % home)
        terminal.until("> ")
        terminal.type("frob\n")
        terminal.until("no such command: frob")
        terminal.until("> ")
        terminal.type("junk\x03")
        terminal.until("^C")
        terminal.until("> ")
        terminal.type("put - g\n")
        terminal.until("\n")
        wait_until(lambda: termios.tcgetattr(terminal.fd)[3] & termios.ICANON)
        terminal.type("half a line")
        terminal.until("half a line")
        terminal.type("\x03")
        terminal.until("cancelled")
        terminal.until("> ")
        terminal.type("st\t\t")
        terminal.until("stat    status")
        terminal.type("\x15ls\n")
        terminal.until("ls\r\n")
        shown = terminal.until("> ")
        assert shown.split("\r\n")[-2:-1] == ["f"], repr(shown)
        terminal.type("exit\n")
        assert terminal.end() == DONE, terminal.shown
    with Terminal(cluster, environment={"NO_COLOR": "1"}) as terminal:
        terminal.until("muster:/> ")
        terminal.type("\x1b[A\x1b[A")
        terminal.until("ls")
        terminal.type("\x03")
        terminal.until("> ")
        # Ctrl-D counts only once the shell reads keys, which is just after it shows its prompt.
        while not terminal.ended():
            terminal.type("\x04")
            terminal.read(0.2)
        assert terminal.status == DONE, terminal.shown


def test_vanished_terminal(cluster):
    terminal = Terminal(cluster)
    terminal.until("> ")
    os.close(terminal.fd)
    terminal.fd = os.open("/dev/null", os.O_RDWR)
    with terminal:
        wait_until(terminal.ended)
        assert terminal.status == FAILED, terminal.status


def main(cases):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the clusters on its way
    wanted = sys.argv[1:]
    tests = [(name, test) for name, test in cases.items() if name.startswith("test_") and
             callable(test) and (not wanted or any(word in name for word in wanted))]
    counts = {"passed": 0, "failed": 0}
    with Cluster() as cluster:
        for name, test in tests:
            began = time.monotonic()
            try:
                test(*[cluster][:test.__code__.co_argcount])
                counts["passed"] += 1
                print("ok %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
            except Exception:
                counts["failed"] += 1
                print("not ok %s" % name)
                print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    print("%(passed)d passed, %(failed)d failed, 0 skipped" % counts)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(globals()))
