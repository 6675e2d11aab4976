"""The connection to the target: bytes out, replies in, each with a limit of time.

It never blocks in a system call, so that replies are read while a lot is sent (a proxy between may
not hold them all), and that a stop is noticed. A connection that fails is of no more use.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import hiredis

from repltap.sink import ClientTls, ReplTapError, SinkError, SinkErrorKind
from sinks._redis.url import Address

_READ_BYTES = 1 << 16
_WRITE_BYTES = 1 << 16
_NOTHING_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_SLICE_SECONDS = 0.25  # how late a stop is noticed
_STOP_SECONDS = 5.0
"""How long a reply is waited for once the sink is to stop: a commit that is under way gets its
chance, and what becomes of it is in the target either way."""
_MAX_HEAD_BYTES = 64 << 10  # of the first line of a reply; errors are the longest

Reply = object


def pack(words: Sequence[bytes]) -> bytes:
    """Encode a command."""
    # The type stub of hiredis says "a tuple of one".
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return packed


class Connection:
    """One connection.

    Args:
        address: The target.
        tls: How it is connected to by TLS, None without. Its files are read each time.
        connect_seconds: How long connecting may take.
        reply_seconds: How long nothing may move where something is waited for.
        stopping: Tells whether the sink is to stop.

    Raises:
        SinkError: AWAY: it can't be reached, is gone, or says nothing (each method).
    """

    def __init__(
        self,
        address: Address,
        *,
        tls: ClientTls | None = None,
        connect_seconds: float,
        reply_seconds: float,
        stopping: Callable[[], bool],
    ) -> None:
        self.address = address
        self._reply_seconds = reply_seconds
        self._stopping = stopping
        self._reader = hiredis.Reader()
        self._head = b""  # of a reply to EXEC, before its elements are for the reader
        self._tls = tls
        self._socket: socket.socket
        try:
            self._socket = socket.create_connection((address.host, address.port), connect_seconds)
        except OSError as exc:
            raise SinkError(
                f"{address} can't be reached: {_reason(exc)}", kind=SinkErrorKind.AWAY
            ) from exc
        if tls is not None:
            self._shake_hands(tls)
        self._socket.setblocking(False)
        with suppress(OSError):  # it is gone already: the first call says so
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def is_gone(self) -> bool:
        """Tell whether the target has closed it, or said what nobody asked for."""
        try:
            # With TLS there is no peeking; a byte that nobody asked for is as bad as the end.
            self._socket.recv(1, 0 if self._tls else socket.MSG_PEEK)
        except _NOTHING_NOW:
            return False
        except OSError:
            pass
        return True

    def send(self, data: bytes) -> None:
        """Send bytes; replies that come meanwhile are kept for `reply`."""
        view = memoryview(data)
        deadline = _Deadline(self._reply_seconds, self._stopping)
        while view:
            try:
                # OpenSSL wants the same piece again until it has gone as a whole.
                sent = self._socket.send(view[:_WRITE_BYTES] if self._tls else view)
            except _NOTHING_NOW:
                self._wait(deadline, select.POLLIN | select.POLLOUT)
                continue
            except OSError as exc:
                raise self._lost(exc) from exc
            view = view[sent:]
            deadline.renew()

    def call(self, *words: bytes) -> Reply:
        """Send a command and wait for its reply; an error is returned."""
        self.send(pack(words))
        return self.reply()

    def reply(self) -> Reply:
        """Wait for the next reply."""
        return self.replies(1)[0]

    def replies(self, most: int, *, wait: bool = True) -> list[Reply]:
        """Return replies that have come.

        Args:
            most: No more than these; how many there are is up to what one read gave.
            wait: For the first of them; else there may be none.
        """
        found = self._ready(most)
        if found:
            return found
        if self._receive():
            found = self._ready(most)
        deadline = _Deadline(self._reply_seconds, self._stopping)
        while wait and not found:
            if self._receive():
                deadline.renew()
                found = self._ready(most)
            else:
                self._wait(deadline, select.POLLIN)
        return found

    def array_head(self) -> int | hiredis.ReplyError | None:
        """Read how many elements the next reply has; `reply` gives them one by one.

        An array that is read as a whole would take as much memory as all its elements. Nothing
        else may be expected: every reply before it has been read.

        Returns:
            Their number, None for a null, or the error that came instead.
        """
        deadline = _Deadline(self._reply_seconds, self._stopping)
        while b"\r\n" not in self._head:
            if len(self._head) > _MAX_HEAD_BYTES:
                raise self._away("its reply to EXEC has no end")
            if data := self._read():
                self._head += data
                deadline.renew()
            else:
                self._wait(deadline, select.POLLIN)
        line, _, rest = self._head.partition(b"\r\n")
        self._head = b""
        if rest:
            self._reader.feed(rest)
        if line.startswith(b"-"):
            return hiredis.ReplyError(line[1:].decode("utf-8", "replace"))
        if not line.startswith(b"*"):
            raise self._away("it answers EXEC with something else than an array")
        count = int(line[1:])
        return None if count < 0 else count

    def _ready(self, most: int) -> list[Reply]:
        found: list[Reply] = []
        gets = self._reader.gets
        try:
            while len(found) < most:
                reply = gets()
                if reply is False:  # RESP2 has no booleans
                    break
                found.append(reply)
        except hiredis.ProtocolError as exc:
            raise self._away(f"it does not speak Redis's protocol: {exc}") from exc
        return found

    def _receive(self) -> bool:
        data = self._read()
        if data:
            self._reader.feed(data)
        return bool(data)

    def _read(self) -> bytes:
        """Read what is there, b"" for nothing."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except _NOTHING_NOW:
            return b""
        except OSError as exc:
            raise self._lost(exc) from exc
        if not data:
            raise self._away("it closed the connection")
        return data

    def _wait(self, deadline: _Deadline, events: int) -> None:
        """Wait until something can be done; what comes in while there is more to send is taken."""
        self._poll.modify(self._socket, events)
        ready = self._poll.poll(deadline.slice_seconds() * 1000)
        if not ready and deadline.is_over():
            raise self._away(f"nothing has moved for {deadline.seconds:g} s")
        if ready and events & select.POLLOUT and ready[0][1] & ~select.POLLOUT:
            self._receive()

    def _shake_hands(self, tls: ClientTls) -> None:
        """Go on with TLS; takes as long as connecting may."""
        host = self.address.host
        try:
            tls.read(tls.config)()
            self._socket = tls.context.wrap_socket(self._socket, server_hostname=tls.name(host))
        except OSError as exc:
            raise self._lost(exc) from exc
        except ReplTapError as exc:  # a file can't be used
            self.close()
            raise SinkError(exc.message, hint=exc.hint, kind=SinkErrorKind.REFUSED) from exc

    def _lost(self, failure: OSError) -> SinkError:
        if self._tls is None or not isinstance(failure, ssl.SSLError):
            silent = isinstance(failure, TimeoutError) and self._tls is not None
            said = "does it speak TLS there? it says nothing" if silent else _reason(failure)
            return self._away(f"the connection is lost: {said}")
        # In TLS 1.3 the first read tells that our certificate is refused.
        fault = self._tls.fault(failure, "the target", self.address.host)
        return self._away(fault.message, fault.hint)

    def _away(self, what: str, hint: str = "") -> SinkError:
        with suppress(OSError):
            self.close()
        return SinkError(f"{self.address}: {what}", hint=hint, kind=SinkErrorKind.AWAY)


class _Deadline:
    """How long nothing may move; shorter once the sink is to stop."""

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self.seconds = seconds
        self._stopping = stopping
        self._at = time.monotonic() + seconds
        self._is_short = False

    def renew(self) -> None:
        if not self._is_short:
            self._at = time.monotonic() + self.seconds

    def slice_seconds(self) -> float:
        if not self._is_short and self._stopping():
            self._is_short = True
            self.seconds = min(self.seconds, _STOP_SECONDS)
            self._at = min(self._at, time.monotonic() + self.seconds)
        return max(0.0, min(_SLICE_SECONDS, self._at - time.monotonic()))

    def is_over(self) -> bool:
        return time.monotonic() >= self._at


def _reason(failure: OSError) -> str:
    """Say why a call failed, without the number that str() puts before it."""
    return failure.strerror or str(failure)
