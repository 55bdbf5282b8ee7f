#!/usr/bin/env python3
"""Runs muster-conformance over everything: our cores in memory, live daemons on loopback, and the sum
of what was exercised. Without arguments; BUILD_DIR says where the programs are."""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))

from muster_proc import BUILD, Daemon, Workspace, free_port  # noqa: E402

PROGRAM = os.path.join(BUILD, "muster-conformance")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
total = [0, 0, 0]


def tester(*arguments, program=PROGRAM):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    counts = COUNTS.search(done.stdout)
    return [int(number or 0) for number in counts.groups()] if counts else [0, 0, 0], done


def count(title, *arguments, **how):
    """Its results become ours."""
    print("# " + title, flush=True)
    counts, done = tester(*arguments, **how)
    print(COUNTS.sub("", done.stdout).rstrip())
    if done.returncode and not counts[1]:
        print("not ok - %s: exit status %d" % (title, done.returncode))
        counts[1] = 1
    for i in range(3):
        total[i] += counts[i]


def check(title, right, text):
    total[0 if right else 1] += 1
    print("%s - %s" % ("ok" if right else "not ok", title))
    if not right:
        print(text)


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


def storage(space, coverage, name, *arguments):
    port, control = free_port(), free_port()
    daemon = Daemon("muster-storage", space.path,
                    ["--data", os.path.join(space.path, name), "--port", str(port), "--interface", "lo",
                     "--nameserver", "127.0.0.1:%d" % control, *arguments])
    space.daemons.append(daemon)
    count("a live storage server, %s" % name, "--coverage", coverage, "--listen", str(control),
          "storage", "127.0.0.1:%d" % port)
    check("%s stops cleanly" % name, daemon.stop() == 0, daemon.output())


def main():
    with Workspace() as space:
        coverage = os.path.join(space.path, "coverage")
        tester_fails(space)
        count("in memory", "--coverage", coverage, "--scripts", HERE, "memory")
        daemon = space.nameserver()
        count("a live name server, with installed scripts", "--coverage", coverage, "nameserver",
              "127.0.0.1:%d" % daemon.port, program=installed(space))
        check("the name server stops cleanly", daemon.stop() == 0, daemon.output())
        storage(space, coverage, "large")
        storage(space, coverage, "small", "--capacity", "16M")
        count("coverage", "coverage", coverage)
    print("%d passed, %d failed, %d skipped" % tuple(total))
    sys.exit(1 if total[1] else 0)


main()
