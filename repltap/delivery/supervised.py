"""One configured sink: its worker's process, started again and again, and what is known of it.

Nothing that a worker or a sink does is raised here: it is logged, counted, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import replace
from typing import Protocol

from repltap.delivery.messages import Start
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.delivery.worker_process import WorkerProcess
from repltap.position import Offset
from repltap.reasons import os_reason
from repltap.sink import Sample, SinkErrorKind
from repltap.status.sinks import SinkState, SinkStatus
from repltap.tasks import wait_at_most

_BACKOFF_MIN_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 60.0
_WELL_SECONDS = 60.0
"""A process that ran for so long was well: what ends it is not what ended those before."""

_SILENCE_SECONDS = 60.0
"""A worker reports about once a second. One that is stuck in its target's library for so long has
not even a time-out to tell of."""

_LOOK_SECONDS = 1.0
_TERMINATE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL; by then it has been asked for ten seconds."""


class Surroundings(Protocol):
    """What a supervised sink needs to know of the relay."""

    def hold(self, sink: str, number: int, offset: Offset) -> None:
        """Keep what the sink still needs."""

    def waits(self, sink: SupervisedSink) -> None:
        """Its worker has read all it could."""

    def wants_snapshot(self, sink: SupervisedSink) -> None:
        """It needs a snapshot to be stored."""


class SupervisedSink:
    """A sink that is kept running. It hears what its worker says.

    Args:
        start: What its workers are told.
        around: The relay.

    Attributes:
        name: Of the sink.
        report: The last one, of the worker that runs or of the one before.
        told: The journal and the end of it that its worker was last woken for.
    """

    def __init__(self, start: Start, around: Surroundings) -> None:
        self.name = start.sink.name
        self.report = WorkerReport(state=WorkerState.STARTING)
        self.told: object = None
        self._start = start
        self._around = around
        self._log = logging.getLogger(f"repltap.sink.{self.name}")
        self._process: WorkerProcess | None = None
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()  # there is no process
        self._gone.set()
        self._stopped = False
        self._silence = 0.0
        self._fault = ""
        # Of the workers before this one.
        self._past = _Totals()
        self._errors: Counter[str] = Counter()
        self._restarts = 0
        self._last_error = ""
        self._last_error_at: float | None = None
        self._next_try_at: float | None = None

    # -- what it hears ---------------------------------------------------------------------------

    def reported(self, report: WorkerReport) -> None:
        """Take note of how the worker is doing."""
        before, self.report = self.report, report
        self._silence = 0.0
        if report.last_error and report.last_error_at != before.last_error_at:
            self._last_error, self._last_error_at = report.last_error, report.last_error_at
        if report.history_number is not None and report.pin_offset is not None:
            self._around.hold(self.name, report.history_number, Offset(report.pin_offset))

    def waits(self) -> None:
        """Have it woken when there is more."""
        self._around.waits(self)

    def wants_snapshot(self) -> None:
        """Have a snapshot fetched."""
        self._around.wants_snapshot(self)

    def faulty(self, reason: str) -> None:
        """End a worker that is out of its mind."""
        self._fault = f"its process was killed: {reason}"
        if self._process is not None:
            self._process.kill()

    # -- what the supervisor calls ---------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Tell whether its worker waits for more to read."""
        return self._process is not None and self._process.channel.waiting

    @property
    def delivering(self) -> bool:
        """Tell whether it can be expected to get on by itself."""
        well = self.report.state not in (WorkerState.RETRYING, WorkerState.FAILED)
        return self._process is not None and well

    @property
    def stopped(self) -> bool:
        """Tell whether nobody keeps it running any more."""
        return self._stopped

    def wake(self) -> None:
        """Tell its worker that there may be more to read."""
        if self._process is not None:
            self._process.channel.wake()

    async def run(self) -> None:
        """Keep a worker running until it is stopped; cancelling kills the worker."""
        failures = 0
        self._stopped = False
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                ended = await self._run_worker()
                if self._stopping.is_set():
                    break
                failures = 0 if time.monotonic() - began >= _WELL_SECONDS else failures
                delay = min(_BACKOFF_MAX_SECONDS, _BACKOFF_MIN_SECONDS * 2 ** min(failures, 30))
                failures += 1
                self._count_end(ended, delay)
                await wait_at_most(self._stopping, delay)
                self._next_try_at = None
                self._restarts += 1
        finally:
            self._stopped = True

    async def stop(self, seconds: float) -> None:
        """Ask the worker to commit and end, and see to it that it does.

        Args:
            seconds: How long it is given.
        """
        self._stopping.set()
        if self._process is not None:
            self._process.channel.stop()
        if await wait_at_most(self._gone, seconds):
            return
        self.hurry()
        if await wait_at_most(self._gone, _TERMINATE_SECONDS) or self._process is None:
            return
        self._log.warning("its process does not end: it is killed")
        self._process.kill()
        await self._gone.wait()

    def hurry(self) -> None:
        """End the worker now; what it has not committed is delivered again."""
        self._stopping.set()
        if self._process is not None:
            self._log.warning("its process is ended before it has committed")
            self._process.terminate()

    def status(self) -> SinkStatus:
        """Show it; what depends on the journal is left to the supervisor."""
        report, past = self.report, self._past
        now = _Totals(report) if self._process is not None else _Totals()
        errors = Counter(self._errors)
        errors.update(now.errors)
        return SinkStatus(
            name=self.name,
            type=self._start.sink.type,
            state=self._state(),
            pid=None if self._process is None else self._process.pid,
            history_number=report.history_number,
            committed_offset=report.committed_offset,
            delivered_offset=report.delivered_offset,
            records=past.records + now.records,
            sent_bytes=past.sent_bytes + now.sent_bytes,
            commits=past.commits + now.commits,
            commit_seconds=past.commit_seconds + now.commit_seconds,
            errors=dict(errors),
            retries=past.retries + now.retries,
            restarts=self._restarts,
            discarded=past.discarded + now.discarded,
            discarded_unintentional=past.discarded_unintentional + now.discarded_unintentional,
            last_error=self._last_error,
            last_error_at=self._last_error_at,
            next_try_at=self._next_try_at or report.next_try_at,
            snapshot_offset=report.snapshot_offset,
            snapshot_records=report.snapshot_records,
            exactly_once=report.exactly_once,
        )

    def samples(self) -> tuple[Sample, ...]:
        """Give what the sink exports."""
        return self.report.samples

    # -- inside ----------------------------------------------------------------------------------

    def _state(self) -> SinkState:
        if self._stopped:
            return SinkState.STOPPED
        if self._process is None and self.report.state is not WorkerState.FAILED:
            return (
                SinkState.RESTARTING if self._restarts or self._next_try_at else SinkState.STARTING
            )
        return SinkState(self.report.state.value)

    async def _run_worker(self) -> str:
        """Run one worker to its end; says how it ended, "" for as asked."""
        self._fault = ""
        self._silence = 0.0
        self.told = None
        self._gone.clear()
        try:
            process = await WorkerProcess.start(self._start, self)
        except OSError as exc:
            self._gone.set()
            return f"its process can't be started: {os_reason(exc)}"
        self._process = process
        self.report = replace(self.report, state=WorkerState.STARTING)
        self._log.info("process %d delivers to it", process.pid)
        if self._stopping.is_set():
            process.channel.stop()
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(process))
                ended = await process.ended()
                watch.cancel()
        finally:
            self._process = None
            self._gone.set()
            self._past.add(_Totals(self.report))
            self._errors.update(self.report.errors)
            self.report = _without_counts(self.report)
        return self._fault or ended or "its process ended, unasked"

    async def _watch(self, process: WorkerProcess) -> None:
        """Kill a worker that says nothing any more.

        Silence is counted while this process runs itself: one that was stopped for minutes has
        heard nothing from anybody.
        """
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            self._silence += min(time.monotonic() - before, 2 * _LOOK_SECONDS)
            if self._silence >= _SILENCE_SECONDS:
                self._fault = f"its process was killed: no word for {_SILENCE_SECONDS:g} s"
                process.kill()
                return

    def _count_end(self, ended: str, delay: float) -> None:
        self._errors[SinkErrorKind.CRASH.value] += 1
        now = time.time()
        self._next_try_at = now + delay
        # What the worker said of it just before tells more than how it ended.
        if self._fault or self._last_error_at is None or now - self._last_error_at > 5.0:
            self._last_error, self._last_error_at = ended, now
        self._log.error("%s; it is started again in %g s", ended, delay)


