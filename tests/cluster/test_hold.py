#!/usr/bin/env python3
"""What is not deleted after a rebuild, and what comes to /lost+found, with real processes.

    test_hold.py [NAME ...]     only the cases whose names contain one of these
"""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import content, expect, main  # noqa: E402
from test_takeover import FENCE_S, KIB, Many, key  # noqa: E402

WORKERS = 1
WEEK_S = 7 * 24 * 3600


def case_rebuilt_holds_deletes_and_shows_what_is_lost():
    with Many(2) as cluster:
        cluster.put("/kept", content(300 * KIB, 1))
        cluster.put("/gone", content(400 * KIB, 2))
        cluster.put("/later", content(5 * 1024 * KIB, 3))
        cluster.wait_set(2)
        # A server is away when /gone goes for good, and the name server's memory of that with its disk.
        cluster.storages[1].stop()
        cluster.ok("rm", "/gone")
        cluster.ok("trash", "purge", "-f")
        cluster.wait_until(lambda: cluster.status().get("freeing") == 0)
        cluster.nameserver.kill()
        shutil.rmtree(cluster.path + "/ns")
        cluster.storage_start(1)
        daemon = cluster.begin("elsewhere")
        line = cluster.serves(daemon, FENCE_S)
        expect(key(line, "rebuilt"), "yes", line)
        cluster.wait_online(2)
        held = daemon.event("deletes_held", FENCE_S)
        assert held and WEEK_S - 60 <= int(key(held, "left_s")) <= WEEK_S, daemon.output()
        # What nobody explains is a file now, and an ordinary one.
        cluster.wait_until(lambda: cluster.muster("ls", "/lost+found").status == 0)
        cluster.wait_until(lambda: len(cluster.names("/lost+found")) == 1)
        name = list(cluster.names("/lost+found"))[0]
        cluster.check("/lost+found/" + name, content(400 * KIB, 2))
        cluster.ok("mv", "/lost+found/" + name, "/gone")
        cluster.check("/gone", content(400 * KIB, 2))
        cluster.check("/kept", content(300 * KIB, 1))
        # Removing frees names, no bytes.
        used = cluster.used()
        cluster.ok("rm", "/later", "/gone")
        cluster.ok("trash", "purge", "-f")
        cluster.wait_until(lambda: cluster.status().get("freeing", 0) > 0)
        assert cluster.used() >= used, (used, cluster.used())
        result = cluster.muster("check")
        assert "since the catalogue was rebuilt" in result.out.decode(), result
        # Nor does a restart end it.
        daemon.kill()
        daemon = cluster.begin("elsewhere")
        cluster.serves(daemon, FENCE_S)
        assert daemon.event("deletes_held", FENCE_S), daemon.output()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("case_")], WORKERS))
