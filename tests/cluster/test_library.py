#!/usr/bin/env python3
"""libmuster against real daemons: files of many sizes, both ways to connect, servers that die or
freeze in the midst of a transfer."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from muster_proc import BUILD, ROOT, Daemon, NameServer

LARGE = 300 * 1000 * 1000


def compile_program(directory):
    program = os.path.join(directory, "lib_roundtrip")
    libraries = subprocess.check_output(["pkg-config", "--libs", "libcrypto", "libisal"], text=True)
    subprocess.check_call(
        [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-D_GNU_SOURCE", "-iquote",
         os.path.join(ROOT, "client/lib"), os.path.join(ROOT, "tests/cluster/lib_roundtrip.c"),
         "-o", program, os.path.join(BUILD, "libmuster.a"), "-lpthread"] + libraries.split())
    return program


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="muster-library-")
        cls.program = compile_program(cls.directory)
        cls.nameserver = NameServer(cls.directory).started()
        cls.servers = [None] * 3
        for index in range(3):
            cls.start_server(index)
        for server in cls.servers:
            assert server.event("registered"), server.output()

    @classmethod
    def start_server(cls, index):
        cls.servers[index] = Daemon("muster-storage", cls.directory, [
            "--data", os.path.join(cls.directory, "s%d" % index), "--interface", "lo", "--port", "0",
            "--beacon-port", str(cls.nameserver.beacon_port), "--capacity", "8G",
            "--nameserver", "127.0.0.1:%d" % cls.nameserver.port])

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.kill()
        cls.nameserver.kill()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [self.program, "127.0.0.1:%d" % self.nameserver.port] + [str(a) for a in arguments],
            stdout=subprocess.PIPE, text=True, env=dict(os.environ, **environment))

    def finish(self, process, seconds=120):
        output = process.communicate(timeout=seconds)[0]
        self.assertEqual(process.returncode, 0, output)
        return [json.loads(line) for line in output.splitlines()]

    def disturbed(self, which, disturb, *arguments):
        """Does something to a server a moment after the transfer has begun."""
        process = self.start(*arguments)
        timer = threading.Timer(0.6, disturb, [self.servers[which]])
        timer.start()
        try:
            return self.finish(process)
        finally:
            timer.join()

    def test_sizes(self):
        self.finish(self.start("sizes"))

    def test_sizes_active(self):
        self.finish(self.start("sizes", TRANSFER="active"))

    def test_sizes_passive(self):
        self.finish(self.start("sizes", TRANSFER="passive"))

    def test_stream_needs_little_memory(self):
        self.finish(self.start("stream", LARGE))

    def test_server_killed_in_a_put(self):
        self.disturbed(0, Daemon.kill, "put", "/killed", LARGE)
        self.start_server(0)
        self.finish(self.start("get", "/killed", LARGE))

    def test_server_frozen_in_a_put(self):
        try:
            self.disturbed(1, lambda d: d.process.send_signal(signal.SIGSTOP), "put", "/frozen", LARGE)
        finally:
            self.servers[1].process.send_signal(signal.SIGCONT)
        self.finish(self.start("get", "/frozen", LARGE))

    def test_server_killed_in_a_get(self):
        self.finish(self.start("put", "/get", LARGE))
        self.disturbed(2, Daemon.kill, "get", "/get", LARGE)
        self.start_server(2)

    def test_server_frozen_in_a_get(self):
        self.finish(self.start("put", "/get2", LARGE))
        try:
            self.disturbed(0, lambda d: d.process.send_signal(signal.SIGSTOP), "get", "/get2", LARGE)
        finally:
            self.servers[0].process.send_signal(signal.SIGCONT)

    def test_all_frozen(self):
        """A get ends within five seconds when nobody answers."""
        self.finish(self.start("put", "/get3", LARGE))
        for server in self.servers:
            server.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        try:
            process = self.start("get", "/get3", LARGE)
            output = process.communicate(timeout=60)[0]
        finally:
            for server in self.servers:
                server.process.send_signal(signal.SIGCONT)
        self.assertEqual(process.returncode, 1)
        self.assertIn("UNREACHABLE", output)
        self.assertLess(time.monotonic() - start, 5.5)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print("%d passed, %d failed, %d skipped" % (result.testsRun - failed - len(result.skipped), failed,
                                                len(result.skipped)))
    raise SystemExit(failed > 0)
