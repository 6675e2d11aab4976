"""No room on the disk: nothing stored is lost, the master is not read, and it says so."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.servers.bulk import write
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.tmpfs import on_tmpfs
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"


def _is_full(relay: Relay) -> bool:
    return bool(relay.status()["disk_full"])


def test_quota_smaller_than_what_passes_through(lab: Lab) -> None:
    """Old journal makes room in time: the flow goes on, the quota holds, nothing is logged twice.

    Found by this test: room was made once a second, one segment at a time, and the link dropped
    each time, so that the flow was one segment a second.
    """
    master = lab.master(PROGRAM)
    relay = lab.relay(
        master, store_quota_bytes="40mb", store_segment_bytes="1mb", store_min_free_bytes=0
    )
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    highest = 0
    for _ in range(12):
        write(master, 10)
        highest = max(highest, relay.status()["journal"]["disk_bytes"])
        # What a replica that got no turn has not read yet fills the quota, too.
        wait_for("the replica is near", lambda: replica.offset > master.offset - (15 << 20))
    wait_same(master, replica)
    assert highest <= (40 << 20) + 4096  # index records, 24 bytes each, may pass the limit
    assert (master.syncs.full, replica.full_syncs_received) == (1, 1)
    assert master.syncs.partial_ok <= 3, "a link for each segment"
    assert relay.log.count("no room") <= 3
    new = lab.server(PROGRAM, "new", upstream=relay)
    new.wait_link()
    wait_same(master, new)


def test_snapshot_larger_than_the_quota(lab: Lab) -> None:
    """It can't be stored: said, retried seldom (each try is a fork), right with a larger quota."""
    master = lab.master(PROGRAM, rdbcompression="no")
    write(master, 30, keys=480)
    relay = lab.relay(
        master, store_quota_bytes="24mb", store_segment_bytes="1mb", store_min_free_bytes=0
    )
    wait_for("the relay says what is wrong", lambda: "quota" in relay.log)
    cpu = _cpu_ticks(relay)
    # Real time: what must not happen in it is a fork of the master each few milliseconds.
    time.sleep(3)
    assert master.syncs.full <= 6
    assert _cpu_ticks(relay) - cpu < 150
    assert relay.is_healthy()
    assert relay.log.count("\n") < 40
    assert "Traceback" not in relay.log
    relay.stop()
    relay.options["store_quota_bytes"] = "256mb"
    relay.restart()
    relay.wait_link()


def test_a_refresh_that_would_not_fit_is_not_asked_for(lab: Lab) -> None:
    """Two snapshots are more than the quota: the first is kept, and the stream goes on."""
    master = lab.master(PROGRAM, rdbcompression="no")
    write(master, 10, keys=160)
    relay = lab.relay(
        master,
        store_quota_bytes="18mb",
        store_segment_bytes="1mb",
        store_min_free_bytes=0,
        snapshot_refresh_seconds=1,
    )
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    write(master, 1, keys=160)  # a snapshot that nothing follows is not fetched again
    time.sleep(2)  # real time: the schedule asks for one each second
    write(master, 1, keys=160)
    wait_same(master, replica)
    assert len(relay.snapshots()) == 1
    assert _stored_bytes(relay) <= (18 << 20) + 4096
    new = lab.server(PROGRAM, "new", upstream=relay)
    new.wait_link()
    wait_same(master, replica, new)
    assert replica.full_syncs_received == 1
    assert master.syncs.full == 1
    assert relay.is_healthy()
    assert "Traceback" not in relay.log


def _stored_bytes(relay: Relay) -> int:
    total = 0
    for path in (relay.data_dir / "histories").rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def test_small_file_system(lab: Lab) -> None:
    """On a file system that fills up it pauses, and goes on by itself when there is room."""
    master = lab.master(PROGRAM)
    relay = on_tmpfs(lab, master, "size=40m")
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    filler = Path(f"/proc/{relay.pid}/root{relay.data_dir.parent}/filler")
    filler.write_bytes(bytes(20 << 20))
    write(master, 20)
    wait_for("the relay says that it is full", lambda: _is_full(relay))
    assert relay.is_healthy()
    filler.unlink()
    relay.wait_link()
    wait_same(master, replica)
    assert not _is_full(relay)
    assert master.syncs.full == 1
    assert replica.full_syncs_received == 1
    assert "Traceback" not in relay.log


def test_no_more_files(lab: Lab) -> None:
    """Room is left, but not a single inode: the same, though the disk says that it has room."""
    master = lab.master(PROGRAM)
    relay = on_tmpfs(lab, master, "size=40m,nr_inodes=60")
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    place = Path(f"/proc/{relay.pid}/root{relay.data_dir.parent}")
    fillers = []
    with contextlib.suppress(OSError):
        for number in range(60):
            (place / f"filler{number}").touch()
            fillers.append(place / f"filler{number}")
    assert 10 < len(fillers) < 60
    write(master, 4)
    wait_for("the relay says that it is full", lambda: _is_full(relay))
    assert relay.is_healthy()
    for filler in fillers:
        filler.unlink()
    relay.wait_link()
    wait_same(master, replica)
    assert master.syncs.full == 1
    assert replica.full_syncs_received == 1
    assert "Traceback" not in relay.log


def _cpu_ticks(relay: Relay) -> int:
    fields = Path(f"/proc/{relay.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
