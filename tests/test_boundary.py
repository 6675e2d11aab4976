"""Where a relay resumes: the end of the last whole command outside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repltap import boundary
from repltap.boundary import Replay, compare_replayed, last_boundary
from repltap.errors import NotRetainedError, RemoteProtocolError
from repltap.position import Offset
from repltap.protocol.resp import encode_command
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from tests.stored import START, hold, open_store

SET = encode_command(b"SET", b"key", b"value")
MULTI, EXEC = encode_command(b"MULTI"), encode_command(b"EXEC")


@contextmanager
def holding(path: Path, stream: bytes) -> Iterator[HistoryStore]:
    store = open_store(path)
    try:
        yield hold(store, stream)
    finally:
        store.close()


def test_no_boundary_within_the_windows_gives_the_end(tmp_path: Path) -> None:
    with holding(tmp_path, SET + encode_command(b"SET", b"key", b"x" * 5000)) as history:
        assert last_boundary(history, (100, 200)) == history.journal.end


def test_a_second_window_finds_the_start_of_a_large_value(tmp_path: Path) -> None:
    stream = SET * 30
    with holding(tmp_path, stream + encode_command(b"SET", b"k", b"x" * 1500)[:-1]) as history:
        assert last_boundary(history, (100, 3000)) == START + len(stream)


@pytest.mark.parametrize("before", [b"", EXEC, MULTI + SET + EXEC])
@pytest.mark.parametrize("shift", range(0, len(MULTI) + 2, 3))
def test_an_open_transaction_that_began_before_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes, shift: int
) -> None:
    """Found in review: the parsed window alone does not show that a large MULTI is still open."""
    monkeypatch.setattr(boundary, "TAIL_WINDOW_BYTES", 300)
    stream = SET * 40 + before
    inside = MULTI + SET * 50 + encode_command(b"SET", b"k", b"x" * shift)
    with holding(tmp_path, stream + inside) as history:
        assert last_boundary(history, (300,)) == START + len(stream)


def test_a_transaction_that_was_closed_before_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundary, "TAIL_WINDOW_BYTES", 300)
    stream = MULTI + SET * 5 + EXEC + SET * 60
    with holding(tmp_path, stream) as history:
        assert last_boundary(history, (300,)) == START + len(stream)


def test_looking_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "TAIL_WINDOW_BYTES", 100)
    monkeypatch.setattr(boundary, "_LOOK_BACK_WINDOWS", 3)
    stream = SET + MULTI + SET * 200
    with holding(tmp_path, stream) as history:
        assert last_boundary(history, (300,)) == START + len(stream)


def test_a_journal_trimmed_meanwhile_gives_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: the link died of it."""

    def gone(journal: Journal, start: Offset, size: int) -> bytes:
        raise NotRetainedError(f"{start} is gone", path=tmp_path)

    with holding(tmp_path, SET) as history:
        monkeypatch.setattr(Journal, "read", gone)
        assert last_boundary(history) == START + len(SET)


def test_replayed_bytes_are_compared(tmp_path: Path) -> None:
    with holding(tmp_path, SET * 2) as history:
        compare_replayed(history.journal, START, SET)
        compare_replayed(history.journal, Offset(START + len(SET)), memoryview(SET))
        compare_replayed(history.journal, Offset(START - 1), b"gone")
        with pytest.raises(RemoteProtocolError, match=f"at offset {START} with other bytes"):
            compare_replayed(history.journal, START, SET[:-3] + b"x\r\n")


def test_a_replay_ends_where_the_journal_does(tmp_path: Path) -> None:
    with holding(tmp_path, SET * 2) as history:
        replay = Replay(history.journal, START)
        assert replay.compare(SET[:5]) == b""
        assert not replay.over
        assert replay.compare(memoryview(SET[5:] + SET + b"new")) == b"new"
        assert replay.over
        replay = Replay(history.journal, START)
        with pytest.raises(RemoteProtocolError, match=f"at offset {START} with other bytes"):
            replay.compare(SET[:-3] + b"x\r\n")
