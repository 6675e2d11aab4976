"""Our side of the link to the master: a replica, as a state machine over bytes and time.

It speaks the handshake, takes the RDB in either form, and from then on hands stream bytes through
untouched, one event for each read. It opens nothing and reads no clock. It must never send a byte
between PSYNC and the end of the RDB: a master measures its diskless delay in the silence of those
who wait, and a chatty replica is never served (fact sheet 2.3). And it never acknowledges more than
it has received or than the shell allowed: a master keeps the highest ACK for good.

    PING ─▶ CONFIGURE ─▶ PSYNC ─▶ HEADER ─▶ SNAPSHOT ─▶ STREAM
                           └───────────────────────────────▲      any ─▶ CLOSED
"""

from __future__ import annotations

import enum
import re
from collections import deque

from repltap.endings import FailureReason
from repltap.errors import LocalProtocolError
from repltap.position import Offset, Position
from repltap.protocol.acks import ACK_PERIOD_SECONDS, GETACK, Acks
from repltap.protocol.events import (
    FullResyncGranted,
    LinkFailed,
    SnapshotChunk,
    SnapshotReceived,
    SnapshotStarted,
    StreamBytes,
    UpstreamEvent,
)
from repltap.protocol.handshake import (
    MAX_LINE_BYTES,
    PING,
    Replies,
    TransferHeader,
    UpstreamSettings,
    configuration,
)
from repltap.protocol.psync import psync_arguments
from repltap.protocol.resp import encode_command
from repltap.protocol.transfer import RdbTransfer

__all__ = ["ACK_PERIOD_SECONDS", "GETACK", "UpstreamProtocol", "UpstreamSettings", "UpstreamState"]

SETTLE_SECONDS = 0.5
"""How long an end mark without a right checksum must stay the last thing; see `transfer`."""

MAX_KEEPALIVE_BYTES = 1_000_000
"""Of empty lines, while the answer to PSYNC and then the RDB is awaited. A master sends one each
second (`replicationCron`), so this is eleven days; who floods us with them is no master."""

_NEWLINES = re.compile(rb"(?:\r?\n)+")


class UpstreamState(enum.Enum):
    """What the next bytes from the master are."""

    PING = "ping"
    CONFIGURE = "configure"
    PSYNC = "psync"
    HEADER = "header"
    SNAPSHOT = "snapshot"
    STREAM = "stream"
    CLOSED = "closed"


_S = UpstreamState
_TRANSITIONS: dict[UpstreamState, frozenset[UpstreamState]] = {
    _S.PING: frozenset({_S.CONFIGURE, _S.CLOSED}),
    _S.CONFIGURE: frozenset({_S.PSYNC, _S.CLOSED}),
    _S.PSYNC: frozenset({_S.HEADER, _S.STREAM, _S.CLOSED}),
    _S.HEADER: frozenset({_S.SNAPSHOT, _S.CLOSED}),
    _S.SNAPSHOT: frozenset({_S.STREAM, _S.CLOSED}),
    _S.STREAM: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
}
_WAITING_FOR = {
    _S.PING: "the answer to PING",
    _S.CONFIGURE: "the answers to AUTH and REPLCONF",
    _S.PSYNC: "the answer to PSYNC",
    _S.HEADER: "the snapshot to begin",
    _S.SNAPSHOT: "the rest of the snapshot",
    _S.STREAM: "the stream",
}


