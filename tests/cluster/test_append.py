#!/usr/bin/env python3
"""Appends and files held open, through libmuster, against real daemons."""
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

PIECE = 32


def compile_program(directory):
    program = os.path.join(directory, "lib_append")
    libraries = subprocess.check_output(["pkg-config", "--libs", "libcrypto", "libisal"], text=True)
    subprocess.check_call(
        os.environ.get("CC", "cc").split() +
        ["-std=c11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-iquote",
         os.path.join(ROOT, "client/lib"), os.path.join(ROOT, "tests/cluster/lib_append.c"),
         "-o", program, os.path.join(BUILD, "libmuster.a"), "-lpthread"] + libraries.split())
    return program


class Append(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="muster-append-")
        cls.program = compile_program(cls.directory)
        cls.nameserver = NameServer(cls.directory).started()
        cls.servers = [Daemon("muster-storage", cls.directory, [
            "--data", os.path.join(cls.directory, "s%d" % index), "--interface", "lo",
            "--port", "0", "--beacon-port", str(cls.nameserver.beacon_port), "--capacity", "8G",
            "--nameserver", "127.0.0.1:%d" % cls.nameserver.port]) for index in range(3)]
        for server in cls.servers:
            assert server.event("registered"), server.output()

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.kill()
        cls.nameserver.kill()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def start(self, *arguments):
        return subprocess.Popen(
            [self.program, "127.0.0.1:%d" % self.nameserver.port] + [str(a) for a in arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def finish(self, process, seconds=100):
        output = process.communicate(timeout=seconds)[0]
        self.assertEqual(process.returncode, 0, output[-2000:])
        return [json.loads(line) for line in output.splitlines()]

    def muster(self, *arguments, data=None):
        done = subprocess.run(
            [os.path.join(BUILD, "muster"), "--nameserver", "127.0.0.1:%d" % self.nameserver.port] +
            list(arguments), input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def create(self, path):
        connection = self.nameserver.connect()
        self.assertEqual(connection.create(path), 0)
        connection.close()

    def pieces(self, path, tags):
        """What the file holds: for each tag its numbers, in the file's order."""
        data = self.muster("cat", path)
        self.assertEqual(len(data) % PIECE, 0)
        found = {tag: [] for tag in tags}
        for at in range(0, len(data), PIECE):
            tag, number = data[at:at + PIECE].decode().split()
            found[tag].append(int(number))
        return found

    def test_sizes(self):
        self.finish(self.start("sizes"))

    def test_several_at_once(self):
        self.create("/many")
        tags = ["a", "b", "c", "d"]
        processes = [self.start("pieces", "/many", tag, 100) for tag in tags]
        watcher = self.start("watch", "/many")
        for process in processes:
            for line in self.finish(process):
                self.assertEqual(line["error"], "OK", line)
        self.assertGreater(self.finish(watcher)[-1]["size"], 0)
        found = self.pieces("/many", tags)
        for tag in tags:
            self.assertEqual(found[tag], list(range(100)))

    def test_long_streams_at_once(self):
        """What cannot be sent again finds its place all the same: its chunks are stored by then."""
        size = 35 * 1000 * 1000
        self.create("/long")
        self.finish(self.start("stream", "/long", 0))
        for process in [self.start("stream", "/long", size) for _ in range(3)]:
            self.finish(process)
        counted = self.finish(self.start("count", "/long", size))
        self.assertEqual(counted[0]["size"], 3)

    def test_nameserver_killed(self):
        self.create("/killed")
        process = self.start("pieces", "/killed", "k", 300)
        acknowledged = []

        def listen():
            for line in process.stdout:
                line = json.loads(line)
                if line["error"] == "OK":
                    acknowledged.append(line["piece"])

        listener = threading.Thread(target=listen)
        listener.start()
        for _ in range(4):
            before = len(acknowledged)
            deadline = time.monotonic() + 20
            while len(acknowledged) < before + 30 and time.monotonic() < deadline:
                time.sleep(0.01)
            self.nameserver.kill()
            type(self).nameserver = NameServer(self.directory, [
                "--port", str(self.nameserver.port),
                "--beacon-port", str(self.nameserver.beacon_port)]).started()
        listener.join(60)
        self.assertEqual(process.wait(10), 0)
        process.stdout.close()
        process.stdin.close()
        found = self.pieces("/killed", ["k"])["k"]
        self.assertEqual(found, sorted(set(found)), "a piece is there twice, or out of order")
        self.assertEqual([piece for piece in acknowledged if piece not in set(found)], [])
        self.assertGreater(len(acknowledged), 250)

    def test_file_outlives_its_name(self):
        self.finish(self.start("file", "/file"))

    def test_reads_ask_no_nameserver(self):
        process = self.start("frozen", "/frozen")

        def wait_for(what):
            for line in process.stdout:
                if json.loads(line)["what"] == what:
                    return
            self.fail("no " + what)

        wait_for("ready")
        self.nameserver.process.send_signal(signal.SIGSTOP)
        try:
            process.stdin.write("go\n")
            process.stdin.flush()
            wait_for("done")
        finally:
            self.nameserver.process.send_signal(signal.SIGCONT)
        process.stdin.write("go\n")
        self.finish(process)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print("%d passed, %d failed, %d skipped" % (result.testsRun - failed - len(result.skipped), failed,
                                                len(result.skipped)))
    raise SystemExit(failed > 0)
