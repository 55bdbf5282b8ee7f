#!/usr/bin/env python3
"""Somebody is not there yet, or not ready: whoever types at once waits, is told for whom on a
terminal, and succeeds; or is told in the end who is missing.

    test_waiting.py [NAME ...]     only the cases whose names contain one of these
"""
import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster_cluster import DONE, FAILED, MUSTER, Cluster, expect, main  # noqa: E402
from terminal import Terminal  # noqa: E402

WORKERS = 2
USUAL_S, SLACK_S = 4.5, 1.0
RETURN_S = 3.0  # for the storage servers of a name server that was just started


class New(Cluster):
    """Nothing of it runs yet; found by its beacons."""

    def __enter__(self):
        return self

    def words(self, words, json_):
        return [MUSTER, "--cluster", self.name, "--interface", "lo", "--beacon-port",
                str(self.beacon_port)] + ["--json"] * json_ + [str(word) for word in words]


@contextlib.contextmanager
def taking_over():
    """A name server that was restarted while two of the three that decide with it are gone."""
    with Cluster(3) as cluster:
        cluster.wait_set(3)
        cluster.nameserver.kill()
        for storage in cluster.storages:
            storage.kill()
        cluster.storage_start(0)
        cluster.nameserver_begin(cluster.port)
        assert cluster.nameserver.event("takeover_waiting", 30), cluster.nameserver.output()
        yield cluster


# ---- a new cluster

def case_all_are_started_with_one_command():
    with New() as cluster:
        cluster.nameserver_begin()
        for _ in range(3):
            cluster.storage_add()
        result = cluster.ok("put", "-", "/f", stdin=b"at once")
        assert "3/3 copies" in result.out.decode(), result
        expect(cluster.ok("cat", "/f").out, b"at once")
        return "%.1f s after the first of them" % result.took


def case_the_first_storage_servers_are_late():
    with New() as cluster:
        cluster.nameserver_start()
        with Terminal(cluster.words(("put", "/etc/hostname", "/f"), False), cluster.environment,
                      cluster.path, 200) as terminal:
            terminal.until("muster: waiting for storage servers to register")
            for _ in range(2):
                cluster.storage_add()
            terminal.until("stored /f: ")
            expect(terminal.end(), DONE)


def case_no_storage_server_ever_comes():
    with New() as cluster:
        cluster.nameserver_start()
        result = cluster.fails("no storage server is up .start muster-storage", "put", "-", "/f",
                               stdin=b"in vain")
        assert result.took < RETURN_S + SLACK_S, result
        hasty = cluster.fails("no storage server is up", "put", "-", "/f", stdin=b"in vain")
        assert hasty.took < SLACK_S, hasty
        expect(cluster.names(), {})
        return "%.1f s, then %.1f s" % (result.took, hasty.took)


def case_less_time_than_they_need():
    with New() as cluster:
        cluster.nameserver_start()
        result = cluster.fails("not available at the moment .the name server was just started, and "
                               "no storage server is there yet", "--timeout", "1", "put", "-", "/f",
                               stdin=b"in vain")
        assert result.took < 1 + SLACK_S, result


# ---- a name server that takes over

def case_changes_wait_for_one_that_takes_over():
    with taking_over() as cluster:
        for words in (("mkdir", "/d"), ("put", "/etc/hostname", "/f"), ("rm", "-r", "/.set")):
            result = cluster.fails("not available at the moment .the name server takes over; it "
                                   "waits for [^ ]+,[^ ]+\\)", *words)
            assert USUAL_S - SLACK_S < result.took < USUAL_S + SLACK_S, result
        result = cluster.fails("takes over", "--timeout", "7", "mkdir", "/d")
        assert 6 < result.took < 7 + SLACK_S, result
        with Terminal(cluster.words(("--timeout", "20", "mkdir", "/d"), False), cluster.environment,
                      cluster.path, 200) as terminal:
            terminal.until("muster: waiting for the name server, which takes over and waits for ")
            cluster.storage_start(1)
            cluster.storage_start(2)
            expect(terminal.end(), DONE)
        assert "d" in cluster.names()


def case_whoever_is_quiet_is_told_nothing():
    with taking_over() as cluster:
        for option in ("--quiet", "--json"):
            with Terminal(cluster.words((option, "--timeout", "3", "mkdir", "/d"), False),
                          cluster.environment, cluster.path, 200) as terminal:
                expect(terminal.end(), FAILED)
                assert "waiting" not in terminal.plain(), terminal.plain()


CASES = [case_changes_wait_for_one_that_takes_over, case_whoever_is_quiet_is_told_nothing,
         case_no_storage_server_ever_comes, case_less_time_than_they_need,
         case_the_first_storage_servers_are_late, case_all_are_started_with_one_command]

if __name__ == "__main__":
    sys.exit(main(CASES, WORKERS))