class _Totals:
    """Counts that go on from worker to worker."""

    def __init__(self, report: WorkerReport | None = None) -> None:
        self.records = report.records if report else 0
        self.sent_bytes = report.sent_bytes if report else 0
        self.commits = report.commits if report else 0
        self.commit_seconds = report.commit_seconds if report else 0.0
        self.retries = report.retries if report else 0
        self.discarded = report.discarded if report else 0
        self.discarded_unintentional = report.discarded_unintentional if report else 0
        self.errors = dict(report.errors) if report else {}

    def add(self, other: _Totals) -> None:
        """Count what another has counted."""
        self.records += other.records
        self.sent_bytes += other.sent_bytes
        self.commits += other.commits
        self.commit_seconds += other.commit_seconds
        self.retries += other.retries
        self.discarded += other.discarded
        self.discarded_unintentional += other.discarded_unintentional


def _without_counts(report: WorkerReport) -> WorkerReport:
    """Keep where a worker was, for as long as no other says where it is."""
    return WorkerReport(
        state=report.state,
        history_number=report.history_number,
        committed_offset=report.committed_offset,
        # What it had been given and not committed will be given again.
        delivered_offset=report.committed_offset,
        pin_offset=report.pin_offset,
        last_error_at=report.last_error_at,
        exactly_once=report.exactly_once,
        samples=report.samples,
    )
