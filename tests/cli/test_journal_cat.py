"""`repltap journal cat`: what is printed of the stored stream."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from repltap.cli import journal_cat
from repltap.cli.journal_cat import Excerpt, Place, parse_place
from repltap.cli.main import main
from repltap.delivery.listing import StoredCommand
from repltap.errors import NotRetainedError
from repltap.position import Offset, ReplId
from repltap.store.history import HistoryStore
from repltap.store.reader import StoreReader
from repltap.store.store import Store
from tests.cli.stored import COMMANDS, FIRST, OPTIONS, STREAM, fill, flip
from tests.servers.waiting import PATIENCE_SECONDS
from tests.stored import REPLID

END = FIRST + len(STREAM)
THIRD = ReplId("3" * 40)


@pytest.fixture
def history(tmp_path: Path) -> HistoryStore:
    return fill(tmp_path)


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLTAP_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)


@pytest.fixture
def cat(history: HistoryStore, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., bytes]:
    def run(*words: str, code: int = 0) -> bytes:
        assert main(["journal", "cat", *words]) == code
        return capfdbinary.readouterr().out

    return run


def test_raw_is_the_bytes(cat: Callable[..., bytes]) -> None:
    assert cat("--format", "raw") == STREAM
    assert cat("--format", "raw", "--from", "1500", "--to", "2100") == STREAM[500:1100]


def test_text(cat: Callable[..., bytes]) -> None:
    lines = cat().splitlines()
    assert len(lines) == len(COMMANDS)
    first = FIRST + len(COMMANDS[0])
    assert lines[0] == b'1000.000000 [0 %d-%d] "SELECT" "3"' % (FIRST, first)
    assert lines[1].startswith(b"1002.000000 [3 %d-" % first)


def test_json(cat: Callable[..., bytes]) -> None:
    found = [json.loads(line) for line in cat("--format", "json").splitlines()]
    assert [one["cmd"] for one in found] == ["SELECT", *["SET"] * 30]
    assert found[7]["args"] == ["key:6", "v" * 50]
    assert found[-1]["offset_end"] == END


def test_a_range_inside_commands(
    history: HistoryStore, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    start = FIRST + len(COMMANDS[0]) + len(COMMANDS[1])
    assert main(["journal", "cat", "--from", str(start - 1), "--to", str(END - 1)]) == 0
    out, err = capfdbinary.readouterr()
    assert len(out.splitlines()) == len(COMMANDS) - 3
    assert out.splitlines()[0].split(b" [")[1].startswith(b"3 %d-" % start)
    said = f"offset {start - 1} is inside a command: beginning at {start}\n"
    assert err.decode() == said


def test_times(cat: Callable[..., bytes]) -> None:
    lines = cat("--from", "@1010", "--to", "1970-01-01T00:17:00Z").splitlines()
    assert lines[0].startswith(b"1012.")
    assert lines[-1].startswith(b"1020.")
    raw = cat("--from", "@1010", "--to", "@1020", "--format", "raw")
    assert raw == b"".join(COMMANDS[11:21])
    assert cat("--to", "@1") == b""


def test_raw_between_times_is_whole_commands(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The bytes came in pieces that are none."""
    store = Store.open(tmp_path, OPTIONS)
    history = store.begin_history(REPLID, FIRST, origin="")
    for at in range(0, len(STREAM), 130):
        history.journal.append(STREAM[at : at + 130], (1000 + at) * 10**9)
    store.publish(history)
    store.close()
    words = ["--format", "raw", "--from", "@1260", "--to", "@2000"]
    assert main(["journal", "cat", *words]) == 0
    got = capfdbinary.readouterr().out
    sizes = [len(b"".join(COMMANDS[:count])) for count in range(len(COMMANDS) + 1)]
    start = STREAM.index(got)
    assert start in sizes
    assert start + len(got) in sizes
    assert 390 <= start < 390 + len(COMMANDS[-1])


def test_damage_is_refused(history: HistoryStore, cat: Callable[..., bytes]) -> None:
    flip(history.journal.segments[1].path, 500)
    for shown in ("raw", "text", "json"):
        got = cat("--format", shown, code=5)
        assert STREAM.startswith(got) or shown != "raw"
        assert len(got) > 500


def test_offsets_that_are_not_held(cat: Callable[..., bytes]) -> None:
    assert cat("--from", "999", code=4) == b""
    assert cat("--to", str(END + 1), code=4) == b""
    assert cat("--from", "yesterday", code=2) == b""


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        ("2100", "1500", "--to 1500 is before --from 2100"),
        ("@1020", "@1010", "is before --from "),
        ("@5", "@4", "is before --from "),  # both before the journal
        ("@1020", "1001", "--to 1001 is before --from "),
    ],
)
def test_a_reversed_range_is_refused(
    history: HistoryStore, capsys: pytest.CaptureFixture[str], begin: str, end: str, said: str
) -> None:
    """A new user got nothing and code 0."""
    for shown in ("raw", "text"):
        words = ["journal", "cat", "--from", begin, "--to", end, "--format", shown]
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
    assert main(["journal", "cat", "--from", "1500", "--to", "1500", "--format", "raw"]) == 0


