"""The file sink: the contract, names, rotation, retention, transactions."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from repltap.sink import Kind
from sinks.file import FileSink
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import Driver, StubContext
from tests.sinks.files import (
    NAME,
    FileTarget,
    Life,
    RespTarget,
    executed,
    files,
    settings,
    unpacked,
)
from tests.sinks.records import numbered


@pytest.mark.parametrize("compression", ["none", "gzip"])
class TestOneFile(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path, compression: str) -> Target:
        return FileTarget(tmp_path, compression=compression)


@pytest.mark.parametrize(("compression", "rotate_bytes"), [("none", 1), ("zstd", 700)])
class TestRotated(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path, compression: str, rotate_bytes: int) -> Target:
        return FileTarget(tmp_path, compression=compression, rotate_bytes=rotate_bytes)


@pytest.mark.parametrize("rotate_bytes", [None, 1])
class TestResp(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path, rotate_bytes: int | None) -> Target:
        return RespTarget(tmp_path, format="resp", rotate_bytes=rotate_bytes)


def test_the_file_has_its_name_once_a_commit_is_kept(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.names() == []
    life.write()
    life.commit()
    assert life.names() == ["audit.log.contract.new"]
    life.sink.idle()
    assert life.names() == ["audit.log"]
    life.write()
    life.commit()
    life.check()
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_a_file_is_finished_when_its_end_is_kept(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1)
    life.write()
    life.commit()
    life.write()
    assert life.names() == [NAME.format(1) + ".part", NAME.format(2) + ".contract.new"]
    life.commit()
    assert life.names() == [NAME.format(1) + ".part", NAME.format(2) + ".contract.new"]
    life.sink.idle()
    assert life.names() == [NAME.format(1), NAME.format(2)]
    life.check()


def test_time_ends_a_file_with_and_without_records(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_seconds=60.0)
    life.write()
    life.commit()
    life.now += 59
    life.sink.idle()
    assert life.names() == [NAME.format(1) + ".part"]
    life.sink.close()
    life.open()  # the age outlives a restart
    life.now += 1
    life.sink.idle()
    assert life.names() == [NAME.format(1)]
    life.sink.idle()
    life.sink.close()
    life.open()  # the checkpoint is from before
    life.write()
    life.now += 60
    life.write()
    life.commit()
    life.sink.idle()
    assert life.names() == [NAME.format(1), NAME.format(2), NAME.format(3) + ".part"]
    life.check()


def test_a_transaction_is_not_split(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1, format="resp")
    records = life.stream.transaction(*([b"INCR", b"%d" % n] for n in range(4)))
    for record in records:
        life.sink.write([record])
    life.write()
    life.commit()
    life.sink.idle()
    first, second = files(tmp_path)
    assert [words[0] for _, words in executed(first.read_bytes())] == [
        b"MULTI", *[b"INCR"] * 4, b"EXEC",
    ]  # fmt: skip
    assert executed(second.read_bytes()) == [(0, [b"SET", b"k", b"0"])]


def test_the_form_is_begun_before_anything_is_written(tmp_path: Path) -> None:
    """Snapshots have no serialized values otherwise."""
    context = StubContext()
    sink = FileSink(settings(tmp_path / "a", format="resp"))
    sink.open(context)
    assert context.forms == 1
    sink.write(numbered(1, batch=1)[0])
    assert context.forms == 1
    sink.close()


def test_a_history_that_ends_within_a_transaction(tmp_path: Path) -> None:
    life = Life(tmp_path, format="resp")
    life.write()
    life.sink.write(life.stream.transaction([b"SET", b"a", b"1"], [b"SET", b"b", b"1"])[:1])
    life.sink.write([life.stream.notice(Kind.HEARTBEAT)])
    life.sink.write([life.stream.notice(Kind.HISTORY)])
    life.commit()
    life.sink.close()
    life.open()
    life.write()
    life.commit()
    names = [words[0] for _, words in executed((tmp_path / "audit.log").read_bytes())]
    assert names == [b"SET", b"MULTI", b"SET", b"DISCARD", b"SET"]


def test_old_files_are_deleted(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1, keep_files=2)
    for _ in range(6):
        life.write()
        life.commit()
        life.sink.idle()
    assert life.names() == [NAME.format(number) for number in (5, 6)]
    samples = {sample.name: sample.value for sample in life.sink.samples()}
    assert samples["sink_file_deleted_total"] == 4
    assert samples["sink_file_finished_total"] == 6
    assert samples["sink_file_fsyncs_total"] > 6


def test_retention_needs_rotation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_bytes: goes with rotate_bytes"):
        Life(tmp_path, keep_bytes=5)


def test_many_files_between_two_commits_fit_into_the_state(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1)
    for _ in range(300):
        life.write()
    life.commit()
    assert len(json.dumps(life.checkpoint.state)) < 64 << 10
    life.sink.idle()
    assert 50 < len(files(tmp_path)) < 300
    life.check()


def test_what_is_sent_is_what_is_in_the_file(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path / "audit.log", compression="zstd"))
    driver = Driver(sink, numbered(2000, batch=500))
    driver.run()
    (path,) = tmp_path.iterdir()
    assert driver.context.bytes_sent == path.stat().st_size
    assert path.stat().st_size < len(unpacked(path)) / 5
