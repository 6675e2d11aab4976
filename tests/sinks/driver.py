"""Gives a sink records as a worker does, and can die at any step: a process of its own, killed.

What a sink's `commit` returns, and the place, are the worker's checkpoint: JSON, kept after the
commit. The place is how many batches have been delivered. A sink that keeps it in its target gives
it back from `open`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from repltap.delivery._hot.resp_form import encode
from repltap.rdb.entries import Entry
from repltap.rdb.write_resp import RespWriter
from repltap.sink import AnyRecord, Kind, Record, RespForm, Sink, SinkContext, SnapshotRecord
from tests.sinks.records import Batch, document

MAX_STATE_BYTES = 64 << 10


class Checkpoint(NamedTuple):
    """What a worker has kept."""

    place: str | None = None
    state: dict[str, Any] | None = None
    reset: str = ""  # one that nothing was kept since


NOTHING_KEPT = Checkpoint()


class Step(NamedTuple):
    """A call, or the keeping of a checkpoint: open, write, commit, keep, idle or close."""

    what: str
    batch: int = 0  # how many are behind it


@dataclass
class StubContext:
    """What a sink is given, without a relay around it.

    Attributes:
        bytes_sent, left_out: What the sink has counted.
        told_to_stop: What `wait` answers; it never really waits.
        forms: How many outputs of commands were begun.
    """

    place: str | None = None
    state: dict[str, Any] = field(default_factory=dict)
    name: str = "contract"
    source: str = "m"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("repltap.sink.contract"))
    bytes_sent: int = 0
    left_out: int = 0
    told_to_stop: bool = False
    forms: int = 0
    reset_name: str = ""

    @property
    def reset(self) -> bool:
        return bool(self.reset_name)

    def counts(self, place: str) -> bool:
        return not self.reset_name or json.loads(place)["reset"] == self.reset_name

    def json_lines(self, records: Sequence[AnyRecord]) -> bytes:
        return b"".join(orjson.dumps(document(record)) + b"\n" for record in records)

    def resp_form(self, *, target: str | None = None) -> RespForm:
        self.forms += 1
        return PlainRespForm()

    def wait(self, seconds: float) -> bool:
        return self.told_to_stop

    def sent(self, size: int) -> None:
        self.bytes_sent += size

    def discarded(self, count: int, *, intentional: bool) -> None:
        self.left_out += count


class PlainRespForm:
    """Records as commands, the plain way; see `repltap.sink.RespForm`."""

    def __init__(self) -> None:
        self._db: int | None = None
        self._in_transaction = False

    def write(self, records: Sequence[AnyRecord]) -> bytes:
        return b"".join(encode(words) for record in records for words in self._commands(record))

    def _commands(self, record: AnyRecord) -> Iterator[list[bytes]]:
        tx = record.tx if isinstance(record, Record) else None
        goes_on = record.kind is Kind.HEARTBEAT or (tx is not None and tx.ordinal > 0)
        if self._in_transaction and not goes_on:
            self._in_transaction = False
            self._db = None
            yield [b"DISCARD"]
        if isinstance(record, Record | SnapshotRecord):
            if record.db not in (self._db, None):
                yield [b"SELECT", b"%d" % (record.db or 0)]
                self._db = record.db
            if tx is not None and not self._in_transaction:
                self._in_transaction = True
                yield [b"MULTI"]
        if isinstance(record, Record):
            yield record.words
        elif isinstance(record, SnapshotRecord):
            yield from _split(RespWriter().write(Entry(*record.entry)))
        elif record.kind is Kind.SNAPSHOT_BEGIN:
            yield [b"FLUSHALL"]
        if tx is not None and tx.last:
            self._in_transaction = False
            yield [b"EXEC"]


def _split(commands: bytes) -> Iterator[list[bytes]]:
    import hiredis

    reader = hiredis.Reader()
    reader.feed(commands)
    while (words := reader.gets()) is not False:
        yield words


def steps(batches: Sequence[Batch], *, commit_every: int, whole_transactions: bool) -> list[Step]:
    """List what a worker does to deliver all batches from the first on."""
    found = [Step("open")]
    since = 0
    for number, batch in enumerate(batches, 1):
        found.append(Step("write", number))
        since += 1
        last = batch[-1]
        cut = isinstance(last, Record) and last.tx is not None and not last.tx.last
        if (since >= commit_every and not (cut and whole_transactions)) or number == len(batches):
            found += [Step("commit", number), Step("keep", number), Step("idle", number)]
            since = 0
    return [*found, Step("close", len(batches))]


class Driver:
    """A worker.

    Args:
        sink: Not opened yet.
        batches: All that there is to deliver.
        checkpoint: What an earlier one has kept.
        commit_every: Batches.

    Attributes:
        checkpoint: What it has kept.
        context: Given to the sink.
    """

    def __init__(
        self,
        sink: Sink,
        batches: Sequence[Batch],
        checkpoint: Checkpoint = NOTHING_KEPT,
        *,
        commit_every: int = 2,
    ) -> None:
        self.sink = sink
        self.checkpoint = checkpoint
        self.context = StubContext(
            checkpoint.place, checkpoint.state or {}, reset_name=checkpoint.reset
        )
        self._batches = batches
        self._begin = 0
        self._fresh = checkpoint
        self._plan = steps(
            batches, commit_every=commit_every, whole_transactions=sink.whole_transactions
        )

    def run(self) -> Checkpoint:
        """Do all steps."""
        for _ in self.walk():
            pass
        return self.checkpoint

    def walk(self) -> Iterator[Step]:
        """Do the steps from the place on, giving each when it is done."""
        for step in self._plan:
            if step.what in ("open", "close") or step.batch > self._begin:
                try:
                    self._do(step)
                except Exception:
                    self.sink.close()  # as a worker does
                    raise
                yield step

    def _do(self, step: Step) -> None:
        if step.what == "open":
            context: SinkContext = self.context
            held = self.sink.open(context)
            counts = held is not None and self.context.counts(held)
            place = held if counts else self.checkpoint.place
            self._begin = _batches_of(place)
        elif step.what == "write":
            self.sink.write(self._batches[step.batch - 1])
        elif step.what == "commit":
            place = place_of(step.batch, self.checkpoint.reset)
            self._fresh = Checkpoint(place, _through_json(self.sink.commit(place)))
        elif step.what == "keep":
            self.checkpoint = self._fresh
        elif step.what == "idle":
            self.sink.idle()
            self.sink.samples()
        else:
            self.sink.close()


def place_of(batches: int, reset: str = "") -> str:
    """The place behind so many batches: text that a sink has to keep as it is."""
    said = {"after": batches, "why": 'ünusual "text"\n', "reset": reset}
    return json.dumps(said, ensure_ascii=False)


def _batches_of(place: str | None) -> int:
    return 0 if place is None else int(json.loads(place)["after"])


def _through_json(state: object) -> Any:
    if state is None:
        return None
    written = json.dumps(state, allow_nan=False)
    assert len(written) <= MAX_STATE_BYTES, "a state of more than 64 KiB"
    return json.loads(written)


class Outcome(NamedTuple):
    """What a killed worker has left.

    Attributes:
        checkpoint: What it has kept.
        steps: How many it has done.
        ended: It had nothing more to do.
    """

    checkpoint: Checkpoint
    steps: int
    ended: bool


def run_and_die(driver: Driver, after: int) -> Outcome:
    """Run a worker in a process of its own that is killed after so many steps."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later tell of threads: the child makes the few calls of a sink and dies.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _report_and_die(driver, after, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    os.waitpid(child, 0)
    found = json.loads(lines[-1])
    if "failure" in found:
        raise AssertionError("in the sink's process:\n" + found["failure"])
    return Outcome(Checkpoint(*found["checkpoint"]), found["steps"], found["ended"])


def _report_and_die(driver: Driver, after: int, writing: int) -> None:
    done, ended = 0, True
    try:
        if after:
            for _ in driver.walk():
                done += 1
                if done == after:
                    ended = False
                    break
        report: dict[str, object] = {
            "checkpoint": driver.checkpoint, "steps": done, "ended": ended and bool(after),
        }  # fmt: skip
    except BaseException:  # noqa: BLE001  # the parent raises it
        report = {"failure": traceback.format_exc()}
    os.write(writing, json.dumps(report).encode() + b"\n")
    os.kill(os.getpid(), signal.SIGKILL)
