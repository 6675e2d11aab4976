"""The sink `log`: the contract of sinks, in several forms."""

import errno
import os
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._partitions import Partitions
from sinks.eventlog import batch
from sinks.eventlog.batch import LogRecord
from sinks.eventlog.reader import LogReader
from sinks.log import LogSink
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import StubContext
from tests.sinks.logs import LogTarget, settings
from tests.sinks.records import Stream, every_kind, flat


class TestLog(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return LogTarget(tmp_path)


class TestSmallCompressedSegments(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return LogTarget(tmp_path, segment_bytes=1024, compression="zstd")


# What the contract leaves open


def opened(directory: Path, context: StubContext, **changes: Any) -> LogSink:
    sink = LogSink(settings(directory, **changes))
    sink.open(context)
    return sink


def held(directory: Path, partitions: int) -> list[list[LogRecord]]:
    log = LogReader(directory)
    found: list[list[LogRecord]] = [[] for _ in range(partitions)]
    for number, records in enumerate(found):
        with log.partition(number) as reader:
            while more := reader.read(len(records)):
                records += more
    return found


def test_partitions_have_what_the_rule_says(tmp_path: Path) -> None:
    records = flat(every_kind())
    sink = opened(tmp_path / "log", StubContext(), partitions=3)
    for given in every_kind():
        sink.write(given)
    sink.commit("end")
    sink.close()
    rule = Partitions(3, crc32)
    for number, found in enumerate(held(tmp_path / "log", 3)):
        wanted = [
            (record.id, key, record.ts_ms)
            for record in records
            for key, partition in rule.targets(record)
            if partition == number
        ]
        assert [(dict(r.headers)[b"id"].decode(), r.key, r.ts_ms) for r in found] == wanted
    everywhere = [r for found in held(tmp_path / "log", 3) for r in found]
    first = [r for r in everywhere if b"copy" not in dict(r.headers)]
    assert len(first) == len(records)
    assert len(everywhere) > len(records)


def test_values_as_commands(tmp_path: Path) -> None:
    stream = Stream()
    sink = opened(tmp_path / "log", StubContext(), value="resp")
    sink.write(stream.transaction([b"INCR", b"n"], [b"DEL", b"n"]))
    sink.commit("end")
    sink.close()
    ((incr, delete),) = held(tmp_path / "log", 1)
    select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
    assert incr.value == select + b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
    assert delete.value == select + b"*2\r\n$3\r\nDEL\r\n$1\r\nn\r\n"


def test_the_state_says_where_the_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands that know the sink's name only, wherever they are started."""
    monkeypatch.chdir(tmp_path)
    sink = opened(Path("log"), StubContext())
    sink.write([Stream().command(b"SET", b"k", b"v")])
    state = sink.commit("p")
    sink.close()
    assert state == {"dir": str(tmp_path / "log"), "log": LogReader(Path("log")).meta.id,
                     "commit": 1}  # fmt: skip


def test_a_log_that_was_taken_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = opened(tmp_path / "log", StubContext())
    state = dict(sink.commit("p"))
    sink.close()
    (tmp_path / "log").rename(tmp_path / "away")
    assert LogSink(settings(tmp_path / "log")).open(StubContext("p", state)) is None
    assert "the log that was there has been taken away" in caplog.text


def test_retention_is_for_all_partitions_together(tmp_path: Path) -> None:
    stream = Stream()
    sink = opened(
        tmp_path / "log", StubContext(), partitions=2, segment_bytes=1024, retain_bytes=20_000
    )
    for _ in range(20):
        sink.write([stream.command(b"SET", b"k%d" % n, b"v" * 200) for n in range(10)])
        sink.commit("p")
    removed = sink.samples()[-1].value
    assert removed > 5
    sink.idle()
    sizes = [
        sum(path.stat().st_size for path in partition.glob("*.log"))
        for partition in (tmp_path / "log").glob("partition-*")
    ]
    assert all(10_000 <= one < 16_000 for one in sizes)
    assert [one.value for one in sink.samples()[:2]] == [
        LogReader(tmp_path / "log").partition(number).latest() for number in range(2)
    ]
    assert {one.labels["sink"] for one in sink.samples()} == {"contract"}
    sink.close()
    assert sink.samples() == ()


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, SinkErrorKind.FULL, "make room"),
        (errno.EDQUOT, SinkErrorKind.FULL, "make room"),
        (errno.EACCES, SinkErrorKind.REFUSED, "permissions"),
        (errno.EIO, SinkErrorKind.OTHER, "check the disk"),
        (errno.ENOENT, SinkErrorKind.OTHER, "is the directory that it is in there"),
    ],
)
def test_what_the_disk_says_is_passed_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: SinkErrorKind,
    hint: str,
) -> None:
    sink = opened(tmp_path / "log", StubContext())
    sink.write([Stream().command(b"SET", b"k", b"v")])

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(SinkError, match=hint) as raised:
            sink.commit("p")
    assert (raised.value.kind, raised.value.passes) == (kind, True)
    assert str(tmp_path / "log") in str(raised.value)
    sink.close()
    assert held(tmp_path / "log", 1) == [[]]


def test_damage_needs_somebody(tmp_path: Path) -> None:
    sink = opened(tmp_path / "log", StubContext())
    sink.write([Stream().command(b"SET", b"k", b"v")])
    sink.commit("p")
    sink.close()
    (path,) = (tmp_path / "log").rglob("*.log")
    path.write_bytes(b"")
    with pytest.raises(SinkError, match="up to where it was committed") as raised:
        sink.open(StubContext())
    assert not raised.value.passes


def test_another_who_writes_may_end(tmp_path: Path) -> None:
    first = opened(tmp_path / "log", StubContext())
    second = LogSink(settings(tmp_path / "log"))
    with pytest.raises(SinkError, match="another process writes this log") as raised:
        second.open(StubContext())
    assert raised.value.passes
    first.close()
    second.open(StubContext())
    second.close()


def test_a_record_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_MAX_LENGTH", 1000)
    sink = opened(tmp_path / "log", StubContext())
    sink.write([Stream().command(b"SET", b"k", b"v" * 1000)])
    with pytest.raises(SinkError, match="set max_value_bytes") as raised:
        sink.commit("p")
    assert (raised.value.kind, raised.value.passes) == (SinkErrorKind.UNSUPPORTED, False)
    sink.close()


def test_what_was_put_out_is_counted(tmp_path: Path) -> None:
    context = StubContext()
    sink = opened(tmp_path / "log", context)
    sink.write([Stream().command(b"SET", b"k", b"v")])
    sink.commit("p")
    sink.close()
    (path,) = (tmp_path / "log").rglob("*.log")
    assert context.bytes_sent == path.stat().st_size
