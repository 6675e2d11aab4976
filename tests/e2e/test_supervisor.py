"""Sinks beside a relay: whatever happens to one, the relay serves, and nothing is lost or doubled.

What a sink was given is compared with what the master has executed: counted writes, in order.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.dataset import wait_same
from tests.servers.jotter import TYPE
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"


class Notes:
    """What one sink was given."""

    def __init__(self, lab: Lab, name: str, settings: str = "") -> None:
        self.name = name
        self.path = lab.directory / f"{name}.jsonl"
        self.spec = f"{TYPE}:{self.path},sink={name}{settings}"

    def lines(self) -> list[dict[str, Any]]:
        """The records; a line that is being written is left out."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def counted(self) -> list[int]:
        """The numbers that were written, in the order in which they came."""
        return [
            int(line["args"][1])
            for line in self.lines()
            if line["kind"] == "command" and line["args"][:1] == ["count"]
        ]

    def kinds(self) -> list[str]:
        """What else it was given than commands."""
        return [line["kind"] for line in self.lines() if line["kind"] != "command"]

    @contextmanager
    def fault(self, what: str) -> Iterator[None]:
        """Let each write fail meanwhile."""
        file = self.path.with_suffix(".jsonl.fault")
        file.write_text(what)
        try:
            yield
        finally:
            file.unlink()


class Counting:
    """Writes 0, 1, 2 ... to a key of a master."""

    def __init__(self, master: Server) -> None:
        self.master = master
        self.next = 0

    def write(self, count: int, padding: int = 0) -> None:
        """Write so many more."""
        with self.master.client() as client:
            rest: tuple[str, ...] = ()
            for _ in range(count):
                if padding:
                    client.call("SET", "pad", "x" * padding)
                client.call("SET", "count", self.next, *rest)
                self.next += 1

    def all(self) -> list[int]:
        """What has been written."""
        return list(range(self.next))


def sinks(relay: Relay) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in relay.status()["sinks"]}


def start(lab: Lab, *notes: Notes, **options: str | int) -> tuple[Server, Relay, Counting]:
    master = lab.master(PROGRAM)
    relay = lab.relay(master, sink=" ".join(each.spec for each in notes), **options)
    # What is not published yet a relay that is killed has never had.
    relay.wait_stored()
    for each in notes:
        wait_for(f"sink {each.name}", lambda name=each.name: sinks(relay)[name]["pid"])
    return master, relay, Counting(master)


def given_all(notes: Notes, counting: Counting) -> None:
    wait_for(f"all at {notes.name}", lambda: len(notes.counted()) >= counting.next)
    assert notes.counted() == counting.all()


def stored(relay: Relay, master: Server) -> None:
    """Wait until the relay has everything that was written."""
    wait_for("the journal", lambda: relay.status()["journal"]["end_offset"] >= master.offset)


def worker(relay: Relay, name: str, other_than: int | None = None) -> int:
    """Give a sink's process, once it runs and is another one."""

    def look() -> int | None:
        pid = sinks(relay)[name]["pid"]
        return pid if pid != other_than else None

    return wait_for(f"a worker of {name}", look) or 0


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def metrics(relay: Relay) -> dict[str, float]:
    url = f"http://127.0.0.1:{relay.http_port}/metrics"
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_a_worker_that_is_killed_again_and_again_loses_and_doubles_nothing(lab: Lab) -> None:
    killed, other = Notes(lab, "killed"), Notes(lab, "other")
    _, relay, counting = start(lab, killed, other)
    pid, bystander = None, worker(relay, "other")
    for _ in range(10):
        pid = worker(relay, "killed", other_than=pid)
        counting.write(30)
        os.kill(pid, signal.SIGKILL)
        counting.write(10)
        # The pauses double: 0.5, 1, 2 ... A restart of the relay begins anew.
        if sinks(relay)["killed"]["restarts"] >= 2:
            relay.stop()
            relay.start()
            relay.wait_ready()
            bystander = worker(relay, "other")
            pid = None
    given_all(killed, counting)
    given_all(other, counting)
    assert worker(relay, "other") == bystander
    shown = sinks(relay)
    assert shown["other"]["restarts"] == 0
    assert "crash" not in shown["other"]["errors"]


