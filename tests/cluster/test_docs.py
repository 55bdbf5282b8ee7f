#!/usr/bin/env python3
"""Every command that the documentation shows is run, on a cluster of its own.

A block that begins with ```sh is run, all blocks of a page one after the other in one shell. One that
cannot be run here (`<!-- not run: reason -->` above it) and commands inside sentences are checked word
by word: the program, its command and its options must exist.
"""
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD_DIR", os.path.join(ROOT, "build", "release"))
PAGES = ["README.md"] + sorted(os.path.relpath(p, ROOT) for p in glob.glob(ROOT + "/docs/*.md"))
BLOCK = re.compile(r"(?P<why><!-- not run: [^>]+ -->\n)?```sh\n(?P<text>.*?)```", re.S)
SPAN = re.compile(r"`((?:muster|muster-\w+) [^`]+)`")
PAGE_LIMIT_S = 120

passed = failed = 0


def result(name, problem=None):
    global passed, failed
    if problem:
        failed += 1
        print("not ok - %s\n    %s" % (name, problem.strip().replace("\n", "\n    ")))
    else:
        passed += 1
    sys.stdout.flush()


def environment(home):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER", "XDG"))}
    env.update(HOME=home, PATH=BUILD + ":" + env["PATH"], LC_ALL="C.UTF-8")
    return env


def run(words, env, cwd=None, limit_s=PAGE_LIMIT_S):
    return subprocess.run(words, env=env, cwd=cwd, timeout=limit_s, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


# ---- words

def help_of(env, *words):
    return run(list(words), env).stdout


def spoken_for(options, text):
    """The options that a help text does not know."""
    return [o for o in options if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(o), text)]


def check_words(page, line, env):
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    words = [w for w in words if w not in ("sudo", "\\")]
    if not words or not re.fullmatch(r"muster(-\w+)?", words[0]):
        return
    options = [w.split("=")[0] for w in words[1:] if re.match(r"--?[a-z]", w)]
    text = help_of(env, words[0], "--help")
    name = "%s: %s" % (page, line)
    if words[0] == "muster":
        commands = [w for w in words[1:] if re.fullmatch(r"[a-z]+", w)]
        commands = [w for w in commands if run(["muster", "help", w], env).returncode == 0]
        if not commands and not options:
            result(name, "no such command")
            return
        text += "".join(help_of(env, "muster", "help", w) for w in commands[:1])
    unknown = spoken_for(options, text)
    result(name, unknown and "unknown: " + " ".join(unknown))


# ---- running

def script_of(blocks):
    lines = ["set -eu -o pipefail", "trap 'echo \"line: $BASH_COMMAND\"' ERR"]
    return "\n".join(lines + blocks) + "\n"


def run_page(page, blocks):
    with tempfile.TemporaryDirectory(prefix="muster-docs-") as home:
        env = environment(home)
        own = any("muster up" in block for block in blocks)
        work = os.path.join(home, "work")
        os.mkdir(work)
        try:
            if not own:
                run(["muster", "up", "4"], env)
            done = run(["bash", "-c", script_of(blocks)], env, work)
            result(page, done.returncode and done.stdout[-2000:])
        except subprocess.TimeoutExpired as error:
            result(page, "took longer than %d s: %s" % (PAGE_LIMIT_S, error.stdout))
        finally:
            run(["muster", "down"], env)


def runs(text):
    """Whether the block is for this test: building, other programs and services are not."""
    return not re.search(r"^\s*(make|docker|sudo|muster-\w+) ", text, re.M)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the clusters on its way
    with tempfile.TemporaryDirectory(prefix="muster-docs-") as home:
        env = environment(home)
        for page in PAGES:
            with open(os.path.join(ROOT, page)) as file:
                text = file.read()
            blocks = []
            for match in BLOCK.finditer(text):
                if not match["why"] and runs(match["text"]):
                    blocks.append(match["text"].replace("export PATH=", ": PATH="))
                    continue
                for line in match["text"].replace("\\\n", " ").splitlines():
                    check_words(page, line.strip(), env)
            for span in sorted(set(SPAN.findall(re.sub(r"```.*?```", "", text, flags=re.S)))):
                check_words(page, span.replace("\n", " "), env)
            if blocks:
                run_page(page, blocks)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(failed > 0)


main()
