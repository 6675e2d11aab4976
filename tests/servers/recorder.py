"""Sinks that write down what they are given, for workers of end-to-end tests; and such a worker."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from repltap.sink import AnyRecord, Notice, Option, Record, Sink, SinkContext, path
from tests.servers.process import Process
from tests.servers.relay import REPOSITORY


class Written(NamedTuple):
    """What a sink has written down of a record."""

    id: str
    kind: str
    replid: str
    end: int
    db: int | None
    words: list[bytes]  # of a command; key, type and text of the value of a snapshot record
    tx: list[int] | None
    details: dict[str, Any]


def _line(record: AnyRecord) -> bytes:
    words: list[bytes] = []
    tx, details, db = None, {}, None
    if isinstance(record, Record):
        words, db = record.words, record.db
        tx = None if record.tx is None else [record.tx.id, record.tx.ordinal, int(record.tx.last)]
        end = record.offset_end
    elif isinstance(record, Notice):
        details, end = dict(record.details), record.offset_end
        details["start"] = record.offset_start
    else:
        words, db, end = [record.key or b"", record.type.encode()], record.db, record.offset
        words.append(record.value if isinstance(record.value, bytes) else b"")
    encoded = [b64encode(word).decode() for word in words]
    kind = record.kind.value
    return json.dumps([record.id, kind, record.replid, end, db, encoded, tx, details]).encode()


def _written(line: bytes) -> Written:
    found = Written(*json.loads(line))
    return found._replace(words=[b64decode(word) for word in found.words])


class Recorder(Sink):
    """Writes lines at once: what was written and not committed is there twice after a crash."""

    options: ClassVar[tuple[Option, ...]] = (
        Option(name="path", parse=path, help="Where.", required=True),
    )
    target: ClassVar[str] = "path"

    def open(self, context: SinkContext) -> str | None:
        self._file = os.open(self.settings["path"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        # A line that a kill has torn ends where the next batch begins.
        os.write(self._file, b"\n" + b"".join(_line(record) + b"\n" for record in records))

    def commit(self, place: str) -> Mapping[str, Any] | None:
        return None

    def close(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)
            del self._file


class Ledger(Recorder):
    """Keeps records and place in one transaction of SQLite: exactly once."""

    def open(self, context: SinkContext) -> str | None:
        self._db = sqlite3.connect(self.settings["path"], isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS lines (n INTEGER PRIMARY KEY, line BLOB)")
        self._db.execute("CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY, place TEXT)")
        found = self._db.execute("SELECT place FROM place").fetchone()
        self._db.execute("BEGIN")
        return str(found[0]) if found else None

    def write(self, records: Sequence[AnyRecord]) -> None:
        lines = [(_line(record),) for record in records]
        self._db.executemany("INSERT INTO lines (line) VALUES (?)", lines)

    def commit(self, place: str) -> Mapping[str, Any] | None:
        self._db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (place,))
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")
        return None

    def close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
            del self._db


class Worker(Process):
    """`repltap sink run` with such a sink.

    Args:
        directory: Where its files are.
        data_dir: Of the relay.
        kind: Recorder or Ledger.
        settings: More of the sink's settings.
    """

    def __init__(
        self, directory: Path, data_dir: Path, kind: type[Recorder], **settings: str | float
    ) -> None:
        super().__init__(kind.__name__.lower(), directory)
        self.output = directory / f"{self.name}.out"
        self._kind = kind
        lines = [f'type = "{kind.__module__}:{kind.__name__}"', f'path = "{self.output}"']
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        self._config = directory / f"{self.name}.toml"
        self._config.write_text(
            f'[store]\ndata_dir = "{data_dir}"\n[sink.{self.name}]\n' + "\n".join(lines) + "\n"
        )

    def start(self, *arguments: str) -> None:
        """Start it; `--until-end` to have it end."""
        words = ["sink", "run", self.name, "--config", str(self._config), *arguments]
        environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        self.spawn([sys.executable, "-m", "repltap", *words], environ)

    def finish(self) -> None:
        """Deliver the rest."""
        self.start("--until-end")
        code = self.wait(60)
        assert code == 0, self.log_tail

    def written(self) -> list[Written]:
        """Read what the sink has written down."""
        if not self.output.exists():
            return []
        if self._kind is Ledger:
            with sqlite3.connect(f"file:{self.output}?mode=ro", uri=True) as db:
                found = [line for (line,) in db.execute("SELECT line FROM lines ORDER BY n")]
            db.close()
            return [_written(line) for line in found]
        lines = self.output.read_bytes().split(b"\n")
        # Whole lines end with their details; one that is being written, or that a kill has torn,
        # may end anywhere else, behind another list too.
        return [_written(line) for line in lines if line.endswith(b"}]")]

    @property
    def written_bytes(self) -> int:
        """How much it has written, as a measure of how far it is."""
        return self.output.stat().st_size if self.output.exists() else 0