def test_a_worker_whose_relay_was_killed_ends_and_the_next_goes_on(lab: Lab) -> None:
    notes = Notes(lab, "a")
    _, relay, counting = start(lab, notes)
    for _ in range(3):
        counting.write(50)
        pid = worker(relay, "a")
        relay.kill()
        counting.write(50)
        relay.start()
        relay.wait_ready()
        wait_for("the end of the orphan", lambda pid=pid: gone(pid))
        given_all(notes, counting)
    assert notes.kinds() == []


def test_a_sink_that_crashes_in_a_loop_harms_nobody(lab: Lab) -> None:
    bad, good = Notes(lab, "bad"), Notes(lab, "good")
    master, relay, counting = start(lab, bad, good)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    with bad.fault("crash"):
        counting.write(100)
        wait_for("restarts", lambda: sinks(relay)["bad"]["restarts"] >= 2)
        given_all(good, counting)
        wait_same(master, replica)
        # That its process has ended is its last error where it took more than 5 s to do so.
        shown = wait_for(
            "the pause, and why",
            lambda: (
                (now := sinks(relay))["bad"]["next_try_at"]
                and "told to crash" in now["bad"]["last_error"]
                and now
            ),
        )
        assert shown["bad"]["errors"]["crash"] >= 2
        assert shown["good"]["state"] == "streaming"
        # The same name from two sinks is one sample. What a worker counts it tells now and then.
        jotted = 'repltap_jotted_total{kind="all"}'
        # Between its start and its first write the bad one is up, each time.
        found = wait_for(
            "its count",
            lambda: (
                (m := metrics(relay)).get(jotted, 0) >= counting.next
                and m['repltap_sink_up{sink="bad"}'] == 0
                and m
            ),
        )
        assert found['repltap_sink_restarts_total{sink="bad"}'] >= 2
        assert found['repltap_sink_up{sink="good"}'] == 1
    given_all(bad, counting)
    assert relay.status()["upstream"]["connects"] == 1


def test_a_frozen_worker_harms_nobody_and_goes_on(lab: Lab) -> None:
    frozen, other = Notes(lab, "frozen"), Notes(lab, "other")
    master, relay, counting = start(lab, frozen, other)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    pid = worker(relay, "frozen")
    counting.write(5)
    wait_for("a commit", lambda: sinks(relay)["frozen"]["committed_offset"])
    os.kill(pid, signal.SIGSTOP)
    counting.write(200, padding=2000)
    given_all(other, counting)
    wait_same(master, replica)
    shown = wait_for("lag", lambda: sinks(relay)["frozen"]["lag_bytes"] > 400_000 and sinks(relay))
    assert shown["frozen"]["pinned_bytes"] > 400_000
    assert shown["frozen"]["lag_seconds"] > 0
    assert shown["other"]["pid"]
    os.kill(pid, signal.SIGCONT)
    given_all(frozen, counting)
    os.kill(pid, signal.SIGSTOP)
    relay.stop()  # it is killed, after it was asked for ten seconds
    assert gone(pid)


def test_at_the_quota_a_stuck_sink_sees_a_gap_and_the_master_is_not_held_up(lab: Lab) -> None:
    stuck = Notes(lab, "stuck")
    _, relay, counting = start(
        lab, stuck, store_quota_bytes="8mb", store_retain_bytes="1mb", store_pin_limit_bytes="2mb"
    )
    counting.write(10)
    given_all(stuck, counting)
    with stuck.fault("away"):
        for _ in range(20):
            counting.write(10, padding=100_000)
            assert not relay.status()["disk_full"]
        wait_for(
            "the relay to have all",
            lambda: relay.status()["journal"]["end_offset"] >= 20_000_000,
        )
        wait_for("losses", lambda: sinks(relay)["stuck"]["lost_bytes"])
        wait_for("its state", lambda: sinks(relay)["stuck"]["state"] == "retrying")
    counting.write(10)
    wait_for("the end", lambda: stuck.counted()[-1:] == [counting.next - 1])
    (gap,) = [line for line in stuck.lines() if line["kind"] == "gap"]
    found = stuck.counted()
    assert found[:10] == list(range(10))
    assert found[10:] == list(range(found[10], counting.next))
    assert found[10] > 10
    assert gap["offset_end"] > gap["offset_start"]
    status = relay.status()
    assert status["upstream"]["connects"] == 1
    assert status["upstream"]["disconnects"] == 0
    assert "will see a gap" in relay.log


