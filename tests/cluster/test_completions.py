#!/usr/bin/env python3
"""The completion of bash and zsh: what Tab would offer, from a live store."""
import os
import re
import shlex
import shutil
import subprocess
import sys

from muster_cluster import BUILD, Cluster, Skip, expect, main

COMPLETIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/completions")
BASH = """
source {path}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_muster 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(cluster, *words):
    """For words as they are typed, with quotes."""
    quoted = " ".join(map(shlex.quote, ("muster",) + words))
    script = BASH.format(path=COMPLETIONS + "/muster.bash", words=quoted)
    env = dict(cluster.environment, PATH=BUILD + ":" + os.environ["PATH"])
    done = subprocess.run(["bash", "--norc", "-c", script], env=env, stdout=subprocess.PIPE, text=True,
                          check=True, timeout=30)
    return done.stdout.split("\n")[:-1]


def test_bash():
    with Cluster(1) as cluster:
        cluster.ok("mkdir", "-p", "/photos/new year", "/papers")
        cluster.ok("write", "/papers/plan", "x")
        to = ("-n", "127.0.0.1:%d" % cluster.port)
        expect(offered(cluster, *to, "ls", "/p"), ["/papers/", "/photos/"])
        expect(offered(cluster, *to, "cat", "/papers/"), ["/papers/plan"])
        expect(offered(cluster, *to, "ls", "/photos/n"), ["/photos/new year/"])
        expect(offered(cluster, *to, "verif"), ["verify"])
        expect(offered(cluster, *to, "get", "--ra"), ["--range"])
        expect(offered(cluster, "--json", *to, "stat", "/papers/p"), ["/papers/plan"])
        expect(len(offered(cluster, *to, "drain", "")), 1, "the only server")
        expect(offered(cluster, *to, "cat", "/nothing"), [""])


def test_bash_takes_names_as_they_are():
    """What is typed is quoted, what is in the store is no pattern, and bash takes words apart."""
    with Cluster(1) as cluster:
        cluster.ok("mkdir", "-p", "/my dir")
        for name in ("a*b", "at:1", "at:2", "it's", "x=y"):
            cluster.ok("create", "/my dir/" + name)
        to = ("-n", "127.0.0.1", ":", str(cluster.port))
        expect(offered(cluster, *to, "ls", "/my\\ d"), ["/my dir/"])
        expect(offered(cluster, *to, "ls", "'/my d"), ["/my dir/"])
        expect(offered(cluster, *to, "ls", '"/my dir/i'), ["/my dir/it's"])
        expect(offered(cluster, *to, "ls", "/my\\ dir/a*"), ["/my dir/a*b"])
        expect(offered(cluster, *to, "ls", "/my\\ dir/at"), ["/my dir/at:1", "/my dir/at:2"])
        expect(offered(cluster, *to, "ls", "/my\\ dir/at", ":"), ["1", "2"])
        expect(offered(cluster, *to, "ls", "/my\\ dir/at", ":", "2"), ["2"])
        expect(offered(cluster, "--timeout", "=", "5", *to, "ls", "/my\\ dir/x", "=", ""), ["y"])


def test_global_options_with_a_value_are_known():
    """Both scripts skip them to find the command."""
    text = subprocess.run([BUILD + "/muster", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    wanted = {"--" + name for name in re.findall(r"--([a-z-]+)[ =][A-Z]", text.split("\n\n")[0] + text)}
    wanted.discard("--data")
    for script in ("muster.bash", "_muster"):
        with open(os.path.join(COMPLETIONS, script)) as file:
            known = set(re.findall(r"--[a-z-]+", file.read()))
        expect(sorted(wanted - known), [], script)


def test_zsh_reads_it():
    if not shutil.which("zsh"):
        raise Skip("no zsh")
    subprocess.run(["zsh", "-n", COMPLETIONS + "/_muster"], check=True)


sys.exit(main([test_bash, test_bash_takes_names_as_they_are, test_global_options_with_a_value_are_known, test_zsh_reads_it], workers=2))
