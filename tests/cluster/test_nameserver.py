#!/usr/bin/env python3
"""muster-nameserver as a process: what it keeps, what it refuses, what strangers can do to it.

    test_nameserver.py [NAME ...]     only the tests whose names contain one of these
"""
import glob
import os
import random
import resource
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_proc import *  # noqa: E402,F403

CREATES = 1000


def expect(value, wanted, what=""):
    if value != wanted:
        raise AssertionError("%s: %r, not %r" % (what, value, wanted))


def refused(work, *arguments, status=1, **how):
    """Starts a name server that must end by itself; returns its one line."""
    daemon = work.nameserver(*arguments, wait=False, **how)
    expect(daemon.wait(), status, "exit status")
    lines = daemon.output().splitlines()
    expect(len(lines), 1, daemon.output())
    assert lines[0].startswith("muster-nameserver: "), lines[0]
    return lines[0]


def test_restart_keeps_what_it_knew():
    with Workspace() as work:
        server = work.nameserver()
        expect(sorted(os.listdir(server.data)), ["identity", "journal", "lock", "view"], "directory")
        first = server.connect()
        expect(first.cluster_name, server.cluster)
        expect(first.mkdir("/a"), OK)
        expect(first.create("/a/f"), OK)
        expect(first.create("/a/f"), EXISTS)
        expect(server.stop(), 0, "exit status")
        server = work.nameserver()
        again = server.connect(cluster=first.cluster, expected=first.server)
        expect(again.stat("/a/f"), OK)
        expect(again.stat("/a/g"), NOT_FOUND)
        expect((again.cluster, again.server), (first.cluster, first.server))
        expect(again.epoch, first.epoch + 1, "epoch")
        expect(server.stop(), 0, "exit status")


def create_until_killed(server, prefix, kill_after):
    """Pipelines creates; kills the server after that many answers. Returns the names acknowledged."""
    connection = server.connect()

    def feed():
        try:
            for i in range(CREATES):
                connection.send(frame(CREATE, i + 1000, i + 1, 1, text("/%s-%d" % (prefix, i))))
        except OSError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    acknowledged = []
    while True:
        try:
            reply = connection.receive()
        except OSError:
            reply = None
        if reply is None:
            break
        if reply.type == CREATE:
            expect(reply.status, OK, "create")
            acknowledged.append("/%s-%d" % (prefix, reply.id - 1000))
            if len(acknowledged) == kill_after:
                server.process.kill()
            if len(acknowledged) == CREATES:
                break
    feeder.join()
    connection.close()
    server.kill()
    return acknowledged


def missing(connection, names):
    for i, name in enumerate(names):
        connection.send(frame(STAT, 5000 + i, 0, 0, text(name)))
    lost = []
    for _ in names:
        reply = connection.receive()
        if reply.status != OK:
            lost.append(names[reply.id - 5000])
    return lost


def test_kill_loses_nothing_acknowledged():
    with Workspace() as work:
        names = []
        for turn, kill_after in enumerate((1, 137, 400, 700, 999, CREATES)):
            server = work.nameserver()
            names += create_until_killed(server, "t%d" % turn, kill_after)
        server = work.nameserver()
        connection = server.connect()
        for start in range(0, len(names), 1000):
            expect(missing(connection, names[start:start + 1000]), [], "lost")
        print("# %d acknowledged creates, 6 kills, 0 lost" % len(names))


def test_repeated_request_has_the_recorded_answer():
    with Workspace() as work:
        server = work.nameserver()
        first = server.connect()
        body = text("/once")
        told = first.ask(CREATE, 7, 7, body)
        expect(told.status, OK)
        server.kill()
        server = work.nameserver()
        again = Connection(server.port)
        again.id = first.id
        again.hello()
        repeated = again.ask(CREATE, 7, 7, body)
        expect((repeated.status, repeated.arg1, repeated.arg2), (OK, told.arg1, told.arg2))
        expect(again.ask(CREATE, 8, 8, body).status, EXISTS)


