"""A log from commit to commit, whatever a crash leaves behind."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.eventlog import writer as module
from sinks.eventlog.files import (
    INDEX,
    TIMEINDEX,
    CorruptLogError,
    LogError,
    list_segments,
    load_commit,
    partition_path,
    segment_path,
)
from tests.sinks.eventlog.logs import add, make_log, numbers_of, open_log, read_all


def test_only_what_is_committed_is_read(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    assert read_all(tmp_path / "log") == []
    add(writer, range(5))
    assert read_all(tmp_path / "log") == []
    writer.make_commit("five")
    add(writer, range(5, 9))
    assert numbers_of(read_all(tmp_path / "log")) == list(range(5))
    writer.close()
    again = open_log(tmp_path / "log")
    assert (again.commit.place, again.commit.number) == ("five", 1)
    again.make_commit("nothing more")
    assert numbers_of(read_all(tmp_path / "log")) == list(range(5))
    again.close()


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 12)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.sampled_from(["crash", "torn", "garbage", "index"]), st.integers(0, 400)),
    ),
    max_size=25,
)


@given(_steps, st.integers(1, 3), st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_crash_leaves(
    tmp_path: Path, steps: list[tuple[str, int]], partitions: int, compress: bool
) -> None:
    """After each crash the log holds what was committed, and goes on there."""
    directory = tmp_path / "log"
    shutil.rmtree(directory, ignore_errors=True)
    writer = open_log(directory, partitions=partitions, compress=compress)
    written = committed = 0
    for what, number in [*steps, ("commit", 0), ("crash", 0)]:
        if what == "add":
            for _ in range(number):
                add(writer, [written], partition=written % partitions)
                written += 1
        elif what == "commit":
            writer.make_commit(str(written))
            committed = written
        else:
            writer.close()
            _leave(directory, what, number)
            writer = open_log(directory, partitions=partitions, compress=compress)
            assert (writer.commit.place or "0") == str(committed)
            written = committed
        found = [numbers_of(read_all(directory, number)) for number in range(partitions)]
        assert found == [list(range(n, committed, partitions)) for n in range(partitions)]
    writer.close()
    assert all(not path.name.endswith(".part") for path in directory.rglob("*"))


def _leave(directory: Path, what: str, number: int) -> None:
    """Change what is behind the commit, as a crash of the machine may."""
    end = load_commit(directory, len(list(directory.glob("partition-*")))).ends[0]
    path = partition_path(directory, 0)
    last = list_segments(path)[-1]
    file = segment_path(path, last)
    keep = end.size if last == end.segment else 0
    if what == "torn":
        with open(file, "r+b") as opened:
            opened.truncate(keep + min(number, file.stat().st_size - keep))
    elif what == "garbage":
        with open(file, "ab") as opened:
            opened.write(bytes(number))
    elif what == "index":
        for suffix in (INDEX, TIMEINDEX):
            segment_path(path, last, suffix).write_bytes(bytes(number))


def test_killed_between_the_parts_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_log(tmp_path / "log")
    add(writer, range(5))
    writer.make_commit("five")
    add(writer, range(5, 30))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "save_commit", die)
        writer.make_commit("thirty")
    writer.close()
    open_log(tmp_path / "log").close()
    assert numbers_of(read_all(tmp_path / "log")) == list(range(5))
    assert list_segments(tmp_path / "log/partition-0") == [0]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    with pytest.raises(LogError, match="another process writes this log"):
        open_log(tmp_path / "log")
    writer.close()
    writer.close()
    open_log(tmp_path / "log").close()


def test_the_number_of_partitions_stays(tmp_path: Path) -> None:
    make_log(tmp_path / "log", 1, partitions=2)
    with pytest.raises(LogError, match="has 2 partitions, not 3"):
        open_log(tmp_path / "log", partitions=3)


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/notes.txt").write_text("mine")
    with pytest.raises(LogError, match=r"has no log\.json, but notes\.txt"):
        open_log(tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        open_log(tmp_path / "no/such/place")


def test_a_log_that_was_begun_only_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "save_meta", die)
        open_log(tmp_path / "log")
    make_log(tmp_path / "log", 3)
    assert numbers_of(read_all(tmp_path / "log")) == [0, 1, 2]


def test_without_a_commit_nobody_knows_what_counts(tmp_path: Path) -> None:
    make_log(tmp_path / "log", 3)
    (tmp_path / "log/commit.json").unlink()
    with pytest.raises(CorruptLogError, match=r"commit\.json: is damaged or absent"):
        open_log(tmp_path / "log")


def test_records_share_a_batch(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    for number in range(100):
        writer.add(0, number, None, b"v", b"\0")
    writer.make_commit("p")
    assert writer.written < 100 * 20
    # But a batch has an end.
    for number in range(4):
        writer.add(0, number, None, b"v" * (module.BATCH_BYTES // 2 - 100), b"\0")
    assert writer.ends[0].next_offset == 102
    writer.close()


def test_retention_leaves_what_is_committed_last(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log", partitions=2, retain_bytes=0)
    add(writer, range(0, 60, 2), partition=0)
    add(writer, range(1, 60, 2), partition=1)
    writer.make_commit("p")
    assert writer.retain() > 2
    writer.close()
    open_log(tmp_path / "log", partitions=2).close()
    for number in range(2):
        kept = numbers_of(read_all(tmp_path / "log", number))
        assert kept
        assert kept == list(range(60))[number::2][-len(kept) :]
