"""Files that send themselves: the journal, a stored snapshot, one that still arrives."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.net import sources
from repltap.net.channel import PlainChannel
from repltap.net.connection import Progress
from repltap.net.sources import JournalSource, SnapshotSource
from repltap.position import Offset
from repltap.store.journal import Journal
from repltap.store.segment import Segment
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import REPLID, START, add_snapshot, hold, open_fds, open_store

SEGMENT_BYTES = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "data", segment_bytes=SEGMENT_BYTES)
    yield opened
    opened.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    with ours, theirs:
        yield ours, theirs


class Calls:
    """Counts what a source reports."""

    def __init__(self) -> None:
        self.idle = 0
        self.finished = 0
        self.unverified: list[Segment] = []

    def on_unverified(self, segment: Segment) -> None:
        self.unverified.append(segment)

    def on_idle(self) -> None:
        self.idle += 1

    def on_finished(self) -> None:
        self.finished += 1


def journal_of(store: Store, size: int) -> tuple[Journal, bytes]:
    stream = bytes(i * 7 % 251 for i in range(size))
    return hold(store, stream).journal, stream


def drain(sock: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            parts.append(sock.recv(1 << 16))
        except BlockingIOError:
            return b"".join(parts)


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize(
    "behind", [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, 3 * SEGMENT_BYTES, 3500]
)
def test_the_journal_across_segments(store: Store, pair: Pair, behind: int) -> None:
    journal, stream = journal_of(store, 3500)
    calls = Calls()
    source = JournalSource(
        journal, Offset(journal.end - behind), calls.on_idle, calls.on_unverified
    )
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert drain(pair[1]) == stream[3500 - behind :]
    assert (source.offset, calls.idle) == (journal.end, 1)
    journal.append(b"x" * (2 * SEGMENT_BYTES), 1)  # rolls: the source must follow
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert drain(pair[1]) == b"x" * (2 * SEGMENT_BYTES)
    source.close()


def test_a_full_socket_and_going_on(store: Store, pair: Pair) -> None:
    journal, stream = journal_of(store, 200_000)
    calls = Calls()
    source = JournalSource(journal, journal.start, calls.on_idle, calls.on_unverified)
    got = b""
    blocked = 0
    while (progress := source.pump(PlainChannel(pair[0]))) is not Progress.IDLE:
        assert progress is Progress.BLOCKED
        assert calls.idle == 0
        blocked += 1
        got += drain(pair[1])
    assert blocked > 1
    assert got + drain(pair[1]) == stream
    source.close()


def test_a_turn_ends_in_time(store: Store, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_TURN_BYTES", 1500)
    journal, stream = journal_of(store, 4000)
    source = JournalSource(journal, journal.start, Calls().on_idle, Calls().on_unverified)
    sent = []
    while source.pump(PlainChannel(pair[0])) is Progress.MORE:
        sent.append(source.offset - START)
    assert sent == [1500, 3000]
    assert drain(pair[1]) == stream
    source.close()


def test_what_the_journal_does_not_hold(store: Store) -> None:
    journal, _ = journal_of(store, 3500)
    before = open_fds()
    for offset in (journal.start - 1, journal.end + 1):
        with pytest.raises(NotRetainedError):
            JournalSource(journal, Offset(offset), Calls().on_idle, Calls().on_unverified)
    assert open_fds() == before


def test_a_trimmed_segment_is_read_to_its_end(store: Store, pair: Pair) -> None:
    journal, stream = journal_of(store, 3500)
    source = JournalSource(journal, journal.start, Calls().on_idle, Calls().on_unverified)
    journal.trim(Offset(START + SEGMENT_BYTES))
    assert journal.start == START + SEGMENT_BYTES
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert drain(pair[1]) == stream
    source.close()


def test_trimmed_past_the_next_segment(store: Store, pair: Pair) -> None:
    journal, _ = journal_of(store, 3500)
    source = JournalSource(journal, journal.start, Calls().on_idle, Calls().on_unverified)
    journal.trim(Offset(START + 3 * SEGMENT_BYTES))
    with pytest.raises(NotRetainedError):
        source.pump(PlainChannel(pair[0]))
    source.close()


def test_a_segment_shorter_than_its_index(store: Store, pair: Pair) -> None:
    journal, _ = journal_of(store, 500)
    os.truncate(journal.segments[0].path, 100)
    source = JournalSource(journal, journal.start, Calls().on_idle, Calls().on_unverified)
    with pytest.raises(CorruptStoreError, match=f"ends before offset {START + 100}"):
        source.pump(PlainChannel(pair[0]))
    source.close()


def test_closing_lets_go_of_the_file(store: Store, pair: Pair) -> None:
    journal, _ = journal_of(store, 3500)
    before = open_fds()
    source = JournalSource(journal, journal.start, Calls().on_idle, Calls().on_unverified)
    source.pump(PlainChannel(pair[0]))  # across segments: the earlier ones are released on the way
    assert len(open_fds() - before) == 1
    source.close()
    source.close()
    assert open_fds() == before


def test_a_stored_snapshot(store: Store, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_TURN_BYTES", 700)
    data = rdb(bytes(2000))
    snapshot = hold(store, snapshot=data).snapshots.all[0]
    before = open_fds()
    calls = Calls()
    source = SnapshotSource.stored(snapshot, on_idle=calls.on_idle, on_finished=calls.on_finished)
    snapshot.path.unlink()  # retention may remove it while it is sent
    turns = 0
    while source.pump(PlainChannel(pair[0])) is Progress.MORE:
        turns += 1
    assert turns == 2
    assert (source.sent, calls.idle, calls.finished) == (len(data), 0, 1)
    assert drain(pair[1]) == data
    source.close()
    assert open_fds() == before


def test_a_snapshot_that_blocks(store: Store, pair: Pair) -> None:
    data = rdb(bytes(200_000))
    snapshot = hold(store, snapshot=data).snapshots.all[0]
    calls = Calls()
    source = SnapshotSource.stored(snapshot, on_idle=calls.on_idle, on_finished=calls.on_finished)
    got = b""
    while source.pump(PlainChannel(pair[0])) is Progress.BLOCKED:
        assert calls.finished == 0
        got += drain(pair[1])
    assert got + drain(pair[1]) == data
    assert calls.finished == 1
    source.close()


def test_a_snapshot_that_arrives(store: Store, pair: Pair) -> None:
    data = rdb(bytes(500))
    history = store.begin_history(REPLID, START, origin="a test")
    intake = Intake(history, history.snapshots.begin(START), origin="a test")
    intake.begin(None)
    calls = Calls()
    source = SnapshotSource.arriving(intake, on_idle=calls.on_idle, on_finished=calls.on_finished)
    for i in range(0, len(data), 100):
        intake.write(data[i : i + 100])
        assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert drain(pair[1]) == data[:-HOLD_BACK_BYTES]
    assert (calls.finished, calls.idle) == (0, len(range(0, len(data), 100)))
    intake.verify(0)
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert calls.finished == 0  # right, but is it of our history?
    intake.release()
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert calls.finished == 1
    assert drain(pair[1]) == data[-HOLD_BACK_BYTES:]
    source.close()


def test_an_arriving_snapshot_outlives_its_writer(store: Store, pair: Pair) -> None:
    """It is given up while it is sent: the descriptor is the source's own."""
    history = store.begin_history(REPLID, START, origin="a test")
    intake = Intake(history, history.snapshots.begin(START), origin="a test")
    intake.write(rdb(bytes(300)))
    calls = Calls()
    source = SnapshotSource.arriving(intake, on_idle=calls.on_idle, on_finished=calls.on_finished)
    intake.fail("cut")
    intake.discard()
    os.close(os.dup(intake.writer.fd))  # still open: the source keeps the intake alive
    assert source.pump(PlainChannel(pair[0])) is Progress.IDLE
    assert calls.finished == 0
    assert len(drain(pair[1])) == len(rdb(bytes(300))) - HOLD_BACK_BYTES
    source.close()


def test_a_snapshot_file_that_was_cut(store: Store, pair: Pair) -> None:
    history = hold(store, snapshot=b"")
    add_snapshot(history, rdb(bytes(500)))
    snapshot = history.snapshots.all[0]
    os.truncate(snapshot.path, 200)
    calls = Calls()
    source = SnapshotSource.stored(snapshot, on_idle=calls.on_idle, on_finished=calls.on_finished)
    with pytest.raises(OSError, match="shorter"):
        source.pump(PlainChannel(pair[0]))
    assert (source.sent, calls.finished) == (200, 0)
    source.close()