def test_failed_write_is_never_acknowledged():
    with Workspace() as work:
        server = work.nameserver(limits={resource.RLIMIT_FSIZE: 400 * 1024})
        connection = server.connect()
        names = []
        for i in range(2000):
            number = i + 10
            try:
                connection.send(frame(CREATE, number, i + 1, i + 1, text("/%d" % i)))
                reply = connection.receive()
            except OSError:
                break
            if reply is None:
                break
            expect(reply.status, OK)
            names.append("/%d" % i)
        expect(server.wait(), 1, "exit status")
        assert server.event("failed") and len(names) < 2000
        server = work.nameserver()
        for start in range(0, len(names), 1000):
            expect(missing(server.connect(), names[start:start + 1000]), [], "lost")


def test_view_is_rebuilt_from_the_journal():
    with Workspace() as work:
        server = work.nameserver()
        connection = server.connect()
        for i in range(50):
            expect(connection.create("/f%d" % i), OK)
        server.stop()
        shutil.rmtree(os.path.join(server.data, "view"))
        server = work.nameserver()
        assert "view_rebuilt" in server.output(), server.output()
        expect(missing(server.connect(), ["/f%d" % i for i in range(50)]), [], "lost")
        server.stop()
        with open(os.path.join(server.data, "view", "data.mdb"), "r+b") as view:
            view.write(b"\xff" * 8192)
        server = work.nameserver()
        assert "view_rebuilt" in server.output(), server.output()
        expect(missing(server.connect(), ["/f%d" % i for i in range(50)]), [], "lost")
        server.stop()
        shutil.rmtree(os.path.join(server.data, "journal"))
        assert "journal/ is missing" in refused(work)


def test_damaged_journal_is_refused():
    with Workspace() as work:
        server = work.nameserver()
        connection = server.connect()
        for i in range(10):
            expect(connection.create("/f%d" % i), OK)
        server.kill()
        shutil.rmtree(os.path.join(server.data, "view"))
        path = sorted(glob.glob(os.path.join(server.data, "journal", "*")))[0]
        with open(path, "r+b") as journal:
            journal.seek(3 * 4096 + 20)
            byte = journal.read(1)
            journal.seek(3 * 4096 + 20)
            journal.write(bytes([byte[0] ^ 1]))
        assert "journal/ is damaged" in refused(work)


def test_what_cannot_be_served_is_refused_in_one_line():
    with Workspace() as work:
        server = work.nameserver()
        assert "another name server uses it" in refused(work)
        other = os.path.join(work.path, "other")
        assert "is taken" in refused(work, "--port", str(server.port), "--data", other)
        server.stop()
        line = refused(work, name="elsewhere")
        assert 'belongs to cluster "%s", not "elsewhere"' % server.cluster in line, line
        taken = os.path.join(work.path, "file")
        open(taken, "w").close()
        assert "--data" in refused(work, "--data", taken + "/ns")
        foreign = os.path.join(work.path, "foreign")
        os.mkdir(foreign)
        open(os.path.join(foreign, "superblock"), "w").close()
        assert "no name server's directory" in refused(work, "--data", foreign)
        expect(os.listdir(foreign), ["superblock"], "a foreign directory is left alone")
        assert "no interface" in refused(work, "--data", other, interface="no-such0")
        for arguments in (["--key", "k"], ["--copies", "10"], ["--frobnicate"], ["word"],
                          ["--log-level", "loud"], ["--suspect-after", "9", "--dead-after", "3"],
                          ["--cluster", "x" * 32]):
            refused(work, *arguments, status=2)
        for arguments, said in ((["--suspect-after", "0"], "--suspect-after wants more than 0"),
                                (["--standby", "--accept-rebuild"], "give one of them"),
                                (["--scrub-days"], "--scrub-days: wants DAYS")):
            line = refused(work, *arguments, status=2)
            assert said in line, line


def test_help_and_version():
    with Workspace() as work:
        for option, wanted in (("--help", "--beacon-interval"), ("--version", "muster-nameserver ")):
            daemon = Daemon("muster-nameserver", work.path, [option])
            expect(daemon.wait(), 0, option)
            assert wanted in daemon.output()
        server = work.nameserver("--open", environment={"MUSTER_LOG_FORMAT": "json"}, wait=False)
        line = wait_until(lambda: server.output().splitlines()[:1])[0]
        assert line.startswith("{") and line.endswith("}"), line


def test_hangup_reopens_the_log_only():
    with Workspace() as work:
        server = work.nameserver()
        connection = server.connect()
        server.process.send_signal(signal.SIGHUP)
        expect(connection.create("/f"), OK)
        connection.socket.settimeout(5)
        server.process.send_signal(signal.SIGINT)
        expect(connection.receive(), None, "goodbye")
        expect(server.wait(), 0, "exit status")


