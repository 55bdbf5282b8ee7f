#!/usr/bin/env python3
"""What the daemons say of a session with hostile names: every line of both formats parses, and each
operation is there, in the log and through EVENTS, with path, size, copies and duration.

    test_logs.py [NAME ...]     only the cases whose names contain one of these
"""
import json
import os
import re
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import Cluster, expect, main  # noqa: E402
from muster_proc import OK, REMOVE, Connection, text, wait_until  # noqa: E402

EVENTS = 0x34
WARN, INFO = 1, 2
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
STRING = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(r"(%s) (error|warn|info|debug) (nameserver|storage) ([a-z][a-z_]*)((?: [a-z][a-z_]*="
                  r"(?:%s|[^\" ]*))*)" % (STAMP, STRING))
PAIR = re.compile(r" ([a-z][a-z_]*)=(%s|[^\" ]*)" % STRING)
NAMES = [b"plain", b"with space", b"it's", b'say "hi"', b'a" size=7 b="', b"tab\there", b"line\nbreak",
         b"cr\r\n2026-11-20T10:31:07.123Z info nameserver mkdir path=forged", "ümläut 日本".encode(),
         b"back\\slash\\", b"\\u0041", b"\xff\xfe", b"half \xc3", b"\x1b[31mred", b"\x7f", b"\xc2\x9b31m",
         "\u202eright to left".encode(), b'{"a":1}', b"%s%n", b"=", b"x" * 255, b"\x01" * 255]
WORKERS = 2


def shown(raw):
    """What stands for a name once its string is decoded: only what is harmless as it is."""
    def piece(byte_or_char):
        return "".join("\\x%02x" % byte for byte in byte_or_char)

    result = ""
    for char in raw.decode(errors="surrogateescape"):
        code = ord(char)
        hidden = 0x80 <= code < 0xa0 or 0x2028 <= code <= 0x202e or 0x2066 <= code <= 0x2069
        raw_byte = 0xdc80 <= code <= 0xdcff
        result += piece(char.encode(errors="surrogateescape")) if hidden or raw_byte else char
    return result


def value_of(word):
    if word.startswith('"'):
        return json.loads(word)
    return int(word) if re.fullmatch(r"-?(0|[1-9]\d{0,14})", word) else word


def pairs_of(words):
    expect("".join(" %s=%s" % pair for pair in PAIR.findall(words)), words)
    return {key: value_of(value) for key, value in PAIR.findall(words)}


def parse_text(line):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", line), line
    match = LINE.fullmatch(line)
    assert match, line
    stamp, level, component, event, words = match.groups()
    return dict(pairs_of(words), time=stamp, level=level, component=component, event=event)


def no_twice(pairs):
    expect(len({key for key, _ in pairs}), len(pairs), pairs)
    return dict(pairs)


def parse_json(line):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", line), line
    row = json.loads(line, object_pairs_hook=no_twice)
    expect(list(row)[:4], ["time", "level", "component", "event"])
    assert re.fullmatch(STAMP, row["time"]), line
    return row


def log_of(path, form):
    """All lines of a log as dictionaries; each parses and the last one is whole."""
    with open(path, "rb") as file:
        content = file.read().decode()  # UTF-8 throughout
    assert content.endswith("\n"), content[-200:]
    return [(parse_json if form == "json" else parse_text)(line) for line in content[:-1].split("\n")]


