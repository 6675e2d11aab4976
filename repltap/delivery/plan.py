"""What a sink wants of the way through the store, and one step of that way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repltap.delivery.commands import CommandTable
from repltap.delivery.follow import Accepts
from repltap.delivery.place import Place
from repltap.delivery.stream import StreamLimits
from repltap.sink import AnyRecord, SnapshotMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sink wants of the way.

    Attributes:
        data_dir: Where it is stored.
        source: The configured name of the upstream.
        table: What is known of commands.
        mode: When snapshots are given.
        latest: Without a place and without a snapshot: begin at the end, not with what is oldest.
        on_gap_stop: Fail where bytes are missing, instead of going on behind them.
        accepts: Tells which commands are wanted; None for all.
        limits: What decoding may take of memory.
    """

    data_dir: Path
    source: str
    table: CommandTable
    mode: SnapshotMode = SnapshotMode.NEVER
    latest: bool = False
    on_gap_stop: bool = False
    accepts: Accepts | None = None
    limits: StreamLimits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is given next.

    Attributes:
        records: Of one class; none where there is only a new place.
        place: Where to go on behind them; None where more has to follow first.
        window, window_start: What commands were decoded from, and the offset where that begins.
        size: What it took of the stored bytes.
        commit_before: What was given before is to be committed before these.
        commit_after: Commit now.
    """

    records: Sequence[AnyRecord]
    place: Place | None
    window: bytes = b""
    window_start: int = 0
    size: int = 0
    commit_before: bool = False
    commit_after: bool = False
