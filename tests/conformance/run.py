#!/usr/bin/env python3
"""Runs muster-conformance over everything: our cores in memory, live daemons on loopback, and the sum
of what was exercised. Without arguments; BUILD_DIR says where the programs are. The live ones mostly
wait, so they run at the same time."""
import concurrent.futures
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))

from muster_proc import BUILD, Daemon, Workspace, free_port, wait_until  # noqa: E402

PROGRAM = os.path.join(BUILD, "muster-conformance")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
# A broken disk, a disk in two machines, a name server's full disk.
NEEDS_MEMORY = {"IO", "DUPLICATE_NODE", "CATALOGUE_FULL"}
total = [0, 0, 0]
lock = threading.Lock()


def tester(*arguments, program=PROGRAM):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    counts = COUNTS.search(done.stdout)
    return [int(number or 0) for number in counts.groups()] if counts else [0, 0, 0], done


def count(title, *arguments, **how):
    """Its results become ours."""
    counts, done = tester(*arguments, **how)
    text = "# %s\n%s\n" % (title, COUNTS.sub("", done.stdout).rstrip())
    if done.returncode and not counts[1]:
        text += "not ok - %s: exit status %d\n" % (title, done.returncode)
        counts[1] = 1
    with lock:
        print(text, end="", flush=True)
        for i in range(3):
            total[i] += counts[i]


def check(title, right, text):
    with lock:
        total[0 if right else 1] += 1
        print("%s - %s" % ("ok" if right else "not ok", title), flush=True)
        if not right:
            print(text, flush=True)


def tester_fails(space):
    """It can tell right from wrong."""
    script = os.path.join(space.path, "wrong.mst")
    with open(script, "w") as file:
        file.write("server nameserver\nclient a: send ping cookie=5\nclient a: expect ping cookie=6\n")
    counts, done = tester("memory", script)
    check("a reply that differs fails", done.returncode == 1 and counts == [0, 1, 0] and
          "wrong.mst:3: cookie differs" in done.stdout, done.stdout)
    counts, done = tester("coverage", os.path.join(space.path, "nothing"))
    check("what nobody exercised fails", done.returncode == 1 and counts[1] > 50, done.stdout)
    counts, done = tester("storage")
    check("usage", done.returncode == 2, done.stdout)


def installed(space):
    """A copy of the program with its scripts where `make install` puts them."""
    program = os.path.join(space.path, "bin", "muster-conformance")
    scripts = os.path.join(space.path, "share", "muster", "conformance")
    os.makedirs(os.path.dirname(program))
    os.makedirs(scripts)
    shutil.copy(PROGRAM, program)
    for name in os.listdir(HERE):
        if name.endswith(".mst"):
            shutil.copy(os.path.join(HERE, name), scripts)
    return program


def nameserver(space, coverage):
    daemon = space.nameserver()
    count("a live name server, with installed scripts", "--coverage", coverage, "nameserver",
          "127.0.0.1:%d" % daemon.port, program=installed(space))
    check("the name server stops cleanly", daemon.stop() == 0, daemon.output())


def takes_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def takeover(space, coverage):
    """A name server that has nothing yet; the script's storage server has a catalogue."""
    port = free_port()
    daemon = Daemon("muster-nameserver", space.path,
                    ["--data", os.path.join(space.path, "empty"), "--port", str(port), "--interface", "lo",
                     "--beacon-port", str(free_port(socket.SOCK_DGRAM)), "--cluster", "conformance",
                     "--accept-rebuild"])
    space.daemons.append(daemon)
    wait_until(lambda: takes_connections(port))
    count("a live name server that takes over", "--coverage", coverage, "--patience", "20", "nameserver",
          "127.0.0.1:%d" % port, os.path.join(HERE, "46-takeover.mst"))
    check("it stops cleanly, too", daemon.stop() == 0, daemon.output())


def storage(space, coverage, name, *arguments):
    port, control = free_port(), free_port()
    daemon = Daemon("muster-storage", space.path,
                    ["--data", os.path.join(space.path, name), "--port", str(port), "--interface", "lo",
                     "--nameserver", "127.0.0.1:%d" % control, *arguments])
    space.daemons.append(daemon)
    count("a live storage server, %s" % name, "--coverage", coverage, "--listen", str(control),
          "storage", "127.0.0.1:%d" % port)
    check("%s stops cleanly" % name, daemon.stop() == 0, daemon.output())


def joined(space, name, paths):
    """One file of coverage from several."""
    path = os.path.join(space.path, name)
    with open(path, "w") as out:
        for part in paths:
            with open(part) as file:
                out.write(file.read())
    return path


def main():
    with Workspace() as space:
        coverage = [os.path.join(space.path, "coverage%d" % i) for i in range(5)]
        tester_fails(space)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            jobs = [pool.submit(nameserver, space, coverage[0]),
                    pool.submit(takeover, space, coverage[4]),
                    pool.submit(storage, space, coverage[1], "large"),
                    pool.submit(storage, space, coverage[2], "small", "--capacity", "16M")]
            count("in memory", "--coverage", coverage[3], "--scripts", HERE, "memory")
            for job in jobs:
                job.result()
        live = tester("coverage", joined(space, "live", coverage[:3] + coverage[4:]))[1].stdout
        missing = set(re.findall(r"^not ok - .* (\w+)$", live, re.M))
        check("live daemons met all but what needs memory", missing <= NEEDS_MEMORY, live)
        count("coverage", "coverage", joined(space, "all", coverage))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    sys.exit(1 if total[1] else 0)


main()