def test_beacon_period():
    with Workspace() as work:
        port = free_port(socket.SOCK_DGRAM)
        listener = BeaconListener(port)
        server = work.nameserver(beacon_port=port)
        beacons = [listener.next(6) for _ in range(3)]
        periods = [b.when - a.when for a, b in zip(beacons, beacons[1:])]
        print("# periods %s s" % ", ".join("%.3f" % period for period in periods))
        assert all(4.8 <= period <= 5.2 for period in periods), periods
        connection = server.connect()
        for beacon in beacons:
            expect((beacon.version, beacon.length, beacon.key, beacon.tag), (1, 128, 0, NONE))
            expect((beacon.port, beacon.name), (server.port, server.cluster))
            expect((beacon.cluster, beacon.server), (connection.cluster, connection.server))
            expect((beacon.epoch, beacon.interval_ms), (connection.epoch, 5000))
        assert beacons[0].counter < beacons[1].counter < beacons[2].counter
        listener.close()


def test_restarted_beacons_are_news():
    with Workspace() as work:
        port = free_port(socket.SOCK_DGRAM)
        listener = BeaconListener(port)
        work.nameserver("--beacon-interval", "0.2", beacon_port=port).kill()
        first = listener.next(0.1)
        while listener.next(0.1):
            pass
        work.nameserver("--beacon-interval", "0.2", beacon_port=port)
        second = listener.next(5)
        if first:
            assert (second.epoch, second.start) > (first.epoch, first.start)
        listener.close()


def test_datagrams():
    """Junk is ignored; a probe brings the next beacon early, at most five times a second."""
    with Workspace() as work:
        port = free_port(socket.SOCK_DGRAM)
        listener = BeaconListener(port)
        server = work.nameserver("--beacon-interval", "60", beacon_port=port)
        assert listener.next(2), "the first beacon"
        junk = random.Random(1)
        good = probe(server.cluster)
        bad = [bytes(junk.randrange(256) for _ in range(junk.randrange(0, 1500))) for _ in range(50)]
        bad += [good[:127], good + b"\0", b"", probe(server.cluster, version=2),
                probe(server.cluster, kind=9), probe("another"), probe("", os.urandom(16)),
                good[:14] + b"\1" + good[15:], good[:120] + b"\1" + good[121:],
                good[:80] + b"x" * 32 + good[112:]]
        for datagram in bad:
            listener.say(datagram)
        expect(listener.next(0.7), None, "a beacon after junk")
        listener.say(good)
        assert listener.next(0.5), "a beacon after a probe"
        listener.say(probe(""))
        assert listener.next(1.0), "a beacon after a probe for any cluster"
        time.sleep(1.0)
        for _ in range(200):
            listener.say(good)
        heard, end = 0, time.monotonic() + 0.9
        while listener.next(end - time.monotonic()):
            heard += 1
        assert 1 <= heard <= 5, heard
        expect(server.connect().stat("/"), OK)
        listener.close()


def closed_after(connection):
    while True:
        reply = connection.receive()
        if reply is None:
            return


def test_junk_on_a_connection():
    with Workspace() as work:
        server = work.nameserver()
        first = Connection(server.port)
        first.request(STAT, 0, 0, text("/"))
        closed_after(first)

        unknown = server.connect()
        expect(unknown.ask(0x7f00, 1, 2, b"what?").status, UNSUPPORTED)
        expect(unknown.ask(0x60).status, UNSUPPORTED, "read is for storage servers")
        expect(unknown.stat("/"), OK, "the connection lives")

        for spoil in (lambda f: f[:2] + b"\xf0" + f[3:], lambda f: f[:3] + b"\1" + f[4:],
                      lambda f: f[:28] + b"\1" + f[29:]):
            connection = server.connect()
            connection.send(spoil(frame(PING, 77, 5)))
            reply = connection.receive()
            expect((reply.status, reply.id, reply.arg1, reply.body), (BAD_REQUEST, 77, 0, b""))
            expect(connection.receive(), None, "closed after it")

        short = server.connect()
        expect(short.ask(STAT, 0, 0, b"\xff\xff/").status, BAD_REQUEST)
        expect(short.receive(), None, "closed after it")

        huge = server.connect()
        huge.send(HEADER.pack(STAT, 0, 0, 9, 0, 0, 0xffffffff, 0))
        assert huge.receive().status in (BAD_REQUEST, TOO_LARGE)
        expect(huge.receive(), None, "closed after it")

        stranger = Connection(server.port)
        stranger.send(HEADER.pack(HELLO, 0, 0, 1, 1 << 16 | 1, 0, 1 << 20, 0) + bytes(4000))
        closed_after(stranger)

        junk = random.Random(2)
        for _ in range(50):
            connection = Connection(server.port)
            try:
                connection.send(bytes(junk.randrange(256) for _ in range(junk.randrange(32, 3000))))
                closed_after(connection)
            except OSError:
                pass
        expect(server.connect().stat("/"), OK)


