"""What we acknowledge to a master, and when: the ACK half of a replica's side.

It writes ACKs and looks for the master's GETACK in the stream; it holds no other state of the link.
It must never claim what the shell has not said is stored: a master keeps the highest ACK for good,
and counts it in `WAIT` (fact sheet 10). So a grant allows its own offset at most, which the replica
holds by definition, and `allow` alone raises that.
"""

from __future__ import annotations

from repltap.position import Offset
from repltap.protocol.resp import encode_command

GETACK = encode_command(b"REPLCONF", b"GETACK", b"*")
"""What a master puts into the stream when someone waits for our ACK (`replicationFeedSlaves`)."""

ACK_PERIOD_SECONDS = 1.0
"""As a replica's cron. After an `$EOF:` transfer the first ACK is usually lost, so it is also what
starts the stream (fact sheet 2.5)."""

EAGER_ACK_PERIOD_SECONDS = 0.2
EAGER_ACK_SECONDS = 5.0
"""After an `$EOF:` transfer, until the stream begins but no longer than this, ACKs come more often:
the one that arrives after the master has noticed its child's exit starts the stream, and the
replicas below wait for it."""

_SEAM_BYTES = len(GETACK) - 1
_GETACK_CORE = b"REPLCONF\r\n$6\r\nGETACK"
"""Looked for first: bytes.find skips by the last byte, and a literal that ends in a newline meets
one in every command (16 KiB of SETs: 24 us for the whole literal, 2.4 us for this part)."""


class Acks:
    """The ACKs of one connection.

    Args:
        now: The time.
    """

    def __init__(self, now: float) -> None:
        self.sent: Offset | None = None  # the last one
        self._allowed = Offset(0)  # what one may say at most
        self._told = False  # the shell has said so since the grant
        self._durable: Offset | None = None
        self._due = False
        self._wanted: Offset | None = None  # somebody waits until this has been said
        self._eager_until = now  # until then, and until the stream begins, they are more frequent
        self._at = now  # when the last one fell due by time
        self._seam = b""  # the stream's last bytes: GETACK may be cut by a read

    @property
    def asked(self) -> bool:
        """An ACK is due, or somebody waits for one that may not be said yet."""
        return self._due or self._wanted is not None

    def grant(self, offset: Offset) -> None:
        """Take this as what may be said after a grant, whatever was allowed before."""
        self._allowed = offset
        self._told = False

    def allow(self, offset: Offset, durable: Offset | None) -> None:
        """Say what may be claimed from now on.

        While an answer to GETACK has fallen short of it, each step nearer is due at once: who waits
        with `WAIT` may wait for less than the last GETACK asked for. So is what came glued to the
        grant or the RDB: the first ACK was too early for it.
        """
        before = self._progress()
        self._told = True
        self._allowed = offset
        self._durable = durable
        if self._progress() > before:
            self._due = True

    def _progress(self) -> tuple[int, int]:
        """Tell how much of what somebody waits for may be said, and is durable."""
        wanted = self._wanted
        if wanted is None:
            return 0, 0
        return min(self._allowed, wanted), min(self._durable or 0, wanted)

    def begin(self, now: float, *, eager: bool) -> None:
        """The stream comes next: the first ACK is due, and after an `$EOF:` more, `eager`."""
        self._due = True
        self._at = now
        if eager:
            self._eager_until = now + EAGER_ACK_SECONDS

    def tick(self, now: float) -> None:
        """Let time pass."""
        period = EAGER_ACK_PERIOD_SECONDS if now < self._eager_until else ACK_PERIOD_SECONDS
        if now - self._at >= period:
            self._due = True
            self._at = now

    def see(self, view: memoryview, end: Offset) -> None:
        """Look for GETACK in stream bytes; `end` is the offset after them.

        One search for a read, no parsing: a literal that is part of a value costs an early ACK.
        """
        self._eager_until = 0.0
        # bytes.find over a copy beats a search in the view (64 KiB: 13 us against 29 us for re).
        data = bytes(view)
        seam = self._seam + data[:_SEAM_BYTES]
        start = end - len(data)
        if _GETACK_CORE in data and GETACK in data:
            self._ask(start + data.rindex(GETACK) + len(GETACK))
        elif GETACK in seam:
            self._ask(start - len(self._seam) + seam.rindex(GETACK) + len(GETACK))
        if not self._told:
            self._wanted = end
        whole = data if len(data) >= _SEAM_BYTES else self._seam + data
        self._seam = whole[-_SEAM_BYTES:]

    def _ask(self, offset: int) -> None:
        """Answer a GETACK that ends at `offset`.

        `WAIT` is content with what is before it, which is what a replica answers at first; a
        master's `SHUTDOWN` and `FAILOVER` wait until its own bytes are acknowledged too
        (`isReadyToShutdown`, `updateFailoverStatus`).
        """
        self._due = True
        self._wanted = Offset(offset)

    def take(self, received: Offset) -> bytes:
        """Write the ACK that is due, b"" when none is; `received` bounds it too."""
        if not self._due:
            return b""
        self._due = False
        self.sent = offset = min(self._allowed, received)
        said = offset if self._durable is None else min(self._durable, offset)
        if self._told and self._wanted is not None and said >= self._wanted:
            self._wanted = None
        words = [b"REPLCONF", b"ACK", b"%d" % offset]
        if self._durable is not None:
            words += [b"FACK", b"%d" % said]
        return encode_command(*words)