class UpstreamProtocol:
    """One connection to a master, from PING to its end.

    Args:
        settings: How to present ourselves, and the time limits.
        resume: Where to go on by partial resync; None asks for a full sync.
        now: Seconds on any clock that never goes back; the same clock in every call.

    Raises:
        LocalProtocolError: `rdb_only` together with `resume`.
    """

    def __init__(self, settings: UpstreamSettings, *, resume: Position | None, now: float) -> None:
        if settings.rdb_only and resume is not None:
            raise LocalProtocolError("an rdb-only connection has nothing to resume")
        self.settings = settings
        self.resume = resume
        self.state = UpstreamState.PING
        self.received: Offset | None = None  # stream offset received; None before it is granted
        self.refused_options: dict[str, str] = {}  # REPLCONF option -> what the master said
        self.rdb_only_accepted = False
        self._replies = Replies(settings)
        self._questions = configuration(settings)
        self._pending: deque[str] = deque()  # answers still due, by name
        self._line = bytearray()  # handshake line so far, at most MAX_LINE_BYTES and one read
        self._transfer: RdbTransfer | None = None
        self._keepalive_bytes = 0  # of empty lines since PSYNC
        self._acks = Acks(now)
        self._received_at = now
        self._events: list[UpstreamEvent] = []
        self._out = bytearray(PING)

    @property
    def acked(self) -> Offset | None:
        """The last ACK sent."""
        return self._acks.sent

    @property
    def ack_awaited(self) -> bool:
        """A GETACK has not been answered in full yet: more is to be said when it is allowed."""
        return self._acks.asked

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take what the socket gave.

        Args:
            data: The bytes; the buffer may be reused at the next call, not before.
            now: The time.
        """
        view = memoryview(data)
        if view:
            self._received_at = now
        while view:
            view = view[self._receive(view, now) :]

    def stream_stored(self, data: memoryview, now: float) -> bool:
        """Take stream bytes that the shell has stored already: the short way of `receive_data`.

        Only in STREAM, and only with no event left to handle. There is no event for them.

        Args:
            data: The bytes.
            now: The time.

        Returns:
            Whether an ACK is due, or would be as soon as `set_acknowledged` allows it.
        """
        assert self.received is not None
        self._received_at = now
        self.received = Offset(self.received + len(data))
        self._acks.see(data, self.received)
        return self._acks.asked

    def receive_eof(self, now: float) -> None:
        """Take the end of the connection: a failure, except after an rdb-only transfer."""
        if self.state is UpstreamState.SNAPSHOT:
            self._settle(now)
        if self.state is UpstreamState.CLOSED:
            return
        if self._line_is_foreign():
            self._fail(self._foreign(bytes(self._line)))
            return
        text = "the master closed the connection"
        if self.state is not UpstreamState.STREAM:
            text += f" while we waited for {_WAITING_FOR[self.state]}"
        if self.state is UpstreamState.HEADER:
            text += "; its log says why it could not write one"
        self._fail(LinkFailed(FailureReason.EOF, text))

    def tick(self, now: float) -> None:
        """Let time pass: the periodic ACK and the time limits. Call it several times a second."""
        silence = now - self._received_at
        if self.state is UpstreamState.SNAPSHOT and silence >= SETTLE_SECONDS:
            self._settle(now)
        elif self.state is UpstreamState.STREAM:
            self._acks.tick(now)
        self._check_silence(silence)

    def set_acknowledged(self, received: Offset, durable: Offset | None) -> None:
        """Say what ACKs may claim from now on; before that, see `UpstreamSettings.claim_granted`.

        When this brings us nearer to what a GETACK asked for, an ACK is due at once: a `WAIT` or
        `WAITAOF` on the master then takes as long as our fsync or the replicas' answers, not up to
        a second more.

        Args:
            received: Highest offset an ACK may name.
            durable: Highest fsynced offset, sent as FACK; None sends none.
        """
        self._acks.allow(received, durable)

    def events_received(self) -> list[UpstreamEvent]:
        """Take the events since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Take the bytes to send.

        A due ACK is written here, so that it covers what the shell did with the events: handle the
        events first, then send.
        """
        if self.state is UpstreamState.STREAM:
            assert self.received is not None
            self._out += self._acks.take(self.received)
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _receive(self, view: memoryview, now: float) -> int:
        """Handle the bytes that belong to the current state; say how many they were."""
        if self.state is UpstreamState.STREAM:
            self._receive_stream(view)
        elif self.state is UpstreamState.SNAPSHOT:
            return self._receive_snapshot(view, now)
        elif self.state is not UpstreamState.CLOSED:
            return self._receive_line(view, now)
        return len(view)

    # -- the stream -------------------------------------------------------------------------------

    def _receive_stream(self, view: memoryview) -> None:
        assert self.received is not None
        self.received = Offset(self.received + len(view))
        self._events.append(StreamBytes(view))
        self._acks.see(view, self.received)

    # -- the snapshot -----------------------------------------------------------------------------

    def _receive_snapshot(self, view: memoryview, now: float) -> int:
        assert self._transfer is not None
        data, used = self._transfer.feed(view)
        self._snapshot_bytes(data, now)
        return used

    def _settle(self, now: float) -> None:
        assert self._transfer is not None
        self._snapshot_bytes(self._transfer.settle(), now)

    def _snapshot_bytes(self, data: memoryview, now: float) -> None:
        assert self._transfer is not None
        outcome = self._transfer.outcome
        if isinstance(outcome, LinkFailed):
            self._fail(outcome)
            return
        if len(data):
            self._events.append(SnapshotChunk(data))
        if isinstance(outcome, SnapshotReceived):
            self._events.append(outcome)
            self._acks.begin(now, eager=self._transfer.announced_bytes is None)
            self._transfer = None
            rdb_only = self.settings.rdb_only
            self._enter(UpstreamState.CLOSED if rdb_only else UpstreamState.STREAM)

    # -- the handshake ----------------------------------------------------------------------------

    def _receive_line(self, view: memoryview, now: float) -> int:
        # Looked at in pieces of a line's limit, so that a large read behind it is not copied.
        piece = bytes(view[: MAX_LINE_BYTES + 1])
        if self.state in (UpstreamState.PSYNC, UpstreamState.HEADER) and not self._line:
            newlines = _NEWLINES.match(piece)
            if newlines is not None:
                return self._keepalive(newlines.end())
        at = piece.find(b"\n")
        self._line += piece if at < 0 else piece[:at]
        if len(self._line) > MAX_LINE_BYTES:
            self._fail(self._foreign(bytes(self._line)))
        elif at >= 0:
            line = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            self._handle_line(line, now)
        return len(piece) if at < 0 else at + 1

    def _keepalive(self, size: int) -> int:
        """Take empty lines, sent while a BGSAVE is awaited (`replicationCron`); give `size`.

        A run of them comes in one step, and there is an end to them: they reset the time limit.
        """
        self._keepalive_bytes += size
        if self._keepalive_bytes > MAX_KEEPALIVE_BYTES:
            text = f"the master sent {MAX_KEEPALIVE_BYTES} bytes of empty lines and no answer"
            self._fail(LinkFailed(FailureReason.PROTOCOL, text))
        return size

    def _handle_line(self, line: bytes, now: float) -> None:
        if not line and self.state in (UpstreamState.PSYNC, UpstreamState.HEADER):
            self._keepalive(1)
        elif self.state is UpstreamState.PING:
            self._handle_pong(line)
        elif self.state is UpstreamState.CONFIGURE:
            self._handle_configured(line)
        elif self.state is UpstreamState.PSYNC:
            self._handle_psync(line, now)
        else:
            self._handle_header(line)

    def _handle_pong(self, line: bytes) -> None:
        failure = self._replies.ping(line)
        if failure is not None:
            self._fail(failure)
            return
        self._enter(UpstreamState.CONFIGURE)
        for question in self._questions:
            self._out += question.command
            self._pending.append(question.name)

    def _handle_configured(self, line: bytes) -> None:
        if not line.startswith((b"+", b"-")):
            self._fail(self._foreign(line))
            return
        name = self._pending.popleft()
        failure = None
        if name == "auth":
            failure = self._replies.auth(line)
        elif name == "capa":
            failure = self._replies.capa(line)
        elif name == "rdb-only":
            self.rdb_only_accepted = line.startswith(b"+")
        if failure is not None:
            self._fail(failure)
            return
        if line.startswith(b"-"):
            self.refused_options[name] = self._replies.text(line[1:])
        if not self._pending:
            # Only now: a master refuses PSYNC while it owes a reply (`syncCommand`).
            self._out += encode_command(b"PSYNC", *psync_arguments(self.resume))
            self._enter(UpstreamState.PSYNC)

    def _handle_psync(self, line: bytes, now: float) -> None:
        answer = self._replies.psync(line, self.resume)
        if isinstance(answer, LinkFailed):
            self._fail(answer)
            return
        self.received = answer.offset
        self._acks.grant(answer.offset if self.settings.claim_granted else Offset(0))
        self._events.append(answer)
        if isinstance(answer, FullResyncGranted):
            self._enter(UpstreamState.HEADER)
            return
        self._enter(UpstreamState.STREAM)
        self._acks.begin(now, eager=False)

    def _handle_header(self, line: bytes) -> None:
        header = self._replies.header(line)
        if not isinstance(header, TransferHeader):
            self._fail(header)
            return
        self._transfer = RdbTransfer(
            size_bytes=header.size_bytes,
            mark=header.mark,
            max_bytes=self.settings.max_snapshot_bytes,
        )
        if isinstance(self._transfer.outcome, LinkFailed):
            self._fail(self._transfer.outcome)
            return
        self._events.append(SnapshotStarted(header.size_bytes))
        self._enter(UpstreamState.SNAPSHOT)

    # -- state ------------------------------------------------------------------------------------

    def _enter(self, state: UpstreamState) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise LocalProtocolError(f"no way from {self.state} to {state}")
        self.state = state

    def _line_is_foreign(self) -> bool:
        return bool(self._line) and not self._line.startswith((b"+", b"-", b"$", b"\r"))

    def _foreign(self, line: bytes) -> LinkFailed:
        """Say that this is no Redis; what may be its answer to AUTH is not quoted."""
        return self._replies.not_redis(line, quoted="auth" not in self._pending)

    def _check_silence(self, silence: float) -> None:
        if self.state is UpstreamState.CLOSED:
            return
        in_transfer = self.state in (UpstreamState.HEADER, UpstreamState.SNAPSHOT)
        settings = self.settings
        limit = settings.transfer_timeout_seconds if in_transfer else settings.timeout_seconds
        if silence < limit:
            return
        if self._line_is_foreign():
            self._fail(self._foreign(bytes(self._line)))
            return
        waited = _WAITING_FOR[self.state]
        text = f"nothing came for {silence:.0f} seconds while we waited for {waited}"
        self._fail(LinkFailed(FailureReason.TIMEOUT, text))

    def _fail(self, failure: LinkFailed) -> None:
        self._events.append(failure)
        self._line.clear()
        self._transfer = None
        self._enter(UpstreamState.CLOSED)
