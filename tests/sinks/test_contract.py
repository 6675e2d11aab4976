"""The contract suite: sinks that keep the contract pass it, and each way to break it is noticed.

The sinks of this module are small ones: a table of SQLite that keeps the place with the records
(exactly once), and lines at the end of a file (at least once).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import AnyRecord, Option, Sink, SinkContext, SinkError, path
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import Driver, StubContext, run_and_die
from tests.sinks.records import every_kind, flat, numbered


class TableSink(Sink):
    """A table of SQLite; the place is in the transaction of the records."""

    options = (Option(name="path", parse=path, help="the database", required=True),)
    target = "path"
    exactly_once = True
    table = "records"
    _db: sqlite3.Connection | None = None

    def open(self, context: SinkContext) -> str | None:
        self._context = context
        try:
            self._db = sqlite3.connect(self.settings["path"], isolation_level=None)
            self._db.execute("CREATE TABLE IF NOT EXISTS records (line TEXT)")
            self._db.execute("CREATE TABLE IF NOT EXISTS places (sink TEXT PRIMARY KEY, place)")
            self._db.execute("BEGIN IMMEDIATE")
            found = self._db.execute("SELECT place FROM places WHERE sink = ?", [context.name])
            return next((row[0] for row in found), None)
        except sqlite3.Error as exc:
            raise SinkError(f"{self.settings['path']}: {exc}") from exc

    def write(self, records: Sequence[AnyRecord]) -> None:
        lines = self._context.json_lines(records).splitlines()
        self._execute(f"INSERT INTO {self.table} VALUES (?)", [(line.decode(),) for line in lines])

    def commit(self, place: str) -> Mapping[str, Any] | None:
        self._execute("REPLACE INTO places VALUES (?, ?)", [(self._context.name, place)])
        self._execute("COMMIT", [()])
        self._execute("BEGIN IMMEDIATE", [()])
        return None

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _execute(self, statement: str, rows: list[tuple[str, ...]]) -> None:
        assert self._db is not None
        try:
            for row in rows:
                self._db.execute(statement, row)
        except sqlite3.Error as exc:
            raise SinkError(f"{self.settings['path']}: {exc}") from exc


class LinesSink(Sink):
    """Lines at the end of a file, and no thought of what was there before."""

    def open(self, context: SinkContext) -> str | None:
        self._context = context
        self._file = open(self.settings["path"], "ab")  # noqa: SIM115
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        self._file.write(self._context.json_lines(records))

    def commit(self, place: str) -> Mapping[str, Any] | None:
        self._file.flush()
        return None

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class TableTarget(Target):
    exactly_once = True
    keeps_place = True

    def __init__(self, directory: Path, kind: type[Sink] = TableSink) -> None:
        self.path = directory / "records.db"
        self.kind = kind

    def sink(self) -> Sink:
        return self.kind({"path": self.path})

    def delivered(self) -> list[Any]:
        with sqlite3.connect(self.path) as db:
            return [json.loads(line) for (line,) in db.execute("SELECT line FROM records")]

    @contextmanager
    def failing(self) -> Iterator[None]:
        TableSink.table = "no_such_table"
        try:
            yield
        finally:
            TableSink.table = "records"


class LinesTarget(Target):
    def __init__(self, directory: Path, kind: type[Sink] = LinesSink) -> None:
        self.path = directory / "records.jsonl"
        self.kind = kind

    def sink(self) -> Sink:
        return self.kind({"path": self.path})

    def delivered(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


class TestTable(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return TableTarget(tmp_path)


class TestLines(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return LinesTarget(tmp_path)


# What breaks the contract is noticed


class LosesWhatItBuffers(LinesSink):
    def commit(self, place: str) -> Mapping[str, Any] | None:
        return None


class LeavesOutTheLast(LinesSink):
    def write(self, records: Sequence[AnyRecord]) -> None:
        super().write(records[:-1])


class TurnsThemRound(LinesSink):
    def write(self, records: Sequence[AnyRecord]) -> None:
        super().write(records[::-1])


class KeepsNoPlace(TableSink):
    def open(self, context: SinkContext) -> str | None:
        super().open(context)
        return None


def test_a_loss_at_a_crash_is_noticed(tmp_path: Path) -> None:
    target = LinesTarget(tmp_path, LosesWhatItBuffers)
    batches = numbered(8, batch=1)
    left = run_and_die(Driver(target.sink(), batches), 6)
    Driver(target.sink(), batches, left.checkpoint).run()
    with pytest.raises(AssertionError):
        target.check(flat(batches), crashed=True)


@pytest.mark.parametrize("kind", [LeavesOutTheLast, TurnsThemRound])
def test_losses_and_disorder_are_noticed(tmp_path: Path, kind: type[Sink]) -> None:
    target = LinesTarget(tmp_path, kind)
    with pytest.raises(AssertionError):
        SinkContract().test_every_kind_of_record_is_delivered_in_order(target, 1)


def test_doubles_are_noticed_where_there_must_be_none(tmp_path: Path) -> None:
    target = TableTarget(tmp_path, KeepsNoPlace)
    with pytest.raises(AssertionError):
        SinkContract().test_killed_at_a_step_nothing_is_missing(target, 4)  # a commit


def test_a_place_that_is_not_given_back_is_noticed(tmp_path: Path) -> None:
    target = TableTarget(tmp_path, KeepsNoPlace)
    with pytest.raises(AssertionError):
        SinkContract().test_a_place_in_the_target_is_given_back_as_it_was(target)


def test_a_state_that_json_can_not_hold_is_noticed(tmp_path: Path) -> None:
    class Kind(LinesSink):
        def commit(self, place: str) -> Mapping[str, Any] | None:
            return {"file": self.settings["path"]}

    target = LinesTarget(tmp_path, Kind)
    with pytest.raises(TypeError):
        Driver(target.sink(), numbered(4, batch=1)).run()


def test_an_error_of_the_sink_in_its_process_is_raised_here(tmp_path: Path) -> None:
    class Kind(LinesSink):
        def write(self, records: Sequence[AnyRecord]) -> None:
            raise ZeroDivisionError

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_and_die(Driver(Kind({"path": tmp_path / "f"}), numbered(4, batch=1)), 3)


def test_the_records_are_of_every_kind() -> None:
    records = flat(every_kind())
    assert len({record.kind for record in records}) == 7
    assert len({record.id for record in records}) == len(records)
    context = StubContext()
    assert context.json_lines(records).count(b"\n") == len(records)
