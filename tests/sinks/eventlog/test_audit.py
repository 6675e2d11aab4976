"""Checking a whole log."""

from pathlib import Path

import pytest

from sinks.eventlog.audit import Audit, audit_partition
from sinks.eventlog.files import INDEX, TIMEINDEX, list_segments, segment_path
from sinks.eventlog.reader import LogReader
from tests.sinks.eventlog.logs import add, make_log, open_log

COUNT = 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_log(tmp_path / "log", COUNT)
    return tmp_path / "log"


def audit(directory: Path) -> Audit:
    return audit_partition(LogReader(directory), 0, lambda _: None)


def bases(directory: Path) -> list[int]:
    return list_segments(directory / "partition-0")


def test_a_whole_log(directory: Path) -> None:
    done: list[int] = []
    found = audit_partition(LogReader(directory), 0, done.append)
    assert found == Audit(0, COUNT, sum(done), [], [])
    files = (directory / "partition-0").glob("*.log")
    assert sum(done) == sum(path.stat().st_size for path in files)


def test_what_is_not_committed_is_not_looked_at(directory: Path) -> None:
    writer = open_log(directory)
    add(writer, range(COUNT, 2 * COUNT))
    assert audit(directory) == Audit(0, COUNT, audit(directory).size, [], [])
    writer.close()


def test_an_empty_log(tmp_path: Path) -> None:
    make_log(tmp_path / "log", 0)
    assert audit(tmp_path / "log") == Audit(0)


def test_every_damaged_segment_is_named_and_the_others_are_read(directory: Path) -> None:
    damaged = bases(directory)[1], bases(directory)[3]
    for base in damaged:
        path = segment_path(directory / "partition-0", base)
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
    found = audit(directory)
    assert len(found.damages) == 2
    for base, damage in zip(damaged, found.damages, strict=True):
        assert f"{base:020d}.log" in damage
        assert "does not match its checksum" in damage
    assert COUNT - 30 < found.records < COUNT
    assert not found.indexes


@pytest.mark.parametrize("place", [1, -1])
def test_a_missing_segment(directory: Path, place: int) -> None:
    base = bases(directory)[place]
    after = [*bases(directory), COUNT][bases(directory).index(base) + 1]
    segment_path(directory / "partition-0", base).unlink()
    (damage,) = audit(directory).damages
    assert damage.endswith(f"offsets {base} to {after - 1} are missing")


def test_a_segment_that_was_cut(directory: Path) -> None:
    """At a batch's end, where every checksum is right."""
    path = segment_path(directory / "partition-0", 0)
    after = bases(directory)[1]
    with open(path, "r+b") as file:
        file.truncate(0)
    (damage,) = audit(directory).damages
    assert damage.endswith(f"offsets 0 to {after - 1} are missing")


@pytest.mark.parametrize("suffix", [INDEX, TIMEINDEX])
@pytest.mark.parametrize("place", [0, -1])
def test_an_index_that_does_not_fit(directory: Path, suffix: str, place: int) -> None:
    path = segment_path(directory / "partition-0", bases(directory)[place], suffix)
    raw = path.read_bytes()
    for content in (raw[:-1], b"\1" + raw[1:], b""):
        path.write_bytes(content)
        found = audit(directory)
        assert (found.indexes, found.damages, found.records) == ([path], [], COUNT)
