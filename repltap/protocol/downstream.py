"""Our side of a connection to a replica, or to any other client: a master, over bytes and time.

One object for each connection. It parses commands, answers REPLCONF, counts ACKs and writes the
lines around a sync; everything else it hands to the shell, one command at a time so that replies
keep their order. RDB and stream bytes never pass through it: the shell sends those itself, after
what `data_to_send` gave. It must never answer `+CONTINUE` to a replica that holds nothing (it
crashes real replicas), never send a newline into a body or a live stream (it shifts the replica's
offset for good), and never reply to a connection that is already a replica (fact sheet 10).

    CLIENT ─▶ WAITING ─▶ TRANSFER ─▶ STREAM      refuse: WAITING ─▶ CLIENT
                 └──────────────────▲            any ─▶ CLOSED
"""

from __future__ import annotations

import enum

from repltap.endings import DisconnectReason
from repltap.errors import LocalProtocolError, RemoteProtocolError
from repltap.position import Offset, ReplId
from repltap.protocol.events import (
    AckReceived,
    CommandReceived,
    DownstreamEvent,
    FailoverRefused,
    PeerFailed,
    SyncRequested,
)
from repltap.protocol.psync import PsyncRequest, parse_psync
from repltap.protocol.replconf import ReplicaInfo, answer_replconf, parse_acknowledgement
from repltap.protocol.resp import Command, InputLimits, RespParser
from repltap.protocol.transfer import MARK_BYTES

__all__ = ["DownstreamProtocol", "InputLimits", "ReplicaInfo", "Role"]

NEWLINE_PERIOD_SECONDS = 1.0
"""A master's cron (`replicationCron`); a waiting replica gives up after its repl-timeout."""

MAX_PENDING_EVENTS = 64
"""Events given out at once; a flood of ACKs in one read is handled in portions."""


class Role(enum.Enum):
    """What the peer is to us."""

    CLIENT = "client"
    WAITING = "waiting"
    TRANSFER = "transfer"
    STREAM = "stream"
    CLOSED = "closed"


_TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.CLIENT: frozenset({Role.WAITING, Role.CLOSED}),
    Role.WAITING: frozenset({Role.CLIENT, Role.TRANSFER, Role.STREAM, Role.CLOSED}),
    Role.TRANSFER: frozenset({Role.STREAM, Role.CLOSED}),
    Role.STREAM: frozenset({Role.CLOSED}),
    Role.CLOSED: frozenset(),
}


