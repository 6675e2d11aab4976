"""Following one history while a relay changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.delivery.follow import Found, Gone, Renamed, StreamFollower, Trimmed
from repltap.delivery.histories import stored_histories
from repltap.delivery.place import Place
from repltap.delivery.stream import StreamState
from repltap.errors import CorruptStoreError
from repltap.position import MAX_PREDECESSORS, Offset, ReplId
from repltap.store.reader import HistoryReader, JournalReader
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import TABLE, shown
from tests.stored import OTHER, REPLID, START, command


def follow(path: Path, offset: int = START, replid: ReplId = REPLID) -> StreamFollower:
    place = Place.stream(1, replid, StreamState(offset, 0))
    return StreamFollower(stored_histories(path)[0], place, table=TABLE, source="m")


def read(follower: StreamFollower) -> list[str]:
    """Read until nothing comes or something happens; what happened is left for the next call."""
    words: list[str] = []
    while isinstance(found := follower.next(), Found):
        words += shown(found.records)
    return words if found is None else [*words, type(found).__name__]


def test_it_follows_what_comes_in(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2))
    follower = follow(tmp_path)
    assert read(follower) == ["SET k:1", "SET k:2"]
    assert follower.at_end
    stored.append(sets(3))
    assert read(follower) == ["SET k:3"]
    assert follower.place == Place.stream(1, REPLID, StreamState(stored.end, 0))


def test_a_torn_command_is_held_until_it_is_whole(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1) + sets(2)[:10])
    follower = follow(tmp_path)
    assert read(follower) == ["SET k:1"]
    assert follower.place.offset == START + len(sets(1))
    stored.append(sets(2)[10:])
    assert read(follower) == ["SET k:2"]


def test_a_failover_renames_from_the_cut_on(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    follower = follow(tmp_path)
    assert read(follower) == ["SET k:1"]
    stored.append(sets(2)).fail_over(OTHER).append(sets(3))
    found = follower.next()
    assert isinstance(found, Found)
    assert (shown(found.records), found.records[0].replid) == (["SET k:2"], REPLID)
    found = follower.next()
    assert isinstance(found, Renamed)
    assert (found.previous, found.abandoned) == (REPLID, 0)
    assert found.place == Place.stream(1, OTHER, StreamState(START + len(sets(1, 2)), 0))
    assert found.delivered_until == found.place.offset


def test_what_a_failover_takes_back_is_told(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(command(b"SELECT", b"4") + sets(1, 2))
    follower = follow(tmp_path)
    read(follower)
    end = stored.end
    stored.fail_over(OTHER, lost=len(sets(2))).append(sets(3, 4, 5))
    found = follower.next()
    assert isinstance(found, Renamed)
    assert found.delivered_until == end
    assert found.place == Place.stream(1, OTHER, StreamState(end - len(sets(2)), 4))


def test_a_torn_command_that_is_taken_back_is_no_loss(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1) + sets(2)[:10])
    follower = follow(tmp_path)
    read(follower)
    stored.fail_over(OTHER, lost=10).append(sets(3))
    found = follower.next()
    assert isinstance(found, Renamed)
    assert found.delivered_until == found.place.offset == START + len(sets(1))


def test_a_transaction_that_is_cut_open_is_abandoned(tmp_path: Path) -> None:
    inside = command(b"MULTI") + sets(2)
    stored = Stored(tmp_path).begin(sets(1) + inside + sets(3))
    follower = follow(tmp_path)
    assert read(follower) == ["SET k:1"]
    stored.fail_over(OTHER, lost=len(sets(3))).append(sets(4))
    found = follower.next()
    assert isinstance(found, Renamed)
    assert found.abandoned == 2
    assert found.delivered_until == found.place.offset


def test_bytes_that_came_in_after_a_rename_are_never_taken_for_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name changes between the look at it and the reading of what follows."""
    stored = Stored(tmp_path).begin(sets(1, 2))
    follower = follow(tmp_path)
    read(follower)
    block = follower._block

    def slow() -> object:
        monkeypatch.setattr(follower, "_block", block)
        stored.fail_over(OTHER).append(sets(3))
        return block()

    monkeypatch.setattr(follower, "_block", slow)
    assert read(follower) == ["Renamed"]
    assert follower.place.replid == REPLID


def test_a_journal_that_was_trimmed_past_the_place(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(*range(200)))
    follower = follow(tmp_path)
    assert isinstance(follower.next(), Found)
    del follower
    follower = follow(tmp_path)
    stored.trim(stored.end - 10)
    assert follower.next() == Trimmed(stored.history.journal.start)


def test_a_history_that_was_removed(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    follower = follow(tmp_path)
    read(follower)
    stored.store.discard(stored.history)
    assert follower.next() == Gone()


def test_ahead_of_the_journal_it_waits_until_the_bytes_are_there_again(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    follower = follow(tmp_path, START + len(sets(1, 2)))
    assert read(follower) == []
    stored.append(sets(2))
    assert read(follower) == []
    stored.append(sets(3))
    assert read(follower) == ["SET k:3"]


def test_damage_is_believed_when_it_stays(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2))
    path = stored.history.journal.segments[0].path
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)
    follower = follow(tmp_path)
    assert follower.next() is None
    assert not follower.at_end
    with pytest.raises(CorruptStoreError, match="checksum"):
        for _ in range(1000):
            follower.next()
    raw[5] ^= 1
    path.write_bytes(raw)
    assert read(follow(tmp_path)) == ["SET k:1", "SET k:2"]


def test_with_nothing_new_the_journal_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hundreds of segments that would take milliseconds, twenty times a second."""
    stored = Stored(tmp_path).begin(sets(1))
    follower = follow(tmp_path)
    read(follower)
    looks = []
    journal = HistoryReader.journal

    def counted(self: HistoryReader, since: Offset | None = None) -> JournalReader:
        looks.append(since)
        return journal(self, since)

    monkeypatch.setattr(HistoryReader, "journal", counted)
    assert [follower.next() for _ in range(5)] == [None] * 5
    assert not looks
    assert follower.at_end
    stored.append(sets(2))
    assert read(follower) == ["SET k:2"]
    assert read(follower) == []


def test_each_segment_is_noticed_whenever_it_is_looked(tmp_path: Path) -> None:
    """A look behind each append, at which segments begin at any place."""
    stored = Stored(tmp_path).begin()
    follower = follow(tmp_path)
    for number in range(200):
        stored.append(sets(number))
        assert read(follower) == [f"SET k:{number}"]
        assert read(follower) == []
    assert len(stored.history.journal.segments) > 5


def test_after_more_failovers_than_are_remembered_it_is_another_history(tmp_path: Path) -> None:
    """The worker crashed. Found by reading."""
    stored = Stored(tmp_path).begin(sets(1))
    reader = follow(tmp_path)
    assert isinstance(reader.next(), Found)
    for number in range(MAX_PREDECESSORS + 1):
        stored.append(sets(number)).fail_over(ReplId(f"{number + 1:040x}"))
    assert isinstance(reader.next(), Gone)
