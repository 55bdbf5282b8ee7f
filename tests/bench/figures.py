"""What the workloads of `make bench` share: programs that print figures, rounds beside their floor, the
table at the end."""
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from muster_cluster import BUILD  # noqa: E402

BENCH = os.path.join(BUILD, "bench")
FIGURES = []


def lines(*command, limit=600):
    """The JSON lines that a program prints."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, timeout=limit)
    if done.returncode:
        sys.exit("%s: exit status %d" % (" ".join(map(str, command)), done.returncode))
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def floor(*words):
    return lines(BENCH + "/floor", *words)[0]["per_second"]


def quartiles(values):
    if len(values) < 2:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def figure(name, unit, pairs, target):
    """pairs: (floor, ours) of each round."""
    ours, bare = quartiles([p[1] for p in pairs]), quartiles([p[0] for p in pairs])
    ratio = quartiles([p[1] / p[0] for p in pairs])
    FIGURES.append({"name": name, "unit": unit, "rounds": len(pairs), "target": target,
                    "muster": [round(v, 3) for v in ours], "floor": [round(v, 3) for v in bare],
                    "ratio": [round(v, 3) for v in ratio]})
    print(json.dumps(FIGURES[-1]), flush=True)


def value(name, unit, amount, target):
    FIGURES.append({"name": name, "unit": unit, "value": round(amount, 3), "target": target})
    print(json.dumps(FIGURES[-1]), flush=True)


def memory(process):
    """Anonymous memory in MiB: the page cache of mapped files does not count."""
    try:
        with open("/proc/%d/status" % process.pid) as status:
            return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) / 1024
    except (OSError, AttributeError):
        return 0.0


class Peak:
    """The most memory that some processes had at one time, by role."""

    def __init__(self, roles):
        self.roles, self.peak = roles, {role: 0.0 for role in roles}
        self.running = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.running.wait(0.02):
            for role, processes in self.roles.items():
                for process in processes:
                    self.peak[role] = max(self.peak[role], memory(process))

    def __enter__(self):
        self.thread.start()
        return self.peak

    def __exit__(self, *_):
        self.running.set()
        self.thread.join()


def timed(cluster, *words):
    """Seconds that a whole command takes, and the most memory it had in MiB. Its output goes nowhere."""
    with open(os.devnull, "wb") as out:
        start = time.monotonic()
        process = cluster.open(*words, stdout=out)
        with Peak({"client": [process]}) as peak:
            status = process.wait()
    if status:
        sys.exit("%s: exit status %d" % (" ".join(words), status))
    return time.monotonic() - start, peak["client"]


# ---- the page


def processor():
    with open("/proc/cpuinfo") as info:
        found = re.search(r"model name\s*: (.*)", info.read())
    return found.group(1) if found else platform.machine()


def table():
    print("\n%d × %s, Linux %s. Muster and floor: median [quartiles]." %
          (os.cpu_count(), processor(), platform.release()))
    print("\n| figure | unit | Muster | floor | ratio | target |\n|---|---|---|---|---|---|")

    def show(three, digits):
        digits = max(digits, 2) if three[1] < 10 else digits
        return "%.*f [%.*f–%.*f]" % (digits, three[1], digits, three[0], digits, three[2])

    for f in FIGURES:
        if "value" in f:
            print("| %s | %s | %.3g | – | – | %s |" % (f["name"], f["unit"], f["value"], f["target"]))
        else:
            print("| %s | %s | %s | %s | %s | %s |" % (
                f["name"], f["unit"], show(f["muster"], 0), show(f["floor"], 0), show(f["ratio"], 2),
                f["target"]))
