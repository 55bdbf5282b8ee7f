#!/usr/bin/env python3
"""Clusters over several hosts, each a network namespace: discovery, addresses, who dials whom.

    test_namespaces.py [NAME ...]     only the cases whose names contain one of these

What runs on a host is told nothing but what a user would type there: no addresses.
"""
import itertools
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lan import NET, Lan, enter  # noqa: E402
from muster_cluster import DONE, KIB, MIB, Reader, content, expect, main, sockets  # noqa: E402
from muster_proc import BEACON, Beacon, wait_until  # noqa: E402

WORKERS = 4
SLACK_S = 1.0
NAMESERVER, PROBE, BEGINNER = 1, 2, 4  # kinds of datagrams

# Prints each datagram with the time it came.
LISTEN = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 3501))
print("ready", flush=True)
while True:
    data, source = s.recvfrom(2048)
    print(time.monotonic(), source[0], data.hex(), flush=True)
"""


def start(lan, *storage_hosts):
    """A name server on host 1 and a storage server on each of the others named."""
    server = lan.hosts[0].nameserver("lan")
    storages = [lan.hosts[i - 1].storage() for i in storage_hosts]
    for storage in storages:
        assert storage.event("registered"), storage.output()
    return server, storages


def logs(daemons):
    return "\n".join(daemon.output() for daemon in daemons)


# ---- finding each other

def case_everybody_is_found():
    with Lan(5) as lan:
        early = lan.hosts[1].storage()  # before there is a name server
        time.sleep(0.5)
        server = lan.hosts[0].nameserver("lan")
        began = time.monotonic()
        late = [host.storage() for host in lan.hosts[2:4]]
        for storage in [early] + late:
            assert storage.event("registered"), storage.output()
        joined = time.monotonic() - began
        assert joined < 6, joined
        nodes = lan.hosts[4].nodes()
        expect(sorted(node["address"] for node in nodes),
               ["%s.%d:3503" % (NET, number) for number in (2, 3, 4)])
        expect(len({node["machine"] for node in nodes}), 3, "machines")
        # A client that has never been here, and one that has.
        fresh, known = [], []
        for i in range(10):
            client = lan.hosts[4]
            client.environment["XDG_STATE_HOME"] = "%s/state%d" % (client.path, i)
            fresh.append(client.ok("ls").took)
            known.append(client.ok("ls").took)
        said = "joined after %.2f s; a client that remembers nothing %.0f ms, else %.0f ms" % (
            joined, statistics.median(fresh) * 1000, statistics.median(known) * 1000)
        assert statistics.median(fresh) < 0.3, said
        assert server.process.poll() is None
        return said


def case_beacons_are_regular():
    with Lan(2) as lan:
        ear = lan.hosts[1].python(LISTEN)
        expect(ear.stdout.readline(), b"ready\n")
        lan.hosts[0].nameserver("lan")
        heard = []
        while len(heard) < 7:
            when, source, data = ear.stdout.readline().split()
            data = bytes.fromhex(data.decode())
            expect((len(data), source.decode()), (BEACON.size, "%s.1" % NET))
            beacon = Beacon(data, float(when))
            expect((beacon.magic, beacon.name), (b"MSTR", "lan"))
            if not heard and beacon.kind in (PROBE, BEGINNER):  # is there another? it asks first
                continue
            expect(beacon.kind, NAMESERVER)
            heard.append(beacon)
        gaps = [b.when - a.when for a, b in zip(heard, heard[1:])]
        assert all(4.8 - 0.05 <= gap <= 5.2 + 0.05 for gap in gaps), gaps
        assert all(a.counter < b.counter for a, b in zip(heard, heard[1:]))
        return "gaps %s s" % ", ".join("%.2f" % gap for gap in gaps)


def case_two_clusters_keep_apart():
    with Lan(6) as lan:
        one, two, three, four, five, six = lan.hosts
        one.nameserver("red")
        two.nameserver("blue")
        red, blue = three.storage("--cluster", "red"), four.storage("--cluster", "blue")
        for storage in (red, blue):
            assert storage.event("registered"), storage.output()
        undecided = five.storage()
        six.fails("more than one cluster", "ls", status=3)
        for cluster, address in (("red", three.address), ("blue", four.address)):
            six.options = ["--cluster", cluster]
            expect([node["address"] for node in six.nodes()], [address + ":3503"])
            expect(six.put("/f", cluster.encode()), 1)
        for cluster in ("red", "blue"):
            six.options = ["--cluster", cluster]
            six.check("/f", cluster.encode())
        # One that has belonged to a cluster needs no name to find it again.
        red.kill()
        red = three.storage()
        assert red.event("registered"), red.output()
        six.options = ["--cluster", "red"]
        six.wait_until(lambda: [node["state"] for node in six.nodes()] == ["online"])
        expect([len(six.nodes()), "registered" in undecided.output()], [1, False])
        wait_until(lambda: "two_clusters" in undecided.output())
        six.options = ["--cluster", "green"]
        six.fails("no name server", "--timeout", "1", "ls", status=3)


# ---- who can reach whom

def case_copies_go_to_different_machines():
    with Lan(5) as lan:
        server = lan.hosts[0].nameserver("lan")
        for host in lan.hosts[1:4]:
            for data in ("a", "b"):
                storage = host.storage(data=data)
                assert storage.event("registered"), storage.output()
        client = lan.hosts[4]
        machine = {node["id"]: node["machine"] for node in client.nodes()}
        expect((len(machine), len(set(machine.values()))), (6, 3), "servers and machines")
        used = set()
        for i in range(20):
            expect(client.put("/f%d" % i, content(300 * KIB, i)), 3)
            holders = [holder["id"] for holder in client.ok("stat", "/f%d" % i,
                                                            json_=True).json()["holders"]]
            expect((len(holders), len({machine[holder] for holder in holders})), (3, 3), holders)
            used.update(holders)
        expect(len(used), 6, "servers used")
        assert server.process.poll() is None


def case_loopback_is_for_one_machine_only():
    """Name server, a storage server and a client on one host; others elsewhere."""
    with Lan(3) as lan:
        here, there, far = lan.hosts
        here.nameserver("lan")
        daemons = [here.storage(), there.storage()]
        for daemon in daemons:
            assert daemon.event("registered"), daemon.output()
        far.wait_online(2)
        data = content(36 * MIB)
        for client in (far, here, there):
            quiet = [(host, host.bytes_passed("lo")) for host in (there, far) if host is not client]
            assert not [node for node in client.nodes() if node["address"].startswith("127.")
                        and client is not here], client.nodes()
            for way in ("auto", "active", "passive"):
                client.options = ["--transfer", way]
                for i in range(3):  # either server is at the chain's head now and then
                    path = "/%d-%s-%d" % (client.number, way, i)
                    expect(client.put(path, content(200 * KIB, i)), 2, path)
                    client.check(path, content(200 * KIB, i))
                path = "/%d-%s" % (client.number, way)
                expect(client.put(path, data), 2, path)
                client.check(path, data)
            # Nobody was sent to itself by the address of somebody else's loopback.
            for host, before in quiet:
                expect(host.bytes_passed("lo"), before, "loopback of host %d" % host.number)
        for host in lan.hosts:
            host.check("/1-auto", data)
            host.check("/3-auto", data)
        for daemon in daemons:
            assert "hop" not in daemon.output(), daemon.output()
            assert "UNREACHABLE" not in daemon.output(), daemon.output()


def case_client_that_cannot_dial():
    with Lan(4) as lan:
        start(lan, 2, 3)
        client = lan.hosts[3]
        client.drop("output tcp dport 3503 tcp flags & (syn | ack) == syn")
        data = content(20 * MIB)
        for options in ([], ["--transfer", "active"]):
            client.options = options
            expect(client.put("/f", data, "-f"), 2)
            client.check("/f", data)
        client.options = ["--transfer", "passive"]
        result = client.fails("no storage server", "get", "/f", "-")
        assert result.took < 5 + SLACK_S, result
        return "passive: %s" % result.err.strip()


def case_client_that_cannot_be_dialled():
    with Lan(4) as lan:
        start(lan, 2, 3)
        client = lan.hosts[3]
        client.drop("input tcp dport 3504-3600 tcp flags & (syn | ack) == syn")
        data = content(20 * MIB)
        times = []
        for options in ([], ["--transfer", "passive"]):
            client.options = options
            expect(client.put("/f", data, "-f"), 2)
            client.check("/f", data)
            client.put("/s", b"small", "-f")
            times.append(client.ok("cat", "/s").took)
        client.options = ["--transfer", "active"]
        result = client.fails("no storage server", "get", "/f", "-")
        assert result.took < 5 + SLACK_S, result
        assert times[0] < 0.3 + SLACK_S, times
        return "small get %.2f s, passive only %.2f s" % tuple(times)


def case_client_that_can_do_neither():
    with Lan(3) as lan:
        start(lan, 2)
        client = lan.hosts[2]
        client.put("/f", b"x" * 100)
        client.drop("input tcp dport 3504-3600 tcp flags & (syn | ack) == syn",
                    "output tcp dport 3503 tcp flags & (syn | ack) == syn")
        get = client.fails("no storage server", "get", "/f", "-")
        put = client.fails("no storage server", "put", "-", "/g", stdin=b"y" * 100)
        assert max(get.took, put.took) < 5 + SLACK_S, (get, put)
        expect(sorted(client.names()), ["f"])
        return "%.1f s, %.1f s: %s" % (get.took, put.took, get.err.strip())


# ---- the network fails

def case_cable_pulled_in_a_get():
    with Lan(5) as lan:
        _, storages = start(lan, 2, 3, 4)
        client = lan.hosts[4]
        data = content(80 * MIB)
        expect(client.put("/f", data), 3)
        process = client.open("get", "/f", "-")
        reader = Reader(process)
        assert reader.take(2 * MIB)

        def senders():
            own = sockets(process.pid, "01")
            return [host for host, storage in zip(lan.hosts[1:4], storages)
                    if any((remote, local) in own and waiting for (local, remote), waiting
                           in sockets(storage.process.pid, "01").items())]

        cut = wait_until(senders)[0]
        cut.link("down")
        result = reader.finish()
        expect((result.status, result.err), (DONE, ""))
        assert reader.data == data
        assert 0.5 < reader.longest < 1 + SLACK_S, reader.longest
        expect(client.put("/g", content(20 * MIB)) >= 2, True)
        client.wait_until(lambda: sorted(n["state"] for n in client.nodes()) ==
                          ["offline", "online", "online"], 18)
        cut.link("up")
        began = time.monotonic()
        client.wait_until(lambda: {n["state"] for n in client.nodes()} == {"online"}, 20)
        return "longest silence %.2f s; back %.1f s after the cable" % (
            reader.longest, time.monotonic() - began)


def case_cable_pulled_at_the_name_server():
    """Nobody hears that it goes; who comes now reads all the same before his time is up."""
    with Lan(4) as lan:
        start(lan, 2, 3)
        client = lan.hosts[3]
        expect(client.put("/f", b"still here"), 2)
        client.wait_until(lambda: not any(node["catalogue_lag"] for node in client.nodes()))
        client.environment["XDG_STATE_HOME"] = client.path + "/fresh"
        lan.hosts[0].link("down")
        result = client.ok("cat", "/f")
        expect(result.out, b"still here")
        assert "degraded" in result.err, result
        assert result.took < 4.5, result
        again = client.ok("cat", "/f")
        assert again.took < 1 + SLACK_S, again
        return "%.1f s, then %.1f s" % (result.took, again.took)


def case_renumbered_storage_is_back():
    with Lan(4) as lan:
        start(lan, 2, 3)
        client = lan.hosts[3]
        expect(client.put("/f", content(20 * MIB)), 2)
        lan.hosts[1].renumber(NET + ".102")
        began = time.monotonic()
        client.wait_until(lambda: sorted((n["address"], n["state"]) for n in client.nodes()) ==
                          [(NET + ".102:3503", "online"), (NET + ".3:3503", "online")], 15 + SLACK_S)
        took = time.monotonic() - began
        lan.hosts[2].link("down")
        client.check("/f", content(20 * MIB))
        return "%.1f s" % took


def case_renumbered_name_server_is_back():
    with Lan(4) as lan:
        start(lan, 2, 3)
        client = lan.hosts[3]
        expect(client.put("/f", content(20 * MIB)), 2)
        lan.hosts[0].renumber(NET + ".101")
        began = time.monotonic()

        tries = itertools.count()

        def back():  # a change needs all of them; the list of servers is older than the move
            return client.muster("put", "-", "/g%d" % next(tries), stdin=content(MIB)).status == DONE

        client.wait_until(back, 15 + SLACK_S)
        took = time.monotonic() - began
        client.check("/f", content(20 * MIB))
        client.wait_online(2, 15)
        expect(client.put("/g", content(MIB)), 2)
        return "%.1f s" % took


def case_stand_by_that_serves_goes_on_after_a_split():
    """The first name server, back as the deputy, has drawn one storage server to itself meanwhile."""
    with Lan(5) as lan:
        first = lan.hosts[0].nameserver("lan", "--dead-after", "10")
        storages = [host.storage() for host in lan.hosts[1:4]]
        for storage in storages:
            assert storage.event("registered"), storage.output()
        client = lan.hosts[4]
        client.wait_until(lambda: client.muster("status", json_=True).json()["journal_up"] == 3, 15)
        second = client.daemon("muster-nameserver", "--data", client.path + "/ns", "--cluster", "lan",
                               "--standby", "--dead-after", "10")
        assert second.event("standby_waiting", 15), second.output()
        lan.hosts[0].link("down")
        assert second.event("started", 40), second.output()
        lan.hosts[0].link("up")
        assert first.event("standby_waiting", 40), first.output()
        for host, others in ((lan.hosts[0], (3, 4, 5)), (lan.hosts[1], (3, 4, 5))):
            host.drop(*["%s ip %s %s.%d" % (way, side, NET, other) for other in others
                        for way, side in (("input", "saddr"), ("output", "daddr"))])
        assert first.event("takeover_waiting", 60), first.output()
        expect(client.muster("mkdir", "/meanwhile").status, DONE)
        for host in lan.hosts[:2]:
            host.inside("nft", "flush", "ruleset")
        assert second.event("begins_anew", 30), second.output()
        began = time.monotonic()
        names = itertools.count()
        client.wait_until(lambda: client.muster("mkdir", "/d%d" % next(names)).status == DONE, 6)
        took = time.monotonic() - began
        assert "meanwhile" in client.names("/")
        return "%.1f s" % took


def memory_kib(process):
    with open("/proc/%d/status" % process.pid) as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def case_file_bytes_pass_by_the_name_server():
    with Lan(4) as lan:
        server, _ = start(lan, 2, 3)
        client = lan.hosts[3]
        client.put("/warm", content(MIB))
        client.wait_until(lambda: client.names())
        before, memory = lan.hosts[0].bytes_passed(), memory_kib(server.process)
        local = os.path.join(client.path, "local")
        with open(local, "wb") as file:
            for i in range(16):
                file.write(content(16 * MIB, i))
        client.ok("put", local, "/f")
        passed = lan.hosts[0].bytes_passed() - before
        client.ok("get", "/f", local + "2")
        expect(subprocess.run(["cmp", local, local + "2"], check=False).returncode, 0)
        grown = memory_kib(server.process) - memory
        assert passed < 256 * MIB // 100, passed
        assert grown < 8 * 1024, "%d KiB" % grown
        return "%.1f KiB for 256 MiB; memory grew by %d KiB" % (passed / KIB, grown)


# The long ones first.
CASES = [case_stand_by_that_serves_goes_on_after_a_split, case_beacons_are_regular,
         case_cable_pulled_in_a_get, case_cable_pulled_at_the_name_server, case_renumbered_storage_is_back,
         case_renumbered_name_server_is_back, case_loopback_is_for_one_machine_only,
         case_file_bytes_pass_by_the_name_server, case_client_that_can_do_neither,
         case_client_that_cannot_dial, case_client_that_cannot_be_dialled,
         case_two_clusters_keep_apart, case_copies_go_to_different_machines,
         case_everybody_is_found]

if __name__ == "__main__":
    problem = enter([sys.executable, "-B"] + sys.argv)
    if problem:
        print("no network namespaces here, so none of this was tested: %s" % problem)
        print("0 passed, 0 failed, %d skipped" % len(CASES))
        sys.exit(0)
    sys.exit(main(CASES, WORKERS))
