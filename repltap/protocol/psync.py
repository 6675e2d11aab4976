"""PSYNC: its arguments, the decision they lead to, and where to resume.

The only module that knows Redis's 1-based argument: `PSYNC <replid> <n>` asks for the byte `n` and
what follows, so it comes from a replica that holds `n - 1` bytes. Everything else in repltap counts
held bytes.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from repltap.errors import RemoteProtocolError
from repltap.position import MAX_OFFSET, History, Offset, Position, parse_replid

_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0")


@dataclass(frozen=True, slots=True)
class PsyncRequest:
    """What a replica asked for. `position` is None when it holds nothing that could be resumed."""

    position: Position | None
    failover: bool = False


def parse_integer(raw: bytes) -> int:
    """Read a canonical signed 64-bit decimal (Redis `string2ll`).

    Args:
        raw: The argument as it came.

    Returns:
        The number.

    Raises:
        RemoteProtocolError: It is anything else; the text is Redis's own.
    """
    if _INTEGER.fullmatch(raw) is not None:
        value = int(raw)
        if -MAX_OFFSET - 1 <= value <= MAX_OFFSET:
            return value
    raise RemoteProtocolError("ERR value is not an integer or out of range")


def parse_psync(args: list[bytes]) -> PsyncRequest:
    """Read a PSYNC command.

    Args:
        args: The whole command, its name first.

    Returns:
        The request. `? -1`, an offset below 1 and an unusable replid all mean "holds nothing":
        after a SYNC a real replica asks with an empty replid and must be given a full sync.

    Raises:
        RemoteProtocolError: Too few arguments or no integer; the text is a Redis >= 7.0 master's.
    """
    if len(args) < 3:
        raise RemoteProtocolError("ERR wrong number of arguments for 'psync' command")
    wanted = parse_integer(args[2])
    failover = len(args) > 3 and args[3].lower() == b"failover"
    if wanted < 1:
        return PsyncRequest(None, failover)
    try:
        replid = parse_replid(args[1])
    except ValueError:
        return PsyncRequest(None, failover)
    return PsyncRequest(Position(replid, Offset(wanted - 1)), failover)


def psync_arguments(position: Position | None) -> tuple[bytes, bytes]:
    """Give the two arguments of the PSYNC that resumes at `position`; None asks for everything."""
    if position is None:
        return b"?", b"-1"
    return position.replid.encode("ascii"), b"%d" % (position.offset + 1)


class Verdict(enum.Enum):
    """What a PSYNC is answered with."""

    CONTINUE = "continue"
    WAIT = "wait"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and, for the log, why."""

    verdict: Verdict
    reason: str


def decide(
    position: Position | None, history: History | None, first: Offset, end: Offset
) -> Decision:
    """Decide how a replica at `position` is served (Redis `masterTryPartialResynchronization`).

    Args:
        position: Where the replica stands; None if it holds nothing.
        history: The history that is served; None if there is none yet.
        first: The journal's first byte.
        end: The journal's end: the first byte that it does not hold.

    Returns:
        CONTINUE when the journal holds all that is missing, which may be nothing. WAIT when the
        replica is of this history but ahead of the journal: a torn tail that the master is about
        to send again; the caller limits the wait. FULL otherwise.
    """
    if position is None:
        return Decision(Verdict.FULL, "the replica asked for a full sync")
    if history is None:
        return Decision(Verdict.FULL, "no history is stored yet")
    offset = position.offset
    if not history.covers(position):
        known = [p.until for p in history.predecessors if p.replid == position.replid]
        if known:
            reason = f"offset {offset} is past {known[0]}, where replid {position.replid} ended"
        else:
            reason = f"unknown replid {position.replid}"
        return Decision(Verdict.FULL, reason)
    if offset < first:
        reason = f"offset {offset} is older than the journal, which begins at {first}"
        return Decision(Verdict.FULL, reason)
    if offset > end:
        return Decision(Verdict.WAIT, f"offset {offset} is ahead of the journal's end, {end}")
    return Decision(Verdict.CONTINUE, f"the journal holds the bytes from {offset} to {end}")
