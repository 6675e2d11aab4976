"""A snapshot on its way in: readable while it grows, never whole before it is released."""

import os
from pathlib import Path

import pytest

from repltap.endings import DisconnectReason
from repltap.errors import RemoteProtocolError
from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.position import Offset
from repltap.store.history import HistoryStore
from tests.protocol.ways import rdb
from tests.stored import REPLID, START, open_store


@pytest.fixture
def history(tmp_path: Path):  # type: ignore[no-untyped-def]
    store = open_store(tmp_path / "data")
    yield store.begin_history(REPLID, START, origin="a test")
    store.close()


def intake_of(history: HistoryStore) -> Intake:
    return Intake(history, history.snapshots.begin(START), origin="master:1")


def test_the_end_is_held_back_until_released(history: HistoryStore) -> None:
    data = rdb(bytes(200))
    intake = intake_of(history)
    assert (intake.visible, intake.size, intake.started) == (0, None, False)
    intake.begin(len(data))
    assert (intake.size, intake.started) == (len(data), True)
    intake.write(data[:HOLD_BACK_BYTES])
    assert intake.visible == 0
    intake.write(data[HOLD_BACK_BYTES:])
    assert intake.visible == len(data) - HOLD_BACK_BYTES
    # What is withheld is at least the end opcode and the checksum: no server loads the rest.
    assert HOLD_BACK_BYTES >= 9
    intake.verify(7)
    assert intake.visible == len(data) - HOLD_BACK_BYTES
    intake.release()
    assert intake.visible == len(data)
    assert os.pread(intake.writer.fd, 1000, 0) == data


def test_the_size_is_known_once_it_is_whole(history: HistoryStore) -> None:
    intake = intake_of(history)
    intake.begin(None)
    intake.write(rdb())
    assert intake.size is None
    intake.verify(7)
    assert intake.size == len(rdb())


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_format_as_soon_as_it_is_known(history: HistoryStore, cut: int) -> None:
    intake = intake_of(history)
    intake.begin(None)
    assert intake.format is None
    intake.write(memoryview(rdb())[:cut])
    assert intake.format == ("redis0011" if cut >= 9 else None)
    intake.write(rdb()[cut:])
    assert intake.format == "redis0011"


@pytest.mark.parametrize(("value", "database"), [(b"\xc0\x03", 3), (b"\x02-1", 0)])
def test_publish_keeps_what_the_rdb_says(
    history: HistoryStore, value: bytes, database: int
) -> None:
    data = rdb(b"\xfa\x09redis-ver\x067.0.15\xfa\x0erepl-stream-db" + value)
    intake = intake_of(history)
    intake.begin(len(data))
    intake.write(data)
    intake.verify(0x1234)
    snapshot = intake.publish()
    assert history.snapshots.all == (snapshot,)
    assert (snapshot.offset, snapshot.size_bytes) == (START, len(data))
    assert (snapshot.format, snapshot.crc64) == ("REDIS0011", 0x1234)
    assert snapshot.aux["redis-ver"] == "7.0.15"
    assert history.start_db == database
    assert snapshot.path.read_bytes() == data
    intake.discard()  # what is published stays
    assert snapshot.path.exists()


def test_a_refresh_does_not_change_where_the_stream_began(history: HistoryStore) -> None:
    history.start_db = 5
    history.published = True
    intake = intake_of(history)
    intake.begin(None)
    intake.write(rdb(b"\xfa\x0erepl-stream-db\xc0\x03"))
    intake.verify(0)
    intake.publish()
    assert history.start_db == 5


def test_no_rdb_is_not_published(history: HistoryStore) -> None:
    intake = intake_of(history)
    intake.begin(None)
    intake.write(b"<html>" * 20)
    intake.verify(0)
    with pytest.raises(RemoteProtocolError, match="not an RDB file"):
        intake.publish()
    assert history.snapshots.all == ()
    intake.discard()
    assert os.listdir(history.snapshots.path) == []


def test_failing_and_discarding(history: HistoryStore) -> None:
    intake = intake_of(history)
    assert intake.offset == Offset(START)
    intake.begin(500)
    intake.write(rdb())
    assert os.listdir(history.snapshots.path)
    intake.fail("cut")
    assert intake.failed
    assert not intake.verified
    intake.discard()
    assert os.listdir(history.snapshots.path) == []


class Follower:
    """Notes what it is told."""

    def __init__(self, intake: Intake) -> None:
        self.pin = START
        self.woken = 0
        self.dropped: list[str] = []
        self._intake = intake
        intake.follow(self)

    def wake(self) -> None:
        self.woken += 1

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        assert reason is DisconnectReason.SNAPSHOT_ABORTED
        self.dropped.append(detail)
        self._intake.leave(self)


def test_followers_are_woken_once_when_there_is_more(history: HistoryStore) -> None:
    intake = intake_of(history)
    waits, busy, left = (Follower(intake) for _ in range(3))
    intake.wait(waits)
    intake.wait(left)
    intake.leave(left)
    intake.write(rdb())
    intake.write(b"more")
    assert (waits.woken, busy.woken, left.woken) == (1, 0, 0)
    intake.wait(waits)
    intake.verify(0)
    assert waits.woken == 1
    intake.release()
    assert waits.woken == 2
    assert (intake.followers, intake.followed) == (2, 3)
    intake.discard()


def test_followers_of_what_fails_are_dropped(history: HistoryStore) -> None:
    """Also those that are not waiting: they must not go on for what will never come."""
    intake = intake_of(history)
    waits, busy = Follower(intake), Follower(intake)
    intake.wait(waits)
    intake.fail("cut")
    assert (waits.dropped, busy.dropped) == (["cut"], ["cut"])
    assert intake.followers == 0
    intake.discard()
