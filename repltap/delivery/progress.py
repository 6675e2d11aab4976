"""What a worker counts and tells of itself."""

from __future__ import annotations

import time
from collections import Counter

from repltap.delivery.place import Phase, Place
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.errors import SinkError
from repltap.sink import Sample

MAX_SAMPLES = 2000
"""What a sink may export: more would be a metric with a label of unbounded values."""


class Progress:
    """Counts since the worker started.

    Attributes:
        state: Where it stands.
        place: Behind what the sink has been given.
        committed: The place of the last commit.
        records, sent_bytes, commits, commit_seconds, retries: As in `WorkerReport`.
        discarded, discarded_unintentional: As in `WorkerReport`.
        exactly_once: As in `Sink`.
        next_try_at: As in `WorkerReport`.
    """

    def __init__(self) -> None:
        self.state = WorkerState.STARTING
        self.place: Place | None = None
        self.committed: Place | None = None
        self.records = 0
        self.sent_bytes = 0
        self.commits = 0
        self.commit_seconds = 0.0
        self.retries = 0
        self.discarded = 0
        self.discarded_unintentional = 0
        self.exactly_once = False
        self.next_try_at: float | None = None
        self._errors: Counter[str] = Counter()
        self._last_error = ""
        self._last_error_at: float | None = None

    def sent(self, size: int) -> None:
        """Count bytes that were put out."""
        self.sent_bytes += size

    def discard(self, count: int, *, intentional: bool) -> None:
        """Count records that were left out."""
        if intentional:
            self.discarded += count
        else:
            self.discarded_unintentional += count

    def failed(self, error: SinkError) -> None:
        """Count an error."""
        self._errors[error.kind.value] += 1
        self._last_error = str(error)
        self._last_error_at = time.time()

    def report(self, samples: tuple[Sample, ...]) -> WorkerReport:
        """Say all of it."""
        place, committed = self.place, self.committed
        needed = committed or place
        in_snapshot = place is not None and place.phase is Phase.SNAPSHOT
        return WorkerReport(
            state=self.state,
            history_number=None if needed is None else needed.history,
            committed_offset=_stream_offset(committed),
            delivered_offset=_stream_offset(place),
            pin_offset=None if needed is None else needed.offset,
            snapshot_offset=place.offset if place is not None and in_snapshot else None,
            snapshot_records=max(place.ordinal, 0) if place is not None and in_snapshot else None,
            records=self.records,
            sent_bytes=self.sent_bytes,
            commits=self.commits,
            commit_seconds=self.commit_seconds,
            errors=dict(self._errors),
            retries=self.retries,
            discarded=self.discarded,
            discarded_unintentional=self.discarded_unintentional,
            last_error=self._last_error,
            last_error_at=self._last_error_at,
            next_try_at=self.next_try_at,
            exactly_once=self.exactly_once,
            samples=samples[:MAX_SAMPLES],
        )


def _stream_offset(place: Place | None) -> int | None:
    """Tell below which offset all has been given; within a snapshot there is none."""
    return place.offset if place is not None and place.phase is Phase.STREAM else None