class Session:
    """A cluster whose daemons log into files."""

    def __init__(self, form, level="debug"):
        self.form = form
        how = ["--log-format", form, "--log-level", level]
        self.cluster = Cluster(0, ns=how, storage=how)

    def __enter__(self):
        cluster = self.cluster
        cluster.ns_arguments += ["--log-file", cluster.path + "/ns.log"]
        cluster.nameserver_start = self.nameserver_start
        self.logs = [cluster.path + "/ns.log"]
        cluster.__enter__()
        for i in range(2):
            self.logs.append("%s/s%d.log" % (cluster.path, i))
            cluster.storage_add("--log-file", self.logs[-1])
        cluster.wait_online(2)
        return self

    def __exit__(self, *what):
        self.cluster.__exit__(*what)

    def nameserver_start(self, port=None):
        """As the cluster's own, but the line that says the port is in the file."""
        cluster = self.cluster
        cluster.nameserver = cluster.daemon(
            "muster-nameserver", "--data", cluster.path + "/ns", "--cluster", cluster.name, "--interface",
            "lo", "--port", str(port or cluster.port or 0), "--beacon-port", str(cluster.beacon_port),
            "--client-ports", cluster.client_ports, *cluster.ns_arguments)
        cluster.port = wait_until(lambda: self.port_said())

    def port_said(self):
        path = self.cluster.path + "/ns.log"
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            return None
        return next((row["port"] for row in log_of(path, self.form)
                     if row["event"] == "started"), None)

    def connect(self):
        connection = Connection(self.cluster.port)
        expect(connection.hello().status, OK)
        return connection

    def rows(self, *logs):
        return [row for path in logs or self.logs for row in log_of(path, self.form)]

    def stop(self):
        for daemon in self.cluster.daemons:
            expect(daemon.stop(), 0)
            expect(daemon.output(), "", "all goes to the file")


def events(connection, after=0, level=INFO, node="", wait_ms=0):
    """One page: rows like those of the log, where to go on, how many are missing."""
    reply = connection.ask(EVENTS, after, wait_ms, struct.pack("<B", level) + text(node))
    expect(reply.status, OK)
    count, at, rows = struct.unpack_from("<H", reply.body)[0], 2, []
    for _ in range(count):
        number, time_ms, level = struct.unpack_from("<QQB", reply.body, at)
        at += 17
        words = []
        for _ in range(3):
            size = struct.unpack_from("<H", reply.body, at)[0]
            words.append(reply.body[at + 2:at + 2 + size].decode())
            at += 2 + size
        row = pairs_of(" " + words[2] if words[2] else "")
        rows.append(dict(row, number=number, time_ms=time_ms, level=level, node=words[0], event=words[1]))
    expect(at, len(reply.body))
    return rows, reply.arg1, reply.arg2


def all_events(connection, **how):
    rows, after = [], 0
    while True:
        page, after, missed = events(connection, after, **how)
        expect(missed, 0)
        rows += page
        if not page:
            return rows


def names_session(session):
    """Directories and files of every name, made and removed; says what the log must hold."""
    connection, wanted = session.connect(), []
    for number, name in enumerate(NAMES):
        directory = b"/%d" % number
        path = directory + b"/" + name
        expect(connection.mkdir(directory), OK)
        expect(connection.mkdir(path), OK, name)
        expect(connection.create(path + b"/" + name), OK)
        expect(connection.change(REMOVE, struct.pack("<B", 1) + text(directory)).status, OK)
        wanted += [("mkdir", {"path": shown(path)}),
                   ("created", {"path": shown(path + b"/" + name), "size": 0, "copies": 3}),
                   ("removed", {"path": shown(directory), "entries": 3, "bytes": 0})]
    connection.close()
    return wanted


def bytes_session(session):
    """What moves bytes, through the shell."""
    cluster = session.cluster
    cluster.put('/a "b"\\c', b"x" * 70000)
    cluster.ok("append", "-t", "more", '/a "b"\\c')
    cluster.ok("mv", '/a "b"\\c', "/d e")
    cluster.ok("cp", "/d e", "/f")
    cluster.ok("copies", "1", "/f")
    cluster.ok("get", "/f", "-")
    cluster.ok("rm", "/f")
    cluster.ok("trash", "restore", "/f")
    cluster.ok("rm", "/f")
    cluster.ok("trash", "purge", "--yes")
    cluster.ok("format", "--yes")
    return [("put_committed", {"path": '/a "b"\\c', "size": 70000, "copies": "2/3"}),
            ("appended", {"path": '/a "b"\\c', "size": 70004, "added": 4, "copies": "2/3"}),
            ("renamed", {"path": '/a "b"\\c', "to": "/d e"}),
            ("copied", {"path": "/d e", "to": "/f", "entries": 1, "bytes": 70004}),
            ("copies_set", {"path": "/f", "size": 70004, "copies": 1}),
            ("removed", {"path": "/f", "entries": 1, "bytes": 70004}),
            ("restored", {"path": "/f", "entries": 1}),
            ("purged", {"entries": 3 * len(NAMES) + 1, "bytes": 70004}),
            ("formatted", {})]


