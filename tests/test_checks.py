"""Segments from before the start are checked before a byte of them is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.checks import SegmentChecks
from repltap.position import Offset
from repltap.store.store import Store
from repltap.tasks import OwnedTasks
from tests.readers import FakeReader
from tests.stored import OTHER, hold, open_store


def reopened(path: Path, *, damage: bool) -> Store:
    store = open_store(path, segment_bytes=1000)
    history = hold(store, bytes(5000))
    first = history.journal.segments[0].path
    store.close()
    if damage:
        content = bytearray(first.read_bytes())
        content[500] ^= 1
        first.write_bytes(content)
    return open_store(path, segment_bytes=1000)


async def test_a_sound_segment_is_read_once_for_all_who_wait(tmp_path: Path) -> None:
    store = reopened(tmp_path, damage=False)
    assert store.current is not None
    failures: list[BaseException] = []
    tasks = OwnedTasks(failures.append)
    checks = SegmentChecks(tasks)
    segment = store.current.journal.segments[0]
    assert not segment.verified
    readers = [FakeReader(), FakeReader()]
    for reader in readers:
        checks.request(segment, store.current, reader)
    await tasks.join()
    assert segment.verified
    assert [reader.woken for reader in readers] == [1, 1]
    assert not failures
    store.close()


async def test_a_flipped_bit_is_never_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by attack: a bit flipped between two starts reached a replica."""
    store = reopened(tmp_path, damage=True)
    assert store.current is not None
    failures: list[BaseException] = []
    tasks = OwnedTasks(failures.append)
    checks = SegmentChecks(tasks)
    journal = store.current.journal
    segment = journal.segments[0]
    end, reader = segment.end, FakeReader()
    checks.request(segment, store.current, reader)
    await tasks.join()
    assert not segment.verified
    assert reader.woken == 0
    assert reader.dropped == ["the journal is damaged where it reads"]
    assert journal.start == end
    assert segment.path.name in caplog.text
    assert not failures
    store.close()


async def test_a_damaged_segment_that_a_failover_has_made_the_last_one_is_given_up(
    tmp_path: Path,
) -> None:
    """Its readers were dropped, over and over, until it was full."""
    store = open_store(tmp_path, segment_bytes=1000)
    first = hold(store).journal
    for _ in range(30):
        first.append(bytes(100), 1)
        first.flush_index(1)
    path = first.segments[0].path
    store.close()
    content = bytearray(path.read_bytes())
    content[500] ^= 1  # not where it is cut: there it is looked at
    path.write_bytes(content)
    store = open_store(tmp_path, segment_bytes=1000)
    history = store.current
    assert history is not None
    journal = history.journal
    segment = journal.segments[0]
    history.shift(OTHER, Offset(segment.end - 110))
    journal.append(b"of the new master", 10**18)
    assert journal.segments == (segment,)
    assert not segment.verified
    failures: list[BaseException] = []
    tasks = OwnedTasks(failures.append)
    checks = SegmentChecks(tasks)
    reader = FakeReader()
    checks.request(segment, history, reader)
    await tasks.join()
    assert len(reader.dropped) == 1
    assert journal.start == journal.end
    assert not segment.path.exists()
    journal.append(b"more", 10**18)
    assert journal.read(journal.start, 100) == b"more"
    assert not failures
    store.close()
    again = open_store(tmp_path, segment_bytes=1000)
    assert again.current is not None
    assert again.current.journal.read(again.current.journal.start, 100) == b"more"
    again.close()
