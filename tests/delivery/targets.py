"""Targets in memory, sinks that write to them, and a worker that can die at any step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repltap.delivery.commands import builtin_table
from repltap.delivery.context import DeliveryContext
from repltap.delivery.plan import Plan
from repltap.delivery.progress import Progress
from repltap.delivery.report import WorkerReport
from repltap.delivery.runner import Pace, Runner
from repltap.delivery.settings import SinkSettings
from repltap.sink import AnyRecord, Kind, Notice, Record, Sink, SinkContext, SnapshotMode
from repltap.store.checkpoints import Checkpoint, Checkpoints

LOG = logging.getLogger("repltap.sink.test")
TABLE = builtin_table()


class Killed(BaseException):
    """The process has ended here."""


class KillAt:
    """Kills at the n-th step, once."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.killed = False

    def __call__(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.killed = True
            raise Killed


class Target:
    """What survives the worker.

    Attributes:
        records: Everything that was written, in order.
        place: What an exactly-once sink keeps with it.
        calls: What the sink was asked to do.
        step: Called before and behind each call; may raise.
    """

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.place: str | None = None
        self.calls: list[str] = []
        self.step: Callable[[str], None] = lambda _: None


class PlainSink(Sink):
    """What is written is there at once, whatever happens: at least once."""

    def __init__(self, target: Target) -> None:
        super().__init__({})
        self.target = target

    def open(self, context: SinkContext) -> str | None:
        self._call("open")
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        assert records
        assert len({type(record) for record in records}) == 1
        self._call("write")
        self.target.records += records
        self.target.step("written")

    def commit(self, place: str) -> Mapping[str, Any] | None:
        self._call("commit")
        return None

    def close(self) -> None:
        self.target.calls.append("close")

    def idle(self) -> None:
        self._call("idle")

    def _call(self, what: str) -> None:
        self.target.calls.append(what)
        self.target.step(what)


class StateSink(PlainSink):
    """Undoes what was written after the last commit, as a file can."""

    def open(self, context: SinkContext) -> str | None:
        super().open(context)
        del self.target.records[int(context.state.get("count", 0)) :]
        return None

    def commit(self, place: str) -> Mapping[str, Any] | None:
        super().commit(place)
        state = {"count": len(self.target.records)}
        self.target.step("committed")
        return state


class PlaceSink(PlainSink):
    """Keeps the place in the target, in one transaction with the records."""

    def open(self, context: SinkContext) -> str | None:
        super().open(context)
        self._held: list[AnyRecord] = []
        return self.target.place

    def write(self, records: Sequence[AnyRecord]) -> None:
        self._call("write")
        self._held += records
        self.target.step("written")

    def commit(self, place: str) -> Mapping[str, Any] | None:
        super().commit(place)
        self.target.records += self._held
        self._held = []
        self.target.place = place
        self.target.step("committed")
        return None


class WatchedCheckpoints(Checkpoints):
    """Checkpoints whose saving is a step, too."""

    def __init__(self, path: Path, step: Callable[[str], None]) -> None:
        super().__init__(path)
        self._step = step

    def save(self, checkpoint: Checkpoint) -> None:
        self._step("save")
        super().save(checkpoint)
        self._step("saved")


class TestBell:
    """Nobody rings it; its time passes when somebody waits.

    Attributes:
        reports: What the worker has told.
        wishes: How often it has wished for a snapshot.
        waits, now: How often, and how many seconds, it has waited.
        waited: Called each time.
    """

    __test__ = False

    def __init__(self, waited: Callable[[TestBell], None] | None = None) -> None:
        self.reports: list[WorkerReport] = []
        self.wishes = 0
        self.stopping = False
        self.waits = 0
        self.now = 0.0
        self.waited = waited

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.now += max(seconds, 0.001)
        if self.waited is not None:
            self.waited(self)

    def report(self, report: WorkerReport) -> None:
        self.reports.append(report)

    def want_snapshot(self) -> None:
        self.wishes += 1


class Worker:
    """Everything that one process has; make another one for the next start."""

    def __init__(
        self,
        data_dir: Path,
        sink: PlainSink,
        *,
        mode: SnapshotMode = SnapshotMode.NEVER,
        bell: TestBell | None = None,
        pace: Pace | None = None,
        **plan: Any,
    ) -> None:
        self.bell = bell or TestBell()
        self.progress = Progress()
        settings = SinkSettings(
            sink=PlainSink, name="test", type="test", origin="a test", options={}, snapshot=mode
        )
        self.runner = Runner(
            "test",
            sink,
            DeliveryContext(settings, "m", self.bell, self.progress, LOG),
            Plan(data_dir=data_dir, source="m", table=TABLE, mode=mode, **plan),
            pace or Pace(),
            checkpoints=WatchedCheckpoints(data_dir / "checkpoints", sink.target.step),
            bell=self.bell,
            progress=self.progress,
            log=LOG,
            clock=lambda: self.bell.now,
        )


def deliver(data_dir: Path, target: Target, kind: type[PlainSink] = PlainSink, **said: Any) -> None:
    """Deliver all that is stored."""
    Worker(data_dir, kind(target), **said).runner.run(until_end=True)


def shown(records: Sequence[AnyRecord]) -> list[str]:
    """Say in a word what each record is."""
    return [_word(record) for record in records]


def _word(record: AnyRecord) -> str:
    if isinstance(record, Record):
        return " ".join(word.decode() for word in record.words[:2])
    if isinstance(record, Notice):
        reason = record.details.get("reason", "")
        said = record.kind.value + (f" {reason}" if reason else "")
        if record.kind in (Kind.GAP, Kind.HISTORY) and record.offset_end > record.offset_start:
            said += f" {record.offset_end - record.offset_start}"
        return said
    return f"key {(record.key or b'').decode()}"


def once(records: Sequence[AnyRecord]) -> list[AnyRecord]:
    """Drop what has come before under the same id."""
    seen: set[str] = set()
    found = []
    for record in records:
        if record.id not in seen:
            seen.add(record.id)
            found.append(record)
    return found
