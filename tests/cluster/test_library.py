#!/usr/bin/env python3
"""libmuster against real daemons: files of many sizes, both ways to connect, servers that die or
freeze in the midst of a transfer."""
import concurrent.futures
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from muster_proc import BUILD, ROOT, Daemon, NameServer

LARGE, MARK = 160 * 1000 * 1000, 32 * 1000 * 1000
WORKERS = 3


def compile_program(directory, name):
    program = os.path.join(directory, name)
    libraries = subprocess.check_output(["pkg-config", "--libs", "libcrypto", "libisal"], text=True)
    subprocess.check_call(
        os.environ.get("CC", "cc").split() +
        ["-std=c11", "-O2", "-D_GNU_SOURCE", "-iquote", os.path.join(ROOT, "client/lib"), os.path.join(ROOT, "tests/cluster", name + ".c"),
         "-o", program, os.path.join(BUILD, "libmuster.a"), "-lpthread"] + libraries.split())
    return program


class Library(unittest.TestCase):
    """A cluster for the tests of one class."""
    programs = tempfile.TemporaryDirectory(prefix="muster-library-")

    @classmethod
    def compile(cls):
        for name in ("lib_roundtrip", "lib_calls", "lib_stuck"):
            compile_program(cls.programs.name, name)
        cls.program, cls.calls, cls.stuck = (os.path.join(cls.programs.name, name) for name in (
            "lib_roundtrip", "lib_calls", "lib_stuck"))

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="muster-library-")
        cls.servers = []
        cls.addClassCleanup(cls.clean)
        cls.nameserver = NameServer(cls.directory, name=os.path.basename(cls.directory)).started()
        cls.servers = [None] * 3
        for index in range(3):
            cls.start_server(index)
        for server in cls.servers:
            assert server.event("registered"), server.output()

    @classmethod
    def clean(cls):
        for daemon in filter(None, cls.servers + [getattr(cls, "nameserver", None)]):
            daemon.kill()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def setUp(self):
        """The test before may have left servers that are on their way back."""
        self.began = time.monotonic()
        self.finish(self.start("await", program=self.stuck))

    def tearDown(self):
        print("# %s: %.1f s" % (self.id().partition(".")[2], time.monotonic() - self.began), flush=True)

    @classmethod
    def start_server(cls, index):
        cls.servers[index] = Daemon("muster-storage", cls.directory, [
            "--data", os.path.join(cls.directory, "s%d" % index), "--interface", "lo", "--port", "0",
            "--beacon-port", str(cls.nameserver.beacon_port), "--capacity", "8G",
            "--nameserver", "127.0.0.1:%d" % cls.nameserver.port])

    def start(self, *arguments, program=None, **environment):
        return subprocess.Popen(
            [program or self.program, "127.0.0.1:%d" % self.nameserver.port] +
            [str(a) for a in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, **environment))

    def finish(self, process, seconds=120, text=None):
        output = process.communicate(text, timeout=seconds)[0]
        self.assertEqual(process.returncode, 0, output)
        return [json.loads(line) for line in output.splitlines()]

    @classmethod
    def done(cls, *arguments, **how):
        case = cls()
        case.finish(case.start(*arguments, **how))

    @contextlib.contextmanager
    def frozen(self, *daemons):
        for daemon in daemons:
            daemon.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for daemon in daemons:
                daemon.process.send_signal(signal.SIGCONT)


class Sizes(Library):
    def test_sizes(self):
        self.finish(self.start("sizes"))

    def test_sizes_active(self):
        self.finish(self.start("sizes", TRANSFER="active"))

    def test_sizes_passive(self):
        self.finish(self.start("sizes", TRANSFER="passive"))

    def test_stream_needs_little_memory(self):
        self.finish(self.start("stream", LARGE))


