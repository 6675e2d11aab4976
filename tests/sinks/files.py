"""What the file sink writes, read again, and a sink's life of many opens."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hiredis
import zstandard

from repltap.sink import AnyRecord, Sink
from sinks.file import FileSink
from tests.sinks.contract import Target
from tests.sinks.driver import Checkpoint, PlainRespForm, StubContext, place_of
from tests.sinks.records import Batch, Stream, document

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
