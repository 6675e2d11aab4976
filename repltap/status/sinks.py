"""Sinks, as the status shows them. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class SinkState(Enum):
    """Where a sink stands; all but the last are what its worker says."""

    STARTING = "starting"  # its target is being opened
    SNAPSHOT = "snapshot"  # a snapshot is being delivered
    STREAMING = "streaming"
    WAITING = "waiting"  # for a snapshot, or for a history to be stored
    RETRYING = "retrying"  # the target has failed; it is tried again by itself
    FAILED = "failed"  # somebody is needed; it is tried again now and then
    STOPPED = "stopped"
    RESTARTING = "restarting"  # its process has ended, and is started again


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """One configured sink. Counts are since the relay started.

    Attributes:
        name, type: As configured.
        state: Where it stands.
        pid: Of its process, None where none runs.
        history_number: The history that it reads, None where that is not known.
        committed_offset: Everything below is delivered, and durable in the target; None before the
            first commit, and within a snapshot.
        delivered_offset: What the sink has been given.
        lag_bytes: Stream bytes that are not committed, in all histories; None before it is known
            where the sink begins.
        lag_seconds: Age of the first of them, 0 when there is none; None where not known.
        records, sent_bytes: Delivered, snapshots included.
        commits, commit_seconds: How many, and the time from the first write to the end of commit.
        errors: By kind.
        retries, restarts: How often its target was opened again, its process started again.
        discarded, discarded_unintentional: Records that were left out.
        last_error, last_error_at: What went wrong last, and when; "" for nothing.
        next_try_at: When it is tried again, None where nothing is due.
        pinned_bytes: What is kept for it.
        lost_bytes: What was let go before it was delivered.
        snapshot_offset, snapshot_records: The snapshot that is being delivered and how far; None
            outside one.
        exactly_once: The sink says that its target has each record once.
    """

    name: str
    type: str
    state: SinkState
    pid: int | None = None
    history_number: int | None = None
    committed_offset: int | None = None
    delivered_offset: int | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    records: int = 0
    sent_bytes: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    restarts: int = 0
    discarded: int = 0
    discarded_unintentional: int = 0
    last_error: str = ""
    last_error_at: float | None = None
    next_try_at: float | None = None
    pinned_bytes: int = 0
    lost_bytes: int = 0
    snapshot_offset: int | None = None
    snapshot_records: int | None = None
    exactly_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HandSinkStatus:
    """A sink that is not configured here and has a checkpoint: run by hand, or forgotten.

    Attributes:
        name: Of the sink.
        history_number, offset: Where its checkpoint is.
        saved_at: When it was saved.
        pinned_bytes: What is kept for it.
        lost_bytes: What was let go before it was delivered.
    """

    name: str
    history_number: int
    offset: int
    saved_at: float
    pinned_bytes: int = 0
    lost_bytes: int = 0