def check_operations(rows, wanted):
    """They are there, in this order, each with how long it took."""
    rest = iter(rows)
    for event, pairs in wanted:
        found = next((row for row in rest if row["event"] == event and
                      all(row.get(key) == value for key, value in pairs.items())), None)
        assert found, (event, pairs, [row for row in rows if row["event"] == event][:5])
        assert isinstance(found["ms"], int) and found["ms"] < 60000, found
        assert found["level"] in ("info", "warn", INFO, WARN), found


def check_session(form):
    with Session(form) as session:
        wanted = names_session(session) + bytes_session(session)
        rows = all_events(session.connect())
        check_operations(rows, wanted)
        numbers = [row["number"] for row in rows]
        expect(numbers, sorted(set(numbers)))
        assert all(abs(row["time_ms"] / 1000 - time.time()) < 120 for row in rows), rows[0]
        expect([row["event"] for row in rows if row["event"] == "node_joined"], ["node_joined"] * 2)
        session.stop()
        logged = session.rows(session.logs[0])
        check_operations(logged, wanted)
        said = {row["event"] for row in logged}
        assert {"started", "client_joined", "client_left", "opened", "stopping", "stopped"} <= said, said
        for path in session.logs[1:]:
            said = {row["event"] for row in session.rows(path)}
            assert {"started", "joined", "registered", "stored", "stopped"} <= said, said
        lengths = [row["length"] for row in session.rows(*session.logs[1:]) if row["event"] == "stored"]
        assert 70000 in lengths, lengths


def case_text_lines_parse():
    check_session("text")


def case_json_lines_parse():
    check_session("json")


def case_files_are_reopened():
    with Session("text", "info") as session:
        connection = session.connect()
        for number in range(3):
            expect(connection.mkdir("/before%d" % number), OK)
        for daemon, path in zip(session.cluster.daemons, session.logs):
            os.rename(path, path + ".1")
            daemon.process.send_signal(signal.SIGHUP)
            wait_until(lambda path=path: os.path.exists(path))
        expect(connection.mkdir("/after"), OK)
        connection.close()
        session.stop()
        old = [row.get("path") for row in log_of(session.logs[0] + ".1", "text")]
        new = [row.get("path") for row in log_of(session.logs[0], "text")]
        assert "/before2" in old and "/after" not in old, old
        assert "/after" in new and "/before2" not in new, new
        for path in session.logs[1:]:
            assert "started" in {row["event"] for row in log_of(path + ".1", "text")}
            assert "stopped" in {row["event"] for row in log_of(path, "text")}


def case_followers_hear_of_a_death():
    """Who waits hears within a second of it; who waits for something else is left alone."""
    with Session("text", "info") as session:
        connection, quiet = session.connect(), session.connect()
        names = [row["node"] for row in all_events(connection) if row["event"] == "node_joined"]
        expect(len(set(names)), 2)
        _, after, _ = events(connection)
        began = time.monotonic()
        expect(events(quiet, after, level=0, wait_ms=300)[0], [])
        assert 0.25 < time.monotonic() - began < 2, time.monotonic() - began
        session.cluster.storages[0].kill()
        rows, _, missed = events(connection, after, level=WARN, wait_ms=2000)
        expect([(row["event"], missed) for row in rows], [("node_suspect", 0)])
        assert rows[0]["node"] in names
        other = (set(names) - {rows[0]["node"]}).pop()
        expect(events(quiet, after, level=WARN, node=other)[0], [])
        expect(len(events(quiet, after, level=WARN, node=rows[0]["node"])[0]), 1)


def case_a_file_that_cannot_be_opened():
    with Session("text", "info") as session:
        for program in ("muster-nameserver", "muster-storage"):
            daemon = session.cluster.daemon(program, "--data", session.cluster.path + "/x", "--port", "0",
                                            "--log-file", "/nonexistent/log")
            expect(daemon.wait(), 1)
            assert "--log-file /nonexistent/log" in daemon.output(), daemon.output()


CASES = [case_text_lines_parse, case_json_lines_parse, case_files_are_reopened,
         case_followers_hear_of_a_death, case_a_file_that_cannot_be_opened]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
