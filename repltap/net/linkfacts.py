"""What the link shows of a snapshot that arrives, and of the server that it is from."""

from __future__ import annotations

from repltap.intake import Intake
from repltap.status.link import SyncProgress
from repltap.store.history import HistoryStore


def progress(intake: Intake) -> SyncProgress:
    """Show how far a snapshot has come."""
    return SyncProgress(
        offset=intake.offset,
        total_bytes=intake.size,
        received_bytes=intake.writer.size,
        started_at=intake.started_at,
        last_io_at=intake.last_io_at,
    )


def server_version(history: HistoryStore | None) -> str:
    """Tell the master's version, as its newest snapshot has it; "" for not known."""
    if history is None or not history.snapshots.all:
        return ""
    aux = history.snapshots.all[0].aux
    return aux.get("valkey-ver") or aux.get("redis-ver") or ""


def size_text(size_bytes: int | None) -> str:
    """Say how large a snapshot will be, for people."""
    return "size not known before its end" if size_bytes is None else f"{size_bytes} bytes"