def test_an_old_history_is_kept_until_the_sink_has_finished_it(lab: Lab) -> None:
    notes = Notes(lab, "a")
    master, relay, counting = start(lab, notes)
    counting.write(50)
    given_all(notes, counting)
    histories = relay.data_dir / "histories"
    (old,) = histories.iterdir()
    with notes.fault("away"):
        counting.write(50)
        # Twice: both are full resyncs under a replid that nobody knows.
        for _ in range(2):
            stored(relay, master)  # what has not come before the link is cut never will
            before = relay.status()["journal"]["replid"]
            master.call("DEBUG", "CHANGE-REPL-ID")
            master.call("CLIENT", "KILL", "TYPE", "replica")
            wait_for(
                "another history",
                lambda before=before: relay.status()["journal"]["replid"] != before,
            )
            wait_for("its snapshot", relay.snapshots)
            counting.write(50)
        relay.stop()
        relay.start()
        relay.wait_ready()
        assert old.exists()
        assert len(list(histories.iterdir())) == 3
        assert sinks(relay)["a"]["pinned_bytes"] > 0
    given_all(notes, counting)
    assert notes.kinds() == ["history", "history"]
    wait_for("the old ones to go", lambda: len(list(histories.iterdir())) == 1)


def test_nobody_sees_the_password_of_a_sink(lab: Lab) -> None:
    notes = Notes(lab, "a")
    _, relay, counting = start(lab, notes, sink_a_password=secret(), log_level="debug")
    counting.write(5)
    given_all(notes, counting)
    pid = worker(relay, "a")
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"\0a\0" in command
    assert secret().encode() in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_wrong_setting_is_told_before_anything_starts(lab: Lab) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master, start=False, sink=f"{TYPE}:/x,sink=a,pth=/y")
    relay.start()
    assert relay.wait() == 2
    assert "pth" in relay.log
    assert not relay.data_dir.exists()


def test_at_a_stop_sinks_deliver_what_is_stored(lab: Lab) -> None:
    notes = Notes(lab, "a")
    master, relay, counting = start(lab, notes)
    for _ in range(3):
        # A worker has low priority: on a busy machine the ten seconds of a stop may be too short
        # to start it, too.
        wait_for("it delivers", lambda: sinks(relay)["a"]["state"] == "streaming")
        counting.write(500)
        stored(relay, master)
        pid = worker(relay, "a")
        assert relay.stop() == 0
        assert notes.counted() == counting.all()
        assert gone(pid)
        relay.start()
        relay.wait_ready()


def test_a_snapshot_is_fetched_for_a_sink_that_needs_one(lab: Lab) -> None:
    """The stored one has gone with its tail."""
    notes = Notes(lab, "a", ",snapshot=initial")
    master = lab.master(PROGRAM)
    relay = lab.relay(
        master,
        store_segment_bytes="256kb",
        store_retain_bytes="512kb",
        store_pin_limit_bytes="1mb",
    )
    relay.wait_stored()
    counting = Counting(master)
    counting.write(30, padding=100_000)
    wait_for("the snapshot to go", lambda: not relay.snapshots())
    relay.stop()
    relay.options["sink"] = notes.spec
    relay.start()
    relay.wait_ready()
    wait_for("the snapshot", lambda: "snapshot_end" in notes.kinds())
    assert relay.status()["counters"]["snapshot_refreshes_by_reason"] == {"sink": 1}
    keys = {line["keys"][0]: line["value"] for line in notes.lines() if line["kind"] == "snapshot"}
    assert keys["count"] == str(counting.next - 1)
    before = counting.next
    counting.write(10)
    wait_for("the stream", lambda: notes.counted() == list(range(before, counting.next)))