def test_places() -> None:
    assert parse_place(None, None, None) == Place()
    assert parse_place(None, None, "17") == Place(offset=Offset(17))
    assert parse_place(None, None, "@17.5") == Place(time_ns=17_500_000_000)
    assert parse_place(None, None, "1970-01-01T00:00:17.25Z") == Place(time_ns=17_250_000_000)
    assert parse_place(None, None, "2025-01-31").time_ns is not None
    for wrong in ("", "-1", "@", "@x", "12:00", "2025-13-01", "9" * 30):
        with pytest.raises(click.BadParameter):
            parse_place(None, None, wrong)


def test_a_closed_pipe_ends_it_silently(history: HistoryStore, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "repltap", "journal", "cat", "--data-dir", str(tmp_path)],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    fill(tmp_path)
    monkeypatch.setattr(journal_cat, "_POLL_SECONDS", 0.001)
    return Store.open(tmp_path, OPTIONS)


def excerpt(path: Path, end: Place, *, raw: bool = True, follow: bool = True) -> Excerpt:
    history = StoreReader(path).history(None)
    return Excerpt(history, Place(), end, raw=raw, follow=follow)


def follow_all(path: Path) -> Iterator[bytes]:
    """Follow a history, and read all that is there; what comes after it."""
    following = excerpt(path, Place()).raw()
    got = b""
    while len(got) < len(STREAM):
        got += next(following)
    return following


def test_follow_over_rolls(growing: Store, tmp_path: Path) -> None:
    history = growing.current
    assert history is not None
    end = END + len(STREAM)
    following = excerpt(tmp_path, Place())
    following.end = Offset(end)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.extend(following.raw()))
    thread.start()
    for one in COMMANDS:
        history.journal.append(one, 10**15)
        history.journal.flush_index(10**18)
    job = history.journal.prepare_sync()
    job.run()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert b"".join(got) == STREAM * 2
    growing.close()


def test_follow_ends_when_a_failover_takes_back_what_was_printed(
    growing: Store, tmp_path: Path
) -> None:
    history = growing.current
    assert history is not None
    following = follow_all(tmp_path)
    history.shift(REPLID, Offset(END - 50))
    history.journal.append(b"x" * 100, 10**15)
    job = history.journal.prepare_sync()
    job.run()
    with pytest.raises(NotRetainedError, match=f"taken back what came after offset {END - 50}"):
        next(following)
    growing.close()


def test_two_failovers_between_two_looks(growing: Store, tmp_path: Path) -> None:
    """Found in review: only the last cut was looked at, so it went on behind bytes taken back."""
    history = growing.current
    assert history is not None
    following = follow_all(tmp_path)
    history.shift(REPLID, Offset(END - 500))
    history.journal.append(bytes(1000), 10**15)
    history.shift(THIRD, Offset(END + 200))
    with pytest.raises(NotRetainedError, match=f"taken back what came after offset {END - 500}"):
        next(following)
    growing.close()


def test_what_a_failover_cuts_off_is_not_taken_for_damage(growing: Store, tmp_path: Path) -> None:
    """Found in review: cut while it was read, the journal was said to be damaged."""
    history = growing.current
    assert history is not None
    kept = Offset(END - 150)
    reading = excerpt(tmp_path, Place(), follow=False).raw()
    data = next(reading)
    history.shift(REPLID, kept)
    data += b"".join(reading)
    assert data == STREAM[: kept - FIRST]
    growing.close()


def test_follow_ends_with_its_history(growing: Store, tmp_path: Path) -> None:
    history = growing.current
    assert history is not None
    following = excerpt(tmp_path, Place()).raw()
    for _ in range(len(COMMANDS) // 2):
        next(following)
    growing.discard(history)
    with pytest.raises(NotRetainedError):
        for _ in range(len(COMMANDS)):
            next(following)
    growing.close()


def test_follow_waits_for_a_command_to_begin_with(growing: Store, tmp_path: Path) -> None:
    history = growing.current
    assert history is not None
    half = len(COMMANDS[5]) // 2
    job = history.journal
    job.append(COMMANDS[5][:half], 10**15)
    job.prepare_sync().run()
    following = Excerpt(
        StoreReader(tmp_path).history(None),
        Place(offset=Offset(END + 3)),
        Place(),
        raw=False,
        follow=True,
    )
    found: list[StoredCommand] = []
    thread = threading.Thread(target=lambda: found.extend(next(following.commands())[1]))
    thread.start()
    job.append(COMMANDS[5][half:] + COMMANDS[6], 10**15)
    job.prepare_sync().run()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert [(one.db, one.start) for one in found] == [(3, END + len(COMMANDS[5]))]
    growing.close()


def test_trimmed_before_it_began(growing: Store, tmp_path: Path) -> None:
    history = growing.current
    assert history is not None
    following = excerpt(tmp_path, Place())
    history.journal.trim(history.journal.segments[1].start).delete()
    _, one = next(following.commands())
    assert following.start - history.journal.start < 100
    assert one[0].start == following.start
    growing.close()
