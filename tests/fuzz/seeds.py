#!/usr/bin/env python3
"""Fills the corpora of the fuzzers: seeds.py DIRECTORY. Frames come from the golden vectors, which have
each message of the table twice in both directions; lines of text from the conformance scripts. Files are
empty but for their beginning; the first byte is the fuzzer's own."""
import glob
import hashlib
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def frames():
    with open(os.path.join(HERE, "../vectors/messages.txt")) as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    return [bytes.fromhex(row[2]) for row in rows]


def lines():
    for path in sorted(glob.glob(os.path.join(HERE, "../conformance/*.mst"))):
        with open(path) as file:
            for text in re.findall(r"^\w+ \w+: (?:send|expect) (.*)$", file.read(), re.M):
                yield re.sub(r"\$\w+", "1", text).encode()


def files():
    yield b"\3MSID" + bytes(29)
    yield b"\4MusterSC" + struct.pack("<I", 1) + bytes(48)
    yield b"\5" + 2 * (b"MusterSB" + struct.pack("<I", 1) + bytes(4096 - 12))


def write(directory, seeds):
    os.makedirs(directory, exist_ok=True)
    for seed in seeds:
        with open(os.path.join(directory, hashlib.sha1(seed).hexdigest()), "wb") as file:
            file.write(seed)


def main(directory):
    write(os.path.join(directory, "fuzz_message"), frames())
    write(os.path.join(directory, "fuzz_frame"), frames())
    write(os.path.join(directory, "fuzz_text_form"), lines())
    write(os.path.join(directory, "fuzz_files"), files())


main(*sys.argv[1:])
