"""What is stored, as the status shows it. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from repltap.position import Offset, ReplId


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """One stored snapshot.

    Attributes:
        offset: The stream offset that it describes.
        size_bytes: Of its file.
        format: The RDB magic and version, such as REDIS0011 or VALKEY080.
        created_at: When it was complete.
        tail_bytes: Journal that a replica needs on top of it.
        duration_seconds: How long it took to arrive, None where that is not known.
    """

    offset: Offset
    size_bytes: int
    format: str
    created_at: float
    tail_bytes: int
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStatus:
    """How far the check of what was stored before the start is.

    Attributes:
        checked_bytes, total_bytes: Of journal and snapshots; equal when it is done.
        damaged: How many segments and snapshots were, and are served no longer.
    """

    checked_bytes: int
    total_bytes: int
    damaged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStatus:
    """The journal of the history that is served.

    Attributes:
        replid, replid2, second_offset: As INFO shows them.
        first_offset, end_offset: What is held, half-open.
        durable_offset: Up to where it is known to be on the disk.
        retain_bytes: How much is kept at least, once there is that much (`repl_backlog_size`).
        disk_bytes: What it takes on the disk, indexes included.
        snapshots: What is stored, newest first.
        check: Of what was stored before the start; None where nothing was, or it is off.
    """

    replid: ReplId
    replid2: ReplId
    second_offset: int
    first_offset: Offset
    end_offset: Offset
    durable_offset: Offset
    retain_bytes: int
    disk_bytes: int
    snapshots: tuple[SnapshotStatus, ...] = ()
    check: CheckStatus | None = None