class Disturbed(Library):
    """Servers that die or freeze in the midst of a transfer."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.done("await", program=cls.stuck)
        cls.done("put", "/get", LARGE)

    def disturbed(self, disturb, what, path):
        """Does something while the transfer is midway."""
        process = self.start(what, path, LARGE, MARK)
        try:
            self.assertIn("midway", process.stdout.readline())
            disturb()
            return self.finish(process, text="go\n")
        finally:
            process.kill()
            process.wait()

    def test_server_killed_in_a_put(self):
        self.disturbed(self.servers[0].kill, "put", "/killed")
        self.start_server(0)
        self.finish(self.start("get", "/killed", LARGE))

    def test_server_frozen_in_a_put(self):
        with contextlib.ExitStack() as stack:
            self.disturbed(lambda: stack.enter_context(self.frozen(self.servers[1])), "put", "/frozen")
        self.finish(self.start("get", "/frozen", LARGE))

    def test_server_killed_in_a_get(self):
        self.disturbed(self.servers[2].kill, "get", "/get")
        self.start_server(2)

    def test_server_frozen_in_a_get(self):
        with contextlib.ExitStack() as stack:
            self.disturbed(lambda: stack.enter_context(self.frozen(self.servers[0])), "get", "/get")

    def test_all_frozen(self):
        """A get ends within five seconds when nobody answers."""
        with self.frozen(*self.servers):
            start = time.monotonic()
            process = self.start("get", "/get", LARGE)
            output = process.communicate(timeout=60)[0]
            took = time.monotonic() - start
        self.assertEqual(process.returncode, 1)
        self.assertIn("UNREACHABLE", output)
        self.assertLess(took, 6)


class Calls(Library):
    """Those that move no bytes, and the example programs."""

    def test_1_every_blocking_call(self):
        self.finish(self.start("blocking", program=self.calls))

    def test_2_everything_that_can_be_started(self):
        self.finish(self.start("started", program=self.calls))

    def example(self, name, *arguments):
        return subprocess.Popen(
            [os.path.join(BUILD, "examples", name)] + [str(a) for a in arguments] +
            ["127.0.0.1:%d" % self.nameserver.port], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True)

    def test_example_hello(self):
        process = self.example("hello")
        output = process.communicate(timeout=30)[0]
        self.assertEqual(process.returncode, 0, output)
        self.assertRegex(output, "^[123] copies of: Hello, all of you machines.\n$")

    def test_example_many(self):
        process = self.example("many", 3000)
        output = process.communicate(timeout=60)[0]
        self.assertEqual((process.returncode, output), (0, "3000 right, 0 wrong\n"))

    def test_example_tail(self):
        self.finish(self.start("put", "/log", "one\n", program=self.calls))
        process = self.example("tail", "/log")
        self.assertEqual(process.stdout.readline(), "one\n")
        for line in ("two\n", "three\n"):
            self.finish(self.start("append", "/log", line, program=self.calls))
            self.assertEqual(process.stdout.readline(), line)
        process.send_signal(signal.SIGINT)
        self.assertEqual((process.communicate(timeout=10)[0], process.returncode), ("", 0))


class Stuck(Library):
    """Calls that get nowhere."""

    @classmethod
    def setUpClass(cls):
        """With the file that lib_stuck gets, copies and verifies."""
        super().setUpClass()
        cls.done("prepare", program=cls.stuck)

    def await_ready(self, process):
        for line in process.stdout:
            if '"ready"' in line:
                return
        self.fail("it ended")

    def silenced(self, daemons, timeout_ms, *calls):
        """Per call its error and how long it took while these daemons were silent."""
        process = self.start("silence", timeout_ms, *calls, program=self.stuck)
        self.await_ready(process)
        with self.frozen(*daemons):
            lines = process.communicate("go\n", timeout=60)[0].splitlines()
        lines = [json.loads(line) for line in lines]
        for line in lines:
            line.update(lines[lines.index(line) - 1] if line.get("call") == "verify" else {})
        return {line["call"]: line for line in lines if "call" in line}

    def test_silent_name_server(self):
        for timeout_ms, most_ms, calls in (
                (900, 1900, ["stat", "list", "get", "check", "events", "reach"]),
                (900, 3000, ["put", "copy", "verify"]), (0, 5500, ["stat", "put"])):
            ended = self.silenced([self.nameserver], timeout_ms, *calls)
            self.assertEqual(set(ended), set(calls))
            for call, line in ended.items():
                self.assertIn(line["error"], ("TIMEOUT", "NO_NAMESERVER"), line)
                self.assertLess(line["ms"], most_ms, line)

    def test_silent_storage_servers(self):
        for timeout_ms, most_ms in ((900, 1900), (0, 5500)):
            ended = self.silenced(self.servers, timeout_ms, "get", "put")
            for call, line in ended.items():
                self.assertIn(line["error"], ("TIMEOUT", "UNREACHABLE", "NO_NODES"), line)
                self.assertLess(line["ms"], most_ms, line)

    def test_verify_with_a_silent_storage_server(self):
        """What takes the name server longer than we wait for an answer is still waited for."""
        line = self.silenced(self.servers[:1], 900, "verify")["verify"]
        self.assertEqual(line["error"], "OK", line)
        self.assertGreater(line["silent"], 0, line)
        self.assertGreater(line["right"], 0, line)

    def interrupted(self, call, daemons):
        """The call goes on, or begins, when these daemons are frozen already."""
        process = self.start("interrupt", call, program=self.stuck)
        self.await_ready(process)
        with self.frozen(*daemons):
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(0.3)  # for what has arrived to be used up: then it waits
            process.send_signal(signal.SIGINT)
            lines = process.communicate(timeout=60)[0].splitlines()
        line = [json.loads(line) for line in lines if '"call"' in line][0]
        self.assertEqual(line["error"], "CANCELLED", line)
        self.assertLess(line["interrupt_ms"], 1000, line)
        print("interrupt in %s: %.1f ms" % (call, line["interrupt_ms"]))

    def test_interrupted_transfers(self):
        for call in ("put", "append", "get"):
            self.interrupted(call, self.servers)

    def test_interrupted_questions(self):
        self.interrupted("events", [])
        for call in ("events", "verify"):
            self.interrupted(call, [self.nameserver] + self.servers)


def run(cases):
    out = io.StringIO()
    result = unittest.TextTestRunner(stream=out, verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromTestCase(cases))
    print(out.getvalue(), flush=True)
    return result


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    Library.compile()
    cases = [case for case in (Stuck, Disturbed, Sizes, Calls)
             if not sys.argv[1:] or case.__name__ in sys.argv[1:]]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(run, cases))
    failed = sum(len(result.failures) + len(result.errors) for result in results)
    total, skipped = (sum(column) for column in zip(*(
        (result.testsRun, len(result.skipped)) for result in results)))
    print("%d passed, %d failed, %d skipped" % (total - failed - skipped, failed, skipped))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