class DownstreamProtocol:
    """One connection that was accepted.

    Args:
        now: Seconds on any clock that never goes back; the same clock in every call.
        limits: How much the peer may send.
        timeout_seconds: `repl-timeout`: silence of a streaming replica, or within a command.
    """

    def __init__(self, *, now: float, limits: InputLimits, timeout_seconds: float = 60.0) -> None:
        self.role = Role.CLIENT
        self.replica = ReplicaInfo()
        self.request: PsyncRequest | None = None  # the last PSYNC or SYNC
        self.stream_open = False  # stream bytes may be sent; after `$EOF:` only from an ACK on
        self.timeout_seconds = timeout_seconds
        self.forbidden_to: str | None = None  # the user's name, if it may not replicate
        self.in_transaction = False  # the shell sets it: all commands are its own then
        self._parser = RespParser(limits)
        self._half_since: float | None = None  # when half a command began; None for none
        self._streaming_since = now
        self._unanswered = False  # a CommandReceived is out and has no reply yet
        self._input_left = False  # the buffer may hold a whole command
        self._newline_at: float | None = None  # when the next newline is due; None for none
        self._mark: bytes | None = None
        self._body_begun = False
        self._now = now
        self._events: list[DownstreamEvent] = []
        self._out = bytearray()

    @property
    def authenticated(self) -> bool:
        """Whether replication commands are allowed; the shell sets it. True until told."""
        return self._parser.authenticated

    @authenticated.setter
    def authenticated(self, value: bool) -> None:
        self._parser.authenticated = value

    @property
    def has_pending_input(self) -> bool:
        """Unparsed input that `events_received` would go on with: don't read more until it did."""
        return self._input_left and self.role is not Role.CLOSED

    @property
    def buffered_bytes(self) -> int:
        """Input that has not been parsed yet."""
        return self._parser.buffered_bytes

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take what the socket gave; `events_received` parses it."""
        self._now = now
        if self.role is Role.CLOSED or not data:
            return
        self._parser.feed(data)
        self._input_left = True

    def receive_eof(self, now: float) -> None:
        """Take the end of the connection; an event only if the peer was a replica."""
        self._now = now
        if self.role is Role.CLIENT:
            self._enter(Role.CLOSED)
        elif self.role is not Role.CLOSED:
            self._fail("the replica closed the connection", DisconnectReason.CLOSED)

    def tick(self, now: float) -> None:
        """Let time pass: newlines for those who wait, and the time limits."""
        self._now = now
        if self._newline_at is not None and now >= self._newline_at:
            self._out += b"\n"
            self._newline_at = now + NEWLINE_PERIOD_SECONDS
        self._check_silence(now)

    def events_received(self) -> list[DownstreamEvent]:
        """Parse, and take the events.

        A CommandReceived is the last event of a call, and the calls after it give nothing until it
        was answered by `send`. So: handle, answer, and call again until the list is empty. After a
        PeerFailed nothing can be answered, so there is nothing with it that wants an answer.
        """
        while self._may_parse():
            try:
                command = self._parser.next_command()
            except RemoteProtocolError as exc:
                self._refuse_input(exc)
                break
            if command is None:
                self._input_left = False
                if self._parser.buffered_bytes and self._half_since is None:
                    self._half_since = self._now
                break
            self._half_since = None
            self._handle(command)
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Take the bytes to send; they go out before any RDB or stream bytes that follow."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    # -- answers of the shell ---------------------------------------------------------------------

    def send(self, reply: bytes) -> None:
        """Answer the CommandReceived that is out; empty when it has no reply."""
        self._unanswered = False
        self.push(reply)

    def push(self, data: bytes) -> None:
        """Send what is no answer, such as a message to a subscriber."""
        if self.role not in (Role.CLIENT, Role.CLOSED):
            raise LocalProtocolError("a reply to a replica would end up in its stream")
        self._out += data

    def hold(self) -> None:
        """Keep the replica waiting: a newline now and one each second until it is granted."""
        self._require(Role.WAITING)
        self._out += b"\n"
        self._newline_at = self._now + NEWLINE_PERIOD_SECONDS

    def refuse(self, line: bytes) -> None:
        """Answer the request with an error line, without its line end."""
        self._require(Role.WAITING)
        self._newline_at = None
        self._out += line + b"\r\n"
        self._enter(Role.CLIENT)
        self._input_left = self._parser.buffered_bytes > 0

    def grant_continue(self, replid: ReplId) -> None:
        """Grant a partial resync; stream bytes from the requested offset on come next.

        Raises:
            LocalProtocolError: The replica holds nothing: real ones crash on this answer.
        """
        self._require(Role.WAITING)
        if self.request is None or self.request.position is None:
            raise LocalProtocolError("CONTINUE to a replica that holds nothing")
        self._newline_at = None
        named = "psync2" in self.replica.capabilities
        self._out += b"+CONTINUE %b\r\n" % replid.encode() if named else b"+CONTINUE\r\n"
        self._stream(is_open=True)

    def grant_full(self, replid: ReplId, offset: Offset) -> None:
        """Grant a full sync from a snapshot at `offset`; newlines each second until it begins."""
        self._require(Role.WAITING)
        if not self.replica.legacy_sync:
            self._out += b"+FULLRESYNC %b %d\r\n" % (replid.encode(), offset)
        self._newline_at = self._now + NEWLINE_PERIOD_SECONDS
        self._enter(Role.TRANSFER)

    def begin_transfer(self, size: int | None, mark: bytes | None) -> None:
        """Send the RDB's header; its bytes come next.

        Args:
            size: Its length in bytes.
            mark: Forty bytes that end it when the length is not known.

        Raises:
            LocalProtocolError: Both or none given, a mark of another length, or a mark to a
                replica that did not announce `eof`.
        """
        self._require(Role.TRANSFER)
        if self._body_begun or (size is None) == (mark is None):
            raise LocalProtocolError("an RDB begins once, with a length or a mark")
        if mark is not None:
            if len(mark) != MARK_BYTES or "eof" not in self.replica.capabilities:
                raise LocalProtocolError("this replica can't take an end mark")
            self._out += b"$EOF:%b\r\n" % mark
        elif size is not None:
            self._out += b"$%d\r\n" % size
        self._mark = mark
        self._body_begun = True
        self._newline_at = None

    def transfer_complete(self, now: float) -> None:
        """Say that all RDB bytes are sent: `data_to_send` has the mark, then comes the stream.

        After `$EOF:` wait for `stream_open`: a loader that reads stream bytes in one go with the
        mark misses the mark (fact sheet 2.5). An rdb-only replica is CLOSED instead: flush, close.
        """
        self._require(Role.TRANSFER)
        if not self._body_begun:
            raise LocalProtocolError("no transfer has begun")
        self._now = now
        if self._mark is not None:
            self._out += self._mark
        if self.replica.rdb_only:
            self._enter(Role.CLOSED)
        else:
            self._stream(is_open=self._mark is None)

    # -- commands ---------------------------------------------------------------------------------

    def _may_parse(self) -> bool:
        return (
            self._input_left
            and not self._unanswered
            and self.role is not Role.CLOSED
            and len(self._events) < MAX_PENDING_EVENTS
        )

    def _handle(self, command: Command) -> None:
        if self.role is not Role.CLIENT:
            self._handle_of_replica(command)
            return
        if not command.args:
            return
        name = command.args[0].lower()
        if name in (b"post", b"host:"):
            # A browser tricked into speaking to us (Redis `securityWarningCommand`).
            self._fail("an HTTP request came to the Redis port")
        elif self.in_transaction or name not in (b"psync", b"sync", b"replconf"):
            self._unanswered = True
            self._events.append(CommandReceived(command.args))
        elif not self.authenticated:
            self._out += b"-NOAUTH Authentication required.\r\n"
        elif self.forbidden_to is not None:
            # As Redis 7 (`getAclErrorMessage`); a real replica logs it and tries again.
            text = f"-NOPERM User {self.forbidden_to} has no permissions to run the "
            self._out += b"%b'%b' command\r\n" % (text.encode(), name)
        elif name == b"replconf":
            self._out += answer_replconf(self.replica, command.args)
        else:
            self._handle_sync(command.args, legacy=name == b"sync")

    def _handle_sync(self, args: list[bytes], *, legacy: bool) -> None:
        try:
            if legacy and len(args) != 1:
                raise RemoteProtocolError("ERR wrong number of arguments for 'sync' command")
            request = PsyncRequest(None) if legacy else parse_psync(args)
            if request.failover:
                self._events.append(FailoverRefused())
                raise RemoteProtocolError("ERR PSYNC FAILOVER can't be sent to a master.")
            if self.replica.filter is not None and "eof" not in self.replica.capabilities:
                raise RemoteProtocolError("ERR Filtered replica requires EOF capability")
        except RemoteProtocolError as exc:
            self._out += b"-%b\r\n" % exc.message.encode()
            return
        self.request = request
        self.replica.legacy_sync = legacy
        self._enter(Role.WAITING)
        self._events.append(SyncRequested(request, legacy))

    def _handle_of_replica(self, command: Command) -> None:
        if not command.args:
            if command.inline:
                self.replica.last_ack_at = self._now  # alive (`processInlineBuffer`)
            return
        name = command.args[0].lower()
        if name in (b"psync", b"sync"):
            return  # ignored on a connection that is a replica (`syncCommand`)
        if name == b"replconf":
            ack = parse_acknowledgement(command.args)
            if ack is not None:
                self.replica.last_ack_at = self._now
                if ack.offset is not None:
                    self._acknowledge(ack.offset, ack.durable)
                return
            if len(command.args) > 1 and command.args[1].lower() in (b"ack", b"getack"):
                return
        # Redis >= 7.0 closes a replica that makes it reply (`prepareClientToWrite`).
        self._fail(f"the replica sent {_printable(command.args[0])} instead of an ACK")

    def _acknowledge(self, offset: Offset, durable: Offset | None) -> None:
        replica = self.replica
        if replica.acked is None or offset > replica.acked:
            replica.acked = offset
        if durable is not None and (replica.durable is None or durable > replica.durable):
            replica.durable = durable
        if self.role is Role.STREAM:
            self.stream_open = True
        self._events.append(AckReceived(replica.acked, replica.durable))

    def _refuse_input(self, exc: RemoteProtocolError) -> None:
        if self.role is Role.CLIENT:
            self._out += b"-%b\r\n" % exc.message.encode()
        self._fail(f"the peer broke the protocol: {exc.message}")

    # -- state and time ---------------------------------------------------------------------------

    def _check_silence(self, now: float) -> None:
        if self.role is Role.CLOSED:
            return
        limit = self.timeout_seconds
        # From its first byte: one more byte each minute would else keep it here for years.
        since = None if self._input_left else self._half_since
        if since is not None and now - since >= limit:
            self._fail(f"half a command, and not its end within {limit:g} seconds")
        elif self.role is Role.STREAM and not self.replica.legacy_sync:
            # Not while it waits or is sent an RDB: real replicas are silent then.
            heard = self.replica.last_ack_at
            begun = self._streaming_since
            if now - (begun if heard is None else max(begun, heard)) >= limit:
                self._fail(
                    f"the replica sent no ACK for {limit:g} seconds", DisconnectReason.ACK_TIMEOUT
                )

    def _stream(self, *, is_open: bool) -> None:
        self._enter(Role.STREAM)
        self.stream_open = is_open
        self._streaming_since = self._now

    def _require(self, role: Role) -> None:
        if self.role is not role:
            raise LocalProtocolError(f"only for a {role.value} connection, not {self.role.value}")

    def _enter(self, role: Role) -> None:
        if role not in _TRANSITIONS[self.role]:
            raise LocalProtocolError(f"no way from {self.role} to {role}")
        self.role = role
        if role is Role.CLOSED:
            self._newline_at = None

    def _fail(
        self, message: str, reason: DisconnectReason = DisconnectReason.PROTOCOL_ERROR
    ) -> None:
        # What else came in the same read is void: a grant to who is CLOSED would be our error.
        self._events = [e for e in self._events if isinstance(e, FailoverRefused)]
        self._events.append(PeerFailed(message, reason))
        self._enter(Role.CLOSED)


def _printable(raw: bytes) -> str:
    text = raw[:40].decode("utf-8", "backslashreplace")
    return repr("".join(c if c.isprintable() else "?" for c in text))
