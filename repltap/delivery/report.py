"""What passes between a sink's worker and whoever started it; the runner sees nothing else of it.

`repltap.delivery.control` carries it over a socket pair to the relay; `repltap sink run` by hand
has a bell that looks at the journal and prints.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from repltap.sink import Sample


class WorkerState(enum.Enum):
    """Where a worker stands."""

    STARTING = "starting"  # the target is being opened
    SNAPSHOT = "snapshot"  # a snapshot is being delivered
    STREAMING = "streaming"  # it delivers the stream, or has reached its end
    WAITING = "waiting"  # for a snapshot, or for a history to be stored
    RETRYING = "retrying"  # the target has failed; it is tried again by itself
    FAILED = "failed"  # somebody is needed; tried again now and then
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself, all of it each time. Counts are since the worker started.

    Attributes:
        state: Where it stands.
        history_number: The history that it reads, None before there is one.
        committed_offset: Everything below is delivered and durable; None before the first commit.
        delivered_offset: What it has given to the sink.
        pin_offset: The first byte of that history that it still needs; None where that is not
            known yet.
        snapshot_offset, snapshot_records: The snapshot that is being delivered and how far; None
            outside one.
        records, sent_bytes: Delivered, snapshots included.
        commits, commit_seconds: How many, and the time from the first write to the end of commit.
        errors: By `SinkErrorKind.value`.
        retries: How often the target was opened again after an error.
        discarded, discarded_unintentional: Records that were left out.
        last_error, last_error_at: What went wrong last, Unix seconds; "" for nothing yet.
        next_try_at: Unix seconds; None where no try is due.
        exactly_once: As in `Sink`.
        samples: What the sink exports.
    """

    state: WorkerState
    history_number: int | None = None
    committed_offset: int | None = None
    delivered_offset: int | None = None
    pin_offset: int | None = None
    snapshot_offset: int | None = None
    snapshot_records: int | None = None
    records: int = 0
    sent_bytes: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    discarded: int = 0
    discarded_unintentional: int = 0
    last_error: str = ""
    last_error_at: float | None = None
    next_try_at: float | None = None
    exactly_once: bool = False
    samples: tuple[Sample, ...] = ()


class Bell(Protocol):
    """How a worker waits, and says how it is doing."""

    @property
    def stopping(self) -> bool:
        """Tell whether the worker is to commit and end."""

    def wait(self, seconds: float) -> None:
        """Wait until the journal may have grown, or the worker is to stop; no longer than so."""

    def report(self, report: WorkerReport) -> None:
        """Tell how it is doing; never blocks for long, never raises."""

    def want_snapshot(self) -> None:
        """Ask for a snapshot to be stored: none is, or none that the journal joins."""
