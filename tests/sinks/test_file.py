"""The file sink: the contract, names, rotation, retention, and what is done to its files."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
import zstandard

from repltap.sink import AnyRecord, Kind, Sink, SinkError, SinkErrorKind
from sinks.file import FileSink
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import Checkpoint, Driver, PlainRespForm, StubContext, place_of
from tests.sinks.records import Batch, Stream, document, every_kind, flat, numbered

Settings = dict[str, Any]


def settings(path: Path, **changes: object) -> Settings:
    """The settings of a sink, as they are parsed."""
    made = {option.name: option.default for option in FileSink.options}
    return {**made, "path": path, **changes}


def unpacked(path: Path) -> bytes:
    """What a file holds."""
    data = path.read_bytes()
    name = path.name.removesuffix(".part")
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        found = b""
        while data:
            reader = zstandard.ZstdDecompressor().decompressobj()
            found += reader.decompress(data)
            assert reader.eof
            data = reader.unused_data
        return found
    return data


def files(directory: Path) -> list[Path]:
    """The files of a sink in the order to read them: what is not committed is not among them."""
    return sorted(path for path in directory.iterdir() if not path.name.endswith(".new"))


def lines(directory: Path) -> list[dict[str, Any]]:
    """All records in all files."""
    return [json.loads(line) for path in files(directory) for line in unpacked(path).splitlines()]


def executed(commands: bytes) -> list[tuple[int | None, list[bytes]]]:
    """What a server executes in which database; MULTI and EXEC are in it, SELECT is not."""
    reader = hiredis.Reader()
    reader.feed(commands)
    db, found = None, []
    while (words := reader.gets()) is not False:
        if words[0] == b"SELECT":
            db = int(words[1])
        else:
            found.append((db, words))
    return found


class FileTarget(Target):
    exactly_once = True

    def __init__(self, directory: Path, **changes: object) -> None:
        self.directory = directory / "out"
        self.directory.mkdir()
        self.changes = changes

    def sink(self) -> Sink:
        return FileSink(settings(self.directory / "audit.log", **self.changes))

    def delivered(self) -> list[Any]:
        return lines(self.directory)

    @contextmanager
    def _in_the_way(self) -> Iterator[None]:
        aside = self.directory.with_name("aside")
        self.directory.rename(aside)
        self.directory.write_bytes(b"")
        try:
            yield
        finally:
            self.directory.unlink()
            aside.rename(self.directory)

    def failing(self) -> AbstractContextManager[None]:
        return self._in_the_way()


class RespTarget(FileTarget):
    def delivered(self) -> list[Any]:
        return [one for path in files(self.directory) for one in executed(unpacked(path))]

    def expected(self, records: Sequence[AnyRecord]) -> list[Any]:
        return executed(PlainRespForm().write(records))


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


class Life:
    """A sink and its directory, call by call, with a clock."""

    def __init__(self, directory: Path, **changes: object) -> None:
        self.directory = directory
        self.now = 1_700_000_000.0
        self.changes = changes
        self.checkpoint = Checkpoint()
        self.stream = Stream()
        self.records: Batch = []  # all that were committed
        self._written: Batch = []
        self._places = 0
        self.sink: FileSink
        self.open()

    def open(self, **changes: object) -> None:
        """Open another one, at the checkpoint."""
        self.changes |= changes
        path = self.changes.pop("path", self.directory / "audit.log")
        assert isinstance(path, Path)
        self.sink = FileSink(settings(path, **self.changes), clock=lambda: self.now)
        self.sink.open(StubContext(self.checkpoint.place, self.checkpoint.state or {}))
        self._written = []

    def write(self, count: int = 1) -> None:
        """Write so many records in one batch."""
        records: Batch = [self.stream.command(b"SET", b"k", b"%d" % n) for n in range(count)]
        self._written += records
        self.sink.write(records)

    def commit(self, *, keep: bool = True) -> None:
        self._places += 1
        place = place_of(self._places)
        state = self.sink.commit(place)
        assert state is not None
        if keep:
            self.checkpoint = Checkpoint(place, json.loads(json.dumps(state)))
            self.records += self._written
            self._written = []

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def check(self) -> None:
        """All that was committed is there, once, in order."""
        assert lines(self.directory) == [document(record) for record in self.records]


NAME = "audit-0000000{}-20231114T221321Z.log"


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


def test_a_crash_before_the_checkpoint_takes_all_of_it_back(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1)
    life.write()
    life.commit()
    before = (tmp_path / (NAME.format(1) + ".contract.new")).read_bytes()
    for _ in range(3):
        life.write()
    life.commit(keep=False)
    life.sink.close()
    life.open()
    assert life.names() == [NAME.format(1) + ".part"]
    assert (tmp_path / life.names()[0]).read_bytes() == before


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


@pytest.mark.parametrize("rotate_bytes", [None, 1])
def test_a_transaction_that_was_left_open_is_discarded(
    tmp_path: Path, rotate_bytes: int | None
) -> None:
    """A history can end within one; what comes after a restart must not be part of it."""
    life = Life(tmp_path, format="resp", rotate_bytes=rotate_bytes)
    life.write()
    life.sink.write(life.stream.transaction([b"SET", b"a", b"1"], [b"SET", b"b", b"1"])[:1])
    life.commit()
    life.sink.close()
    life.open()
    life.write()
    life.commit()
    life.sink.idle()
    assert executed(b"".join(path.read_bytes() for path in files(tmp_path))) == [
        (0, [b"SET", b"k", b"0"]),
        (0, [b"MULTI"]),
        (0, [b"SET", b"a", b"1"]),
        (0, [b"DISCARD"]),
        (0, [b"SET", b"k", b"0"]),
    ]


def test_files_of_an_earlier_life_are_not_touched(tmp_path: Path) -> None:
    """The checkpoint was reset: what is there stays, and numbers go on."""
    life = Life(tmp_path, rotate_bytes=1)
    for _ in range(3):
        life.write()
        life.commit()
    life.sink.idle()
    life.sink.close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    life.checkpoint = Checkpoint()
    life.open()
    life.write()
    life.commit()
    assert {path: path.read_bytes() for path in before} == before
    assert NAME.format(4) + ".contract.new" in life.names()


@pytest.mark.parametrize("rotations", [1, 2])
def test_an_older_checkpoint_doubles_nothing(tmp_path: Path, rotations: int) -> None:
    """Found by putting an older copy back: everything behind it was in the files twice.

    The file that it speaks of was finished meanwhile, and others were begun.
    """
    life = Life(tmp_path, rotate_seconds=60.0)
    life.write()
    life.commit()
    older = life.checkpoint
    for _ in range(rotations):
        life.write()
        life.commit()
        life.now += 60
        life.sink.idle()
    life.sink.close()
    newest, life.checkpoint = life.checkpoint, older
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == rotations
    with pytest.raises(SinkError, match="older copy") as raised:
        life.open()
    assert not raised.value.passes
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    life.checkpoint = newest
    life.open()
    life.write()
    life.commit()
    life.sink.idle()
    life.check()


def test_an_older_checkpoint_of_the_file_in_progress_is_gone_on_with(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1 << 20)
    life.write()
    life.commit()
    life.sink.idle()
    older, records = life.checkpoint, list(life.records)
    life.write()
    life.commit()
    life.sink.close()
    life.checkpoint, life.records = older, records
    life.open()
    life.write()
    life.commit()
    life.check()


def test_one_file_of_an_earlier_life_is_in_the_way(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.sink.idle()
    life.sink.close()
    life.checkpoint = Checkpoint()
    with pytest.raises(SinkError, match="is there already") as raised:
        life.open()
    assert not raised.value.passes
    (tmp_path / "audit.log").rename(tmp_path / "old")
    life.open()


@pytest.mark.parametrize(
    "change",
    [{"format": "resp"}, {"compression": "zstd"}, {"rotate_bytes": None}, {"path": "other.log"}],
    ids=repr,
)
def test_other_settings_end_the_file(tmp_path: Path, change: dict[str, Any]) -> None:
    life = Life(tmp_path, rotate_bytes=10**6)
    life.write()
    life.commit()
    life.sink.idle()
    life.write()
    life.sink.close()
    if "path" in change:
        change = {"path": tmp_path / change["path"]}
    life.open(**change)
    life.write()
    life.commit()
    life.sink.idle()
    first, second = tmp_path.iterdir()
    old = first if first.name == NAME.format(1) else second
    assert [json.loads(line) for line in old.read_bytes().splitlines()] == [
        document(life.records[0])
    ]
    assert len(life.records) == 2


def test_the_directory_was_changed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    life = Life(tmp_path / "old", rotate_bytes=10**6)
    life.write()
    life.commit()
    life.sink.close()
    life.directory = tmp_path / "new"
    life.open()
    life.write()
    life.commit()
    assert [path.name for path in (tmp_path / "old").iterdir()] == [NAME.format(1)]
    assert life.names() == [NAME.format(2) + ".contract.new"]


def test_a_file_that_is_moved_away_ends_there(tmp_path: Path) -> None:
    """As logrotate does it: what was written goes with it, what follows is in another file."""
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.write()
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.1")
    life.write()
    life.commit()
    life.write()
    life.commit()
    life.sink.idle()
    assert life.names() == ["audit.log", "audit.log.1"]
    moved = (tmp_path / "audit.log.1").read_bytes() + (tmp_path / "audit.log").read_bytes()
    assert moved == StubContext().json_lines(life.records)


def test_a_file_that_is_removed_loses_no_more_than_it_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.write()
    (tmp_path / "audit.log").unlink()
    with pytest.raises(SinkError, match="has been removed"):
        life.commit()
    life.sink.close()
    life.open()
    assert "audit.log is gone" in caplog.text
    life.write()
    life.commit()
    life.sink.idle()
    assert lines(tmp_path) == [document(life.records[1])]


@pytest.mark.parametrize("changes", [{}, {"rotate_bytes": 1 << 20}, {"rotate_bytes": 600}])
def test_a_file_that_somebody_cuts_stops_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Found by cutting files under load: grown again they were gone on with, damaged."""
    life = Life(tmp_path, **changes)
    life.write()
    life.commit()
    life.sink.idle()
    (path,) = tmp_path.iterdir()
    os.truncate(path, 3)
    with pytest.raises(SinkError, match="somebody else has changed it"):
        for _ in range(5):
            life.write(10)
        life.commit()
    life.sink.close()
    assert path.stat().st_size == 3
    with pytest.raises(SinkError, match="were committed") as raised:
        life.open()
    assert not raised.value.passes


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