def test_wrong_hello():
    with Workspace() as work:
        server = work.nameserver()
        expect(Connection(server.port).hello(versions=9 << 16 | 9).status, WRONG_VERSION)
        expect(Connection(server.port).hello(name="another").status, WRONG_CLUSTER)
        expect(Connection(server.port).hello(cluster=os.urandom(16)).status, WRONG_CLUSTER)


def test_silent_stranger_is_dropped():
    with Workspace() as work:
        server = work.nameserver()
        began = time.monotonic()
        stranger = Connection(server.port, timeout=8)
        stranger.send(b"\1")
        closed_after(stranger)
        assert 4.5 < time.monotonic() - began < 6.5, time.monotonic() - began


def test_more_than_the_pipeline_takes():
    """Far more requests than are read at once; then the same from a peer that does not read."""
    with Workspace() as work:
        server = work.nameserver()
        connection = server.connect()
        connection.create("/f")
        count = 20000
        requests = b"".join(frame(STAT, i, 0, 0, text("/f")) for i in range(count))
        feeder = threading.Thread(target=connection.send, args=(requests,))
        feeder.start()
        seen = set()
        while len(seen) < count:
            reply = connection.receive()
            expect(reply.status, OK)
            seen.add(reply.id)
        feeder.join()

        deaf = server.connect()
        deaf.socket.settimeout(1)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += deaf.socket.send(requests)
        except socket.timeout:
            pass
        assert sent < 64 << 20, "it reads for ever"
        expect(connection.stat("/f"), OK, "another one")
        assert anonymous_kib(server) < 64 * 1024, anonymous_kib(server)


def anonymous_kib(server):
    """Memory of its own; 0 for a sanitizer build, whose shadow would count."""
    with open("/proc/%d/maps" % server.process.pid) as maps:
        if "libasan" in maps.read():
            return 0
    with open("/proc/%d/status" % server.process.pid) as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["RssAnon"].split()[0])


def worst_of(connection, count=300):
    times = []
    for _ in range(count):
        began = time.monotonic()
        expect(connection.stat("/"), OK)
        times.append(time.monotonic() - began)
    return sorted(times)[count * 99 // 100]


def test_idle_connections_disturb_nobody():
    with Workspace() as work:
        server = work.nameserver()
        connection = server.connect()
        alone = worst_of(connection)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        idle = [server.connect() for _ in range(1000)]
        crowded = worst_of(connection)
        print("# p99 %.2f ms alone, %.2f ms among 1000" % (alone * 1e3, crowded * 1e3))
        assert crowded < max(3 * alone, 0.005), (alone, crowded)
        for other in idle:
            other.close()
        expect(connection.stat("/"), OK)


def test_few_descriptors():
    with Workspace() as work:
        server = work.nameserver(limits={resource.RLIMIT_NOFILE: 40})
        connection = server.connect()
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
        before = cpu_seconds(server)
        time.sleep(0.5)
        assert cpu_seconds(server) - before < 0.2, "it spins"
        expect(connection.stat("/"), OK)
        for other in crowd:
            other.close()
        expect(wait_until(lambda: server.connect()).stat("/"), OK)


def cpu_seconds(server):
    with open("/proc/%d/stat" % server.process.pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    wanted = sys.argv[1:]
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    passed = failed = 0
    for name, test in tests:
        if wanted and not any(word in name for word in wanted):
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            print("ok %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
        except Exception:
            failed += 1
            print("not ok %s" % name)
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
