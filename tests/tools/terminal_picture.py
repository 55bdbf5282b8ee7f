#!/usr/bin/env python3
"""Draws the picture of the README: a real session in a real terminal (tmux), as SVG.

    terminal_picture.py BUILD_DIR > docs/images/session.svg

Starts a cluster of its own on loopback, types the commands below, and draws what the terminal shows.
"""
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

COLUMNS, ROWS = 92, 44
COMMANDS = [
    "muster put -r photos /photos",
    "muster ls -l /photos",
    "muster rm -r -f /photos",
    "muster trash restore /photos",
    "kill -9 $(cat store/storage-2/pid)   # a server dies",
    "muster get /photos/lake.jpg copy.jpg && cmp photos/lake.jpg copy.jpg && echo the same",
    "muster nodes",
    "muster status",
]
CELL_W, CELL_H, MARGIN = 8.4, 18, 16
GROUND, INK = "#11151c", "#d7dde6"
COLOURS = ["#5b6472", "#f07178", "#9ccc65", "#e6b450", "#6cb6ff", "#c792ea", "#5ccfe6", "#d7dde6"]


def tmux(server, *words):
    return subprocess.run(["tmux", "-L", server, "-f", "/dev/null", *words], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def prompt(server):
    """Waits until the shell is about to ask again, and then until it has."""
    tmux(server, "wait-for", "ready")
    while tmux(server, "display-message", "-p", "#{cursor_x}").strip() != str(len("$ ")):
        time.sleep(0.01)


def session(build, home):
    """What is on the screen after all commands, with escape sequences."""
    server = "muster-picture-%d" % os.getpid()
    env = dict(os.environ, HOME=home, PATH=build + ":" + os.environ["PATH"],
               TERM="xterm-256color", LC_ALL="C.UTF-8")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "TMUX", "NO_COLOR"):
        env.pop(name, None)
    os.mkdir(home + "/photos")
    for name, size in (("dawn.jpg", 2400123), ("lake.jpg", 3150881), ("summit.jpg", 2871004)):
        with open("%s/photos/%s" % (home, name), "wb") as file:
            file.write(os.urandom(size))
    muster = os.path.join(build, "muster")
    subprocess.run([muster, "up", "4", "--data", home + "/store"], env=env, check=True, stdout=sys.stderr)
    try:
        shell = "PS1='$ ' PROMPT_COMMAND='tmux -L %s wait-for -S ready' bash --norc --noprofile" % server
        subprocess.run(["tmux", "-L", server, "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS),
                        "-y", str(ROWS), shell], env=env, cwd=home, check=True)
        prompt(server)
        for command in COMMANDS:
            tmux(server, "send-keys", "-l", command)
            tmux(server, "send-keys", "Enter")
            prompt(server)
        return tmux(server, "capture-pane", "-e", "-p")
    finally:
        subprocess.run(["tmux", "-L", server, "kill-server"], check=False)
        subprocess.run([muster, "down", "--data", home + "/store"], env=env, check=False,
                       stdout=sys.stderr)


def spans(line):
    """Pieces of a line with their colour and weight."""
    colour, bold, at = INK, False, 0
    for match in re.finditer(r"\x1b\[([0-9;]*)m|([^\x1b]+)", line):
        if match[2]:
            yield at, match[2], colour, bold
            at += len(match[2])
            continue
        for code in [int(c or 0) for c in match[1].split(";")]:
            if code == 0:
                colour, bold = INK, False
            elif code == 1:
                bold = True
            elif code == 2:
                colour = COLOURS[0]
            elif 30 <= code <= 37 or 90 <= code <= 97:
                colour = COLOURS[code % 10]
            elif code == 39:
                colour = INK


def picture(screen):
    lines = screen.rstrip().split("\n")
    width, height = COLUMNS * CELL_W + 2 * MARGIN, len(lines) * CELL_H + 2 * MARGIN
    yield ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="ui-monospace, '
           'DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">' % (width, height))
    yield '<rect width="100%%" height="100%%" rx="8" fill="%s"/>' % GROUND
    for row, line in enumerate(lines):
        for at, text, colour, bold in spans(line):
            if text.strip():
                yield '<text x="%.1f" y="%d" fill="%s"%s xml:space="preserve" textLength="%.1f">%s</text>' % (
                    MARGIN + at * CELL_W, MARGIN + 14 + row * CELL_H, colour,
                    ' font-weight="bold"' if bold else "", len(text) * CELL_W, html.escape(text))
    yield "</svg>"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    home = tempfile.mkdtemp(prefix="muster-picture-")
    try:
        screen = session(os.path.abspath(sys.argv[1]), home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print("\n".join(picture(screen)))


main()