def test_two_sinks_do_not_write_one_file(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.write()
    with pytest.raises(SinkError, match="another process writes it"):
        Life(tmp_path)
    life.commit()
    life.sink.idle()
    other = FileSink(settings(tmp_path / "audit.log"))
    with pytest.raises(SinkError, match="another process writes it"):
        other.open(StubContext(life.checkpoint.place, life.checkpoint.state or {}))
    life.sink.close()


def test_what_is_sent_is_what_is_in_the_file(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path / "audit.log", compression="zstd"))
    driver = Driver(sink, numbered(2000, batch=500))
    driver.run()
    (path,) = tmp_path.iterdir()
    assert driver.context.bytes_sent == path.stat().st_size
    assert path.stat().st_size < len(unpacked(path)) / 5


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path))
    with pytest.raises(SinkError, match="is a directory") as raised:
        sink.open(StubContext())
    assert raised.value.kind is SinkErrorKind.REFUSED
    assert not raised.value.passes


def test_a_directory_that_is_missing_may_be_mounted_later(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path / "later" / "audit.log"))
    with pytest.raises(SinkError) as raised:
        sink.open(StubContext())
    assert raised.value.kind is SinkErrorKind.AWAY
    (tmp_path / "later").mkdir()
    Driver(sink, every_kind()).run()
    assert lines(tmp_path / "later") == [document(record) for record in flat(every_kind())]
