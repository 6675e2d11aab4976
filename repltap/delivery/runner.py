"""Drives one sink: opens it, gives it what comes, commits, remembers; and again after an error.

What holds whatever happens, a crash at any point included: the checkpoint is saved after the commit
that it tells of, and before anything else is asked of the sink. So what the next start gives begins
at the last commit or before it, never behind it; and the same is given under the same ids.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from repltap.delivery.journey import Journey
from repltap.delivery.notices import Notices
from repltap.delivery.place import Phase, Place
from repltap.delivery.plan import Plan, Step
from repltap.delivery.progress import Progress
from repltap.delivery.report import Bell, WorkerState
from repltap.delivery.snapshots import Shelf, SnapshotReading
from repltap.delivery.trouble import Trouble, as_failure
from repltap.errors import (
    CorruptStoreError,
    ProtocolError,
    RdbError,
    SinkError,
    SinkErrorKind,
    StoreError,
)
from repltap.sink import AnyRecord, Sample, Sink, SinkContext, SnapshotMode
from repltap.store.checkpoints import Checkpoint, Checkpoints
from repltap.store.given import GivenNote

_IDLE_SECONDS = 0.1
"""How long it waits for the bell at most: it may have rung before the index covered the bytes."""

_REPORT_SECONDS = 1.0
_CALL_SECONDS = 1.0  # between two calls of `idle`
_WISH_SECONDS = 5.0  # between two wishes for a snapshot
_BACKOFF_SECONDS = (0.2, 30.0)
_HOPELESS_SECONDS = 60.0


class RunContext(SinkContext, SnapshotReading, Protocol):
    """What the sink is given, from the side of who fills it."""

    def begin(self, place: str | None, state: Mapping[str, Any], reset: str = "") -> None:
        """Get ready for the next `open`; `reset` is one that no commit has followed yet."""

    def prepare(
        self, records: Sequence[AnyRecord], window: bytes, window_start: int
    ) -> Sequence[AnyRecord]:
        """Leave out and redact what the sink is not to see; the rest is about to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often what.

    Attributes:
        commit_seconds, commit_bytes: A commit follows the first write after so long, or after so
            much of what is stored.
        heartbeat_seconds: With nothing to give a notice is given this often, None for never.
    """

    commit_seconds: float = 1.0
    commit_bytes: int = 64 << 20
    heartbeat_seconds: float | None = None


class StoppedError(Exception):
    """The worker is to stop; raised within long work."""


class Runner:
    """Drives a sink until it is told to stop.

    Args:
        name: Of the sink.
        sink: What is driven.
        context: What it is given.
        plan: What it wants of the way.
        pace: How often what.
        checkpoints: Where its place is remembered.
        bell: Who wakes and stops it, and is told how it is doing.
        progress: What is counted.
        log: For what an operator should know.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        context: RunContext,
        plan: Plan,
        pace: Pace,
        *,
        checkpoints: Checkpoints,
        bell: Bell,
        progress: Progress,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._sink = sink
        self._context = context
        self._plan = plan
        self._pace = pace
        self._checkpoints = checkpoints
        self._bell = bell
        self._progress = progress
        progress.exactly_once = sink.exactly_once
        self._log = log
        self._clock = clock
        self._trouble = Trouble(log, clock)
        self._notices = Notices(plan.source)
        self._shelf = Shelf(self._pulse)
        self._journey: Journey | None = None
        self._opened = False
        self._samples: tuple[Sample, ...] = ()
        self._place: Place | None = None  # behind what the sink has been given
        self._given: Place | None = None  # the same, with what the sink may have taken in part
        # Who keeps the place with the records never has what was not committed.
        self._note = None if sink.exactly_once else GivenNote(checkpoints.given_path(name))
        self._committed: Place | None = None
        self._state: Mapping[str, Any] = {}
        self._reset = ""  # one that no saved commit has followed yet
        self._unsaved = False  # a commit that the checkpoint does not tell of yet
        self._dirty_since: float | None = None  # when what is not committed began
        self._dirty_bytes = 0
        self._given_at = clock()  # when a record was given last
        self._reported_at = -_REPORT_SECONDS
        self._called_at = clock()
        self._wished_at = -_WISH_SECONDS
        self._backoff = _BACKOFF_SECONDS[0]

    def run(self, *, until_end: bool = False) -> None:
        """Deliver until the bell says stop.

        Args:
            until_end: Or until everything that is stored has been delivered.

        Raises:
            CorruptStoreError: The checkpoint can't be believed.
            DataDirError: It can't be read.
            SinkError: With `until_end`, what would be tried again otherwise.
            Exception: What the sink has raised besides `SinkError`.
        """
        self.report(at_once=True)
        self._load()
        while not self._bell.stopping:
            try:
                self._session(until_end)
                break
            except (SinkError, StoreError, RdbError, ProtocolError) as exc:
                failure = as_failure(exc)
                self._failed(failure)
                if until_end:
                    raise failure from exc
            finally:
                self._close()
            self._back_off(failure)
        self._tell(WorkerState.STOPPED)

    def _load(self) -> None:
        saved = self._checkpoints.load(self._name)
        self._recall(is_reset=saved is not None and bool(saved.reset))
        if saved is None:
            return
        try:
            place = None if saved.place is None else Place.from_dict(saved.place)
        except ValueError as exc:
            raise CorruptStoreError(
                str(exc),
                path=self._checkpoints.path_of(self._name),
                hint="was it written by a later version? Or begin anew with "
                f"`repltap sink reset {self._name}`",
            ) from exc
        self._committed, self._state, self._reset = place, saved.state, saved.reset
        self._progress.committed = self._progress.place = place

    def _recall(self, *, is_reset: bool) -> None:
        """Find out what a worker before this one has given, and may not have committed."""
        if self._note is None:
            return
        if is_reset:
            self._note.forget()  # of another target, or to be delivered again on purpose
            return
        try:
            self._given = Place.from_text(self._note.read())
        except ValueError:
            return  # none, or not one of ours

    # -- from open to close ------------------------------------------------------------------------

    def _session(self, until_end: bool) -> None:
        self._tell(WorkerState.STARTING)
        if self._unsaved:
            self._save()
        self._open()
        try:
            while not self._bell.stopping:
                step = self._next()
                if step is not None:
                    self._take(step)
                elif until_end and self._ended():
                    break
                else:
                    self._rest()
        except StoppedError:
            pass
        self._commit()
        if self._dirty_since is None:
            self._sink.idle()

    def _open(self) -> None:
        place = self._committed
        # Until something is committed, this is the start that the mode speaks of.
        again = self._plan.mode is SnapshotMode.ALWAYS and not self._progress.commits
        self._context.begin(None if place is None else place.as_text(), self._state, self._reset)
        answer = self._sink.open(self._context)
        self._opened = True
        if answer is not None and not self._context.counts(answer):
            self._log.info("was reset: the place that the target holds does not count")
        elif answer is not None:
            try:
                place = Place.from_text(answer)
            except ValueError as exc:
                raise SinkError(
                    f"the place that the target holds can't be read: {exc}",
                    hint="it was written by something else, or is damaged",
                    passes=False,
                ) from exc
        self._committed = self._place = place
        self._progress.committed = self._progress.place = place
        self._say_where(place)
        self._dirty_since, self._dirty_bytes = None, 0
        self._journey = Journey(
            self._plan,
            place,
            shelf=self._shelf,
            want_snapshot=self._want_snapshot,
            log=self._log,
            reading=self._context,
            again=again,
            given=self._given if answer is None else None,
        )

    def _say_where(self, place: Place | None) -> None:
        if self._progress.retries:
            self._trouble.opened_again()
        elif place is None:
            self._log.info("begins; snapshots: %s", self._plan.mode.value)
        else:
            at = "the snapshot at offset" if place.phase is Phase.SNAPSHOT else "offset"
            self._log.info("goes on at %s %d of %s", at, place.offset, place.replid)

    def _close(self) -> None:
        self._opened = False
        if self._journey is not None:
            self._journey.close()
            self._journey = None
        try:
            self._sink.close()
        except SinkError as exc:
            self._failed(exc, "closing: ")

    # -- giving ------------------------------------------------------------------------------------

    def _next(self) -> Step | None:
        assert self._journey is not None
        step = self._journey.next()
        place = self._journey.place
        if self._journey.waiting:
            if self._progress.state is not WorkerState.WAITING:
                self._log.info("waits %s", self._journey.waiting)
            self._tell(WorkerState.WAITING)
        elif place is not None and place.phase is Phase.STREAM:
            self._tell(WorkerState.STREAMING)
        else:
            self._tell(WorkerState.SNAPSHOT)
        return step

    def _take(self, step: Step) -> None:
        if step.commit_before:
            self._commit()
        now = self._clock()
        if step.records:
            self._remember_given(step.place)
            self._give(self._context.prepare(step.records, step.window, step.window_start), now)
        if step.place is None:
            return
        if step.place != self._place and self._dirty_since is None:
            self._dirty_since = now
        self._place = self._progress.place = step.place
        self._dirty_bytes += step.size
        if step.commit_after or self._commit_is_due(self._clock()):
            self._commit()
        self._pulse()

    def _remember_given(self, place: Place | None) -> None:
        """Note where the records end that are about to be given, before they are."""
        if place is None:
            return
        self._given = place
        if self._note is not None and place.phase is Phase.STREAM:
            self._note.write(place.as_text())

    def _give(self, records: Sequence[AnyRecord], now: float) -> None:
        if not records:
            return
        if self._dirty_since is None:
            self._dirty_since = now
        self._sink.write(records)
        self._given_at = now
        self._progress.records += len(records)

    def _commit_is_due(self, now: float) -> bool:
        if self._dirty_since is None:
            return False
        waited = now - self._dirty_since
        return waited >= self._pace.commit_seconds or self._dirty_bytes >= self._pace.commit_bytes

    def _commit(self) -> None:
        place = self._place
        if self._dirty_since is None or place is None:
            return
        if self._sink.whole_transactions and place.tx_id is not None:
            return
        # With the reset in it, this place counts even if the checkpoint is not saved any more.
        state = self._sink.commit(place.as_text(self._reset))
        self._committed, self._state = place, dict(state or {})
        self._unsaved = True
        self._save()
        self._progress.committed = place
        self._progress.commits += 1
        self._progress.commit_seconds += self._clock() - self._dirty_since
        self._dirty_since, self._dirty_bytes = None, 0
        self._backoff = _BACKOFF_SECONDS[0]
        self._trouble.over()
        if self._progress.commits == 1:
            # Until the relay hears of a place it keeps nothing for a sink that begins.
            self.report(at_once=True)

    def _save(self) -> None:
        """Remember the last commit; what the sink has committed is never given again for this."""
        assert self._committed is not None
        self._checkpoints.save(
            Checkpoint(
                sink=self._name,
                place=self._committed.as_dict(),
                state=self._state,
                saved_at=time.time(),
            )
        )
        self._unsaved = False
        self._reset = ""

    # -- waiting -----------------------------------------------------------------------------------

    def _ended(self) -> bool:
        """Tell whether all is delivered that is stored."""
        assert self._journey is not None
        if self._journey.waiting:
            raise SinkError(
                f"it has to wait {self._journey.waiting}",
                hint="a relay that uses this data directory has to run for that",
                kind=SinkErrorKind.SOURCE,
            )
        return self._journey.at_end

    def _rest(self) -> None:
        """Nothing can be given just now."""
        now = self._clock()
        pause = _IDLE_SECONDS
        if self._commit_is_due(now):
            self._commit()
        elif self._dirty_since is not None:
            pause = min(pause, self._dirty_since + self._pace.commit_seconds - now)
        elif now - self._called_at >= _CALL_SECONDS:
            self._called_at = now
            self._sink.idle()
        every = self._pace.heartbeat_seconds
        place = self._place
        if every is not None and place is not None and place.phase is Phase.STREAM:
            if now - self._given_at >= every:
                self._give([self._notices.heartbeat(place)], now)
            pause = min(pause, every)
        self._bell.wait(max(pause, 0.0))
        self._pulse()

    def _want_snapshot(self) -> None:
        now = self._clock()
        if now - self._wished_at >= _WISH_SECONDS:
            self._wished_at = now
            self._bell.want_snapshot()

    def _failed(self, failure: SinkError, what: str = "") -> None:
        self._progress.failed(failure)
        self._trouble.tell(failure, what)

    def _back_off(self, failure: SinkError) -> None:
        delay = self._backoff if failure.passes else _HOPELESS_SECONDS
        self._backoff = min(self._backoff * 2, _BACKOFF_SECONDS[1])
        until = self._clock() + delay
        self._progress.next_try_at = time.time() + delay
        self._tell(WorkerState.RETRYING if failure.passes else WorkerState.FAILED)
        while not self._bell.stopping and (left := until - self._clock()) > 0:
            self._bell.wait(min(left, _REPORT_SECONDS))
            self.report()
        self._progress.next_try_at = None
        self._progress.retries += 1

    # -- telling -----------------------------------------------------------------------------------

    def _tell(self, state: WorkerState) -> None:
        if state is not self._progress.state:
            self._progress.state = state
            self.report(at_once=True)

    def _pulse(self) -> None:
        """Report when that is due; within long work also notice that it is to stop."""
        self.report()
        if self._bell.stopping:
            raise StoppedError

    def report(self, *, at_once: bool = False) -> None:
        """Tell how it is doing, if that is due."""
        now = self._clock()
        if not at_once and now - self._reported_at < _REPORT_SECONDS:
            return
        self._reported_at = now
        if self._opened:
            self._samples = tuple(self._sink.samples())
        self._bell.report(self._progress.report(self._samples))
