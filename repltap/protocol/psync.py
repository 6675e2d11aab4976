"""PSYNC: its arguments, the decision they lead to, and where to resume.

The only module that knows Redis's 1-based argument: `PSYNC <replid> <n>` asks for the byte `n` and
what follows, so it comes from a replica that holds `n - 1` bytes. Everything else in repltap counts
held bytes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from repltap.endings import DenialReason
from repltap.errors import RemoteProtocolError
from repltap.position import MAX_OFFSET, History, Offset, Position, parse_replid

MAX_TOLD_OFFSET = Offset(2**62)
"""A peer that names a higher offset is broken or lies: at 10 GB/s it takes 14 years to get there.
What is up to here leaves room to count on without passing `MAX_OFFSET`."""

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
    """A verdict and, for the log, why; `denial` names what speaks against a partial resync."""

    verdict: Verdict
    reason: str
    denial: DenialReason | None = None


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
        return Decision(Verdict.FULL, "no history is stored yet", DenialReason.NO_HISTORY)
    offset = position.offset
    if not history.covers(position):
        known = [p.until for p in history.predecessors if p.replid == position.replid]
        if known:
            reason = f"offset {offset} is past {known[0]}, where replid {position.replid} ended"
            return Decision(Verdict.FULL, reason, DenialReason.PAST_REPLID)
        reason = f"unknown replid {position.replid}"
        return Decision(Verdict.FULL, reason, DenialReason.UNKNOWN_REPLID)
    if offset < first:
        reason = f"offset {offset} is older than the journal, which begins at {first}"
        return Decision(Verdict.FULL, reason, DenialReason.NOT_RETAINED)
    if offset > end:
        reason = f"offset {offset} is ahead of the journal's end, {end}"
        return Decision(Verdict.WAIT, reason, DenialReason.AHEAD)
    return Decision(Verdict.CONTINUE, f"the journal holds the bytes from {offset} to {end}")


# -- where a replica with this journal would resume -----------------------------------------------

MAX_CANDIDATES = 256
"""Places tried as the first command of a tail. Only values that look like commands make a place
fail, and a tail full of them just resumes at its very end."""

_HEADER = re.compile(rb"([*$])([1-9][0-9]{0,18}|0)\r\n")
_PARTIAL_HEADER = re.compile(rb"[*$]([1-9][0-9]{0,18}|0)?\r?")
_CONTROL = re.compile(rb"\*1\r\n\$(?:5\r\n(MULTI)|4\r\n(EXEC))\r\n", re.IGNORECASE)

_COUNTS = {b"*%d\r\n" % count: count for count in range(10)}
_STEPS = {b"$%d\r\n" % size: len(b"$%d\r\n" % size) + size + 2 for size in range(100)}
"""Most headers of most streams, and how far it is from an argument's header to what follows the
argument. A lookup costs a third of a match: 1 MiB of small commands took 100 ms with matches alone,
and takes 50 ms."""

_FULL_WALKS = 4
_SHORTEST_ARGUMENT = len(b"$0\r\n\r\n")


def journal_resume_point(
    tail: bytes, tail_start: Offset, *, known_boundary: bool = False
) -> Offset | None:
    """Find where a real replica that holds this journal would say that it stands.

    Its applied offset is the end of the last whole command, or the byte before an open MULTI (fact
    sheet 3.4). A wrong answer is harmless to a relay, which asks for the same bytes again.

    Args:
        tail: The journal's last bytes. A megabyte is plenty; it is parsed command by command.
        tail_start: The offset of its first byte.
        known_boundary: That byte begins a command; otherwise the first place is searched from
            which well-formed commands lead to the end.

    Returns:
        The offset, or None when the tail shows no boundary.
    """
    search = _Search(tail)
    candidate = 0 if known_boundary or tail.startswith(b"*") else search.next_candidate(0)
    for _ in range(MAX_CANDIDATES):
        if candidate < 0 or search.arguments_left <= 0:
            break
        boundary = search.walk(candidate)
        if boundary is not None:
            return Offset(tail_start + boundary)
        candidate = search.next_candidate(candidate)
    return None


def first_boundary(window: bytes, start: Offset) -> Offset | None:
    """Find where the first whole command of a piece of stream begins.

    It is the first place from which well-formed commands lead to the window's end. Only a value
    that is longer than the window and is itself made of commands can pass for one.

    Args:
        window: Any piece; a megabyte is plenty unless values are larger.
        start: The offset of its first byte.

    Returns:
        The offset, or None when the window shows no boundary.
    """
    search = _Search(window)
    if window.startswith(b"*"):
        candidate = 0
    else:
        # The window may begin inside the line end that is looked for.
        candidate = 1 if window.startswith(b"\n*") else search.next_candidate(0)
    for _ in range(MAX_CANDIDATES):
        if candidate < 0 or search.arguments_left <= 0:
            break
        if search.walk(candidate) is not None:
            return Offset(start + candidate)
        candidate = search.next_candidate(candidate)
    return None


def boundaries(window: bytes, start: Offset, *, known_boundary: bool) -> Iterator[Offset] | None:
    """Find where the commands of a piece of stream begin.

    Args:
        window, start: As for `first_boundary`.
        known_boundary: The first byte begins a command; otherwise `first_boundary` is taken for
            the first.

    Returns:
        The offsets, in order; None when the window shows no boundary.
    """
    first = start if known_boundary else first_boundary(window, start)
    return None if first is None else _Search(window).commands(first - start, start)


class _Search:
    """One search through one tail; its time is bounded whatever a client has put into values.

    A place that once led to something malformed is not walked from again, and the arguments that
    are looked at are limited to what a few walks through nothing but the shortest would take.
    """

    def __init__(self, tail: bytes) -> None:
        self._tail = tail
        self._failed: set[int] = set()  # command boundaries that lead to something malformed
        self.arguments_left = _FULL_WALKS * (len(tail) // _SHORTEST_ARGUMENT + 1)

    def next_candidate(self, after: int) -> int:
        """Give the next place that may begin a command, -1 for none."""
        while (at := self._tail.find(b"\r\n*", after)) >= 0:
            after = at + 2
            if after not in self._failed:
                return after
        return -1

    def walk(self, position: int) -> int | None:
        """Follow commands to the tail's end; give the last boundary, None if one is malformed."""
        tail, length = self._tail, len(self._tail)
        transaction: int | None = None
        passed = []
        while position < length:
            passed.append(position)
            end = None if position in self._failed else self._command_end(position)
            if end is None:
                self._failed.update(passed)
                return None
            if end < 0:
                break
            if end - position <= len(b"*1\r\n$5\r\nMULTI\r\n"):
                control = _CONTROL.match(tail, position)
                if control is not None:
                    transaction = position if control[1] else None
            position = end
        return position if transaction is None else transaction

    def commands(self, position: int, start: Offset) -> Iterator[Offset]:
        """Give where commands begin, from a boundary on."""
        while 0 <= position < len(self._tail):
            yield Offset(start + position)
            end = self._command_end(position)
            position = -1 if end is None else end

    def _command_end(self, position: int) -> int | None:
        """Give where the command at `position` ends: -1 if past the tail, None if it is none."""
        tail = self._tail
        count = _COUNTS.get(tail[position : position + 4], -1)
        if count >= 0:
            position += 4
        else:
            count, position = _header(tail, position, b"*")
            if count < 0 or position < 0:
                return None if count < 0 else -1
        left = count
        try:
            while left:
                left -= 1
                step = _STEPS.get(tail[position : position + 4])
                if step is None:
                    step = _STEPS.get(tail[position : position + 5])
                if step is not None:
                    position += step
                else:
                    size, position = _header(tail, position, b"$")
                    if size < 0 or position < 0:
                        return None if size < 0 else -1
                    position += size + 2
                if tail[position - 2 : position] != b"\r\n":
                    # Cut off by the tail's end, or malformed.
                    missing = position - len(tail)
                    cut = missing > 0 and b"\r\n".startswith(tail[position - 2 :])
                    return -1 if cut else None
        finally:
            self.arguments_left -= count - left
        return position


def _header(tail: bytes, position: int, kind: bytes) -> tuple[int, int]:
    """Read a header: its number and its end. -1 as number: malformed; -1 as end: cut off."""
    match = _HEADER.match(tail, position)
    if match is not None and match[1] == kind:
        return int(match[2]), match.end()
    rest = tail[position : position + 24]
    cut = not rest or (rest.startswith(kind) and _PARTIAL_HEADER.fullmatch(rest) is not None)
    return (0, -1) if cut and position + len(rest) == len(tail) else (-1, position)
