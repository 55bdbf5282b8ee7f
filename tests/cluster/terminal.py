"""A program on a terminal of its own; what it shows is collected."""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time


def _controlling():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    def __init__(self, words, environment, directory, columns=80, rows=24):
        self.fd, slave = os.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=slave, stdout=slave, stderr=slave, cwd=directory,
            env=dict({"TERM": "xterm"}, **environment), start_new_session=True,
            preexec_fn=_controlling)
        os.close(slave)
        self.pid = self.process.pid
        self.shown = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.fd >= 0:
            os.close(self.fd)

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], max(0.0, seconds))
        try:
            data = os.read(self.fd, 65536) if ready else b""
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def plain(self):
        """Without what moves the cursor or colours; nor the spaces that find the line's start."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", self.shown)
        return re.sub(r" {8,}\r", "", text)

    def until(self, text, seconds=15.0):
        """Waits until this is shown, and forgets all up to it; returns what came before it."""
        end = time.monotonic() + seconds
        while text not in self.plain():
            left = end - time.monotonic()
            if left <= 0 or (not self.read(left) and text not in self.plain()):
                raise AssertionError("%r was not shown, but %r" % (text, self.shown[-3000:]))
        before, _, self.shown = self.plain().partition(text)
        return before

    def raw_until(self, text, seconds=15.0):
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end or not self.read(end - time.monotonic()):
                raise AssertionError("%r was not shown, but %r" % (text, self.shown[-3000:]))
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        """Types a line at a prompt, and waits for its echo."""
        self.wait_raw()
        self.type(text + "\n")
        self.until(text[-20:])

    def ask(self, text, prompt, seconds=15.0):
        """Types a command; returns what it shows before the next prompt."""
        self.line(text)
        return self.until(prompt, seconds).strip("\r\n")

    def mode(self):
        """Whether the terminal echoes, and collects lines."""
        flags = termios.tcgetattr(self.fd)[3]
        return bool(flags & termios.ECHO), bool(flags & termios.ICANON)

    def wait_mode(self, mode, seconds=10.0):
        end = time.monotonic() + seconds
        while self.mode() != mode:
            assert time.monotonic() < end, self.mode()
            self.read(0.01)

    def wait_raw(self):
        """Until keys are taken one by one."""
        self.wait_mode((False, False))

    def wait_lines(self):
        """Until the terminal shows what is typed, and gives it line by line."""
        self.wait_mode((True, True))

    def vanish(self):
        os.close(self.fd)
        self.fd = -1

    def signal(self, number):
        os.kill(self.pid, number)

    def end(self, seconds=20.0):
        """Waits for its end; returns the exit status."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, "it goes on: %r" % self.shown[-3000:]
            if self.fd < 0:
                time.sleep(0.01)
            else:
                self.read(0.05)
        while self.fd >= 0 and self.read(0):
            pass
        return self.process.returncode


STOP, GO_ON = signal.SIGSTOP, signal.SIGCONT
