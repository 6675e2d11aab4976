"""Where a byte of the replication stream stands: replid, offset, history.

This module owns the words every other layer uses to name a place in the stream. An `Offset` is a
count of stream bytes, as in Redis's `master_repl_offset`; ranges are half-open. Redis's 1-based
PSYNC argument never appears here: `repltap.protocol.psync` alone converts it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NewType

ReplId = NewType("ReplId", str)
"""Forty lower-case hexadecimal characters that name a replication history."""

Offset = NewType("Offset", int)
"""A count of stream bytes since the history began; 0 <= offset <= MAX_OFFSET."""

MAX_OFFSET = Offset(2**63 - 1)
"""Redis keeps offsets as signed 64-bit numbers and has no wrap logic (`server.h`, long long)."""

NO_REPLID = ReplId("0" * 40)
"""What INFO shows for "no second replid"; it never matches a request."""

MAX_PREDECESSORS = 16
"""Failovers a history remembers. Redis remembers one; more lets a replica that missed several
failovers come back by partial resync as long as the journal still has the bytes."""

_REPLID = re.compile(rb"[0-9a-fA-F]{40}")


def parse_replid(raw: bytes) -> ReplId:
    """Read a replid from the wire.

    Args:
        raw: Forty hexadecimal characters; either case, as masters compare without case
            (Redis `masterTryPartialResynchronization`, strcasecmp).

    Returns:
        The replid in lower case.

    Raises:
        ValueError: It is not forty hexadecimal characters, or it is the all-zero "none".
    """
    if _REPLID.fullmatch(raw) is None or raw == b"0" * 40:
        raise ValueError(f"not a replication id: {raw[:60]!r}")
    return ReplId(raw.decode("ascii").lower())


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one history: everything below `offset` under `replid` is already held."""

    replid: ReplId
    offset: Offset


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An earlier replid of the same history, and the offset up to which it named it."""

    replid: ReplId
    until: Offset


@dataclass(frozen=True, slots=True)
class History:
    """One line of offsets: its replid now, and the replids it had before, newest first."""

    replid: ReplId
    predecessors: tuple[Predecessor, ...] = ()

    @property
    def replid2(self) -> ReplId:
        """The replid before this one as INFO shows it, zeros for none."""
        return self.predecessors[0].replid if self.predecessors else NO_REPLID

    @property
    def second_offset(self) -> int:
        """INFO's `second_repl_offset`: 1-based first byte that replid2 does not cover, or -1."""
        return self.predecessors[0].until + 1 if self.predecessors else -1

    def shifted(self, replid: ReplId, at: Offset) -> History:
        """Give the history a new replid from `at` on (Redis `shiftReplicationId`).

        Args:
            replid: The new replid; the current one gives back this history unchanged.
            at: Up to where the old replid holds; earlier ones are cut to it.

        Returns:
            The history under its new name.
        """
        if replid == self.replid:
            return self
        older = tuple(replace(p, until=min(p.until, at)) for p in self.predecessors)
        return History(replid, (Predecessor(self.replid, at), *older)[:MAX_PREDECESSORS])

    def covers(self, position: Position) -> bool:
        """Tell whether a node at `position` shares this history up to its offset.

        Redis `masterTryPartialResynchronization`: same replid, or replid2 with an offset that is
        not past the switch. Offsets past the journal's end are the caller's question.
        """
        if position.replid == self.replid:
            return True
        return any(
            position.replid == p.replid and position.offset <= p.until for p in self.predecessors
        )
