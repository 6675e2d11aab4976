import os
import shutil
from pathlib import Path

import anycrc
import pytest

from repltap.errors import DiskFullError, NotRetainedError
from repltap.position import Offset
from repltap.store.budget import Budget
from repltap.store.snapshots import Snapshot, Snapshots, SnapshotWriter

BODY = b"REDIS0011" + b"x" * 200 + b"\xff"
RDB = BODY + anycrc.Model("CRC64-REDIS").calc(BODY).to_bytes(8, "little")


def publish(writer: SnapshotWriter, now: float = 5.0) -> Snapshot:
    return writer.publish(
        format="REDIS0011", crc64=0, aux={"redis-ver": "7.2.4"}, duration_seconds=1.5, now=now
    )


def arrive(snapshots: Snapshots, offset: int, data: bytes = RDB) -> Snapshot:
    writer = snapshots.begin(Offset(offset))
    writer.write(data)
    return publish(writer)


def test_arrives_is_readable_meanwhile_and_survives(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    writer = snapshots.begin(Offset(1000))
    writer.write(RDB[:50])
    writer.write(memoryview(bytearray(RDB[50:])))
    assert (writer.size, snapshots.disk_bytes, snapshots.all) == (len(RDB), len(RDB), ())
    assert os.pread(writer.fd, 1000, 0) == RDB
    snapshot = publish(writer)
    assert snapshot.path.name == "00000000000000001000-redis0011.rdb"
    assert os.pread(writer.fd, 1000, 0) == RDB, "readers of the arriving file go on"
    assert snapshots.all == (snapshot,)
    writer.discard()
    assert Snapshots(tmp_path / "s", Budget(None)).all == (snapshot,)
    assert dict(Snapshots(tmp_path / "s", Budget(None)).all[0].aux) == {"redis-ver": "7.2.4"}
    snapshot.verify()


def test_newest_first_and_removal(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    one, three, two = (arrive(snapshots, n) for n in (1, 3, 2))
    assert snapshots.all == (three, two, one)
    fd = two.open()
    snapshots.remove(two)
    assert os.pread(fd, 9, 0) == b"REDIS0011"
    os.close(fd)
    with pytest.raises(NotRetainedError):
        two.open()
    snapshots.remove_above(Offset(1))
    assert snapshots.all == (one,)
    assert len(os.listdir(tmp_path / "s")) == 2


def test_published_files_never_change(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    first = arrive(snapshots, 1)
    assert arrive(snapshots, 1, b"other") is first
    assert first.path.read_bytes() == RDB
    assert snapshots.disk_bytes == len(RDB)


def test_unfinished_ones_are_removed_at_open(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    snapshots.begin(Offset(9)).write(b"abc")
    whole = arrive(snapshots, 1)
    lost = arrive(snapshots, 2)
    lost.path.with_suffix(".json").unlink()
    widow = arrive(snapshots, 3)
    widow.path.unlink()
    again = Snapshots(tmp_path / "s", Budget(None))
    assert again.all == (whole,)
    assert len(os.listdir(tmp_path / "s")) == 2


def test_damaged_ones_are_set_aside_and_reported(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    short, good, bad = (arrive(snapshots, n) for n in (1, 2, 3))
    os.truncate(short.path, 100)
    bad.path.with_suffix(".json").write_bytes(b"{}")
    again = Snapshots(tmp_path / "s", Budget(None))
    assert again.all == (good,)
    assert [repair.path for repair in again.repairs] == [short.path, bad.path]
    assert len(list((tmp_path / "s").glob("*.broken"))) == 1


def test_discard_and_quota(tmp_path: Path) -> None:
    budget = Budget(100)
    snapshots = Snapshots(tmp_path / "s", budget)
    writer = snapshots.begin(Offset(1))
    writer.write(b"x" * 60)
    with pytest.raises(DiskFullError, match="quota of 100 bytes"):
        writer.write(b"y" * 60)
    assert writer.size == budget.disk_bytes == 100
    writer.discard()
    assert (budget.disk_bytes, os.listdir(tmp_path / "s")) == (0, [])


def test_regression_removing_what_is_gone_with_its_history(tmp_path: Path) -> None:
    """Found in review: retention removed a snapshot of a history that was being discarded."""
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    one, two, three = (arrive(snapshots, n) for n in (1, 2, 3))
    writer = snapshots.begin(Offset(4))
    one.path.unlink()
    snapshots.remove(one)
    shutil.rmtree(tmp_path / "s")
    snapshots.remove(two)
    assert snapshots.set_aside(three) is None
    writer.discard()
    assert (snapshots.all, snapshots.disk_bytes) == ((), 0)


def test_set_aside_keeps_the_last_one(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    one, two, three = (arrive(snapshots, n) for n in (1, 2, 3))
    fd = two.open()
    assert snapshots.set_aside(one) == one.path.with_name(one.path.name + ".broken")
    kept = snapshots.set_aside(two)
    assert kept is not None
    assert kept.read_bytes() == RDB
    assert os.pread(fd, 9, 0) == b"REDIS0011"
    os.close(fd)
    assert (snapshots.all, snapshots.set_aside(two)) == ((three,), None)
    assert len(os.listdir(tmp_path / "s")) == 3
    again = Snapshots(tmp_path / "s", Budget(None))
    assert (again.all, again.repairs) == ((three,), [])


def test_a_successor_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", Budget(None))
    damaged = arrive(snapshots, 1)
    snapshots.set_aside(damaged)
    writer = snapshots.begin(Offset(1))
    writer.write(RDB)
    fresh = publish(writer, now=6.0)
    assert fresh.path == damaged.path
    assert snapshots.set_aside(damaged) is None
    snapshots.remove(damaged)
    fresh.verify()
    assert snapshots.all == (fresh,)
