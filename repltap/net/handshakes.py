"""TLS handshakes of clients: bounded in number and time, and off the event loop.

A handshake costs a signature, up to some milliseconds of CPU. All are made by one thread, one step
after the other, so that a flood of them takes at most one core and never the event loop's turn
(OpenSSL works without Python's lock). Who is half-way there costs some ten kilobytes; when there
are too many the oldest goes, so that connections that say nothing can't keep others out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from repltap.addresses import host_port
from repltap.errors import ConfigError
from repltap.reasons import os_reason
from repltap.tls import ServerTls
from repltap.tls_faults import reason_of, words

log = logging.getLogger("repltap.downstream")

MAX_HALF_OPEN = 128
"""With an RSA key of 4096 bits 128 handshakes take a core for less than a second: who is served
last is still far from its own time limit."""

ACCEPTS_A_TURN = 8
"""What OpenSSL allocates for one takes a tenth of a millisecond or two."""

HANDSHAKE_SECONDS = 10.0
"""Three round trips to the other side of the world, with losses, and a queue before them."""

_DONE = 0
_QUIET_SECONDS = 60.0
"""The same failure is logged once in so long, with how many more there were: a scanner or a client
with a wrong CA comes again and again."""

_STRANGERS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE"}


@dataclass(slots=True, eq=False)
class _HalfOpen:
    sock: ssl.SSLSocket
    peer: str
    since: float
    working: bool = False  # a step is queued or under way: the thread has the socket
    doomed: str = ""  # why it is closed when the thread gives it back


class Handshakes:
    """Those that are under way on one address.

    Args:
        tls: Certificate, and who may connect.
        on_secured: Takes a socket whose handshake is complete.
        limit: How many at once.

    Attributes:
        failed: How many have failed, for whatever reason.
    """

    def __init__(
        self,
        tls: ServerTls,
        on_secured: Callable[[socket.socket], None],
        limit: int = MAX_HALF_OPEN,
    ) -> None:
        self._tls = tls
        self._on_secured = on_secured
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tls-handshake")
        self._half_open: dict[_HalfOpen, None] = {}  # in the order of coming
        self._logged: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()
        self._closed = False
        self.failed = 0

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._half_open)

    def begin(self, sock: socket.socket) -> None:
        """Shake hands with who has just connected; `on_secured` or nobody gets the socket."""
        if len(self._half_open) >= self._limit:
            self.drop_oldest()
        try:
            peer = host_port(*sock.getpeername()[:2])
            secured = self._tls.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except (OSError, ConfigError):
            sock.close()  # gone before we looked at it
            return
        one = _HalfOpen(secured, peer, self._loop.time())
        self._half_open[one] = None
        self._loop.add_reader(secured.fileno(), self._ready, one)

    def drop_oldest(self) -> bool:
        """Make room for another connection; False when there is none half-way."""
        oldest = next((one for one in self._half_open if not one.doomed), None)
        if oldest is not None:
            self._drop(oldest, "too many handshakes at once, and it was the slowest")
        return oldest is not None

    def tick(self) -> None:
        """Drop those that take too long; about once a second."""
        now = self._loop.time()
        for one in list(self._half_open):
            if now - one.since < HANDSHAKE_SECONDS:
                break
            self._drop(one, f"not complete after {HANDSHAKE_SECONDS:g} s")

    def close(self) -> None:
        """Drop all, and end the thread."""
        self._closed = True
        for one in list(self._half_open):
            self._drop(one, "")
        self._pool.shutdown(wait=False)

    # -- inside ----------------------------------------------------------------------------------

    def _ready(self, one: _HalfOpen) -> None:
        """The socket is ready for the next step."""
        self._unwatch(one)
        one.working = True
        step = self._loop.run_in_executor(self._pool, _step, one.sock)
        step.add_done_callback(lambda done: self._stepped(one, done))

    def _stepped(self, one: _HalfOpen, done: asyncio.Future[int]) -> None:
        one.working = False
        # Looked at in any case: asyncio complains of failures that nobody has seen.
        failure = None if done.cancelled() else done.exception()
        if done.cancelled() or one.doomed or self._closed:
            self._discard(one, one.doomed)
            return
        fd = one.sock.fileno()
        if failure is not None:
            self._discard(one, _reason(failure))
        elif done.result() == ssl.SSL_ERROR_WANT_READ:
            self._loop.add_reader(fd, self._ready, one)
        elif done.result() == ssl.SSL_ERROR_WANT_WRITE:
            self._loop.add_writer(fd, self._ready, one)
        else:
            del self._half_open[one]
            self._on_secured(one.sock)

    def _drop(self, one: _HalfOpen, why: str) -> None:
        if one.working:
            one.doomed = why or "closing"
            return
        self._unwatch(one)
        self._discard(one, why)

    def _unwatch(self, one: _HalfOpen) -> None:
        fd = one.sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def _discard(self, one: _HalfOpen, why: str) -> None:
        if one not in self._half_open:
            return
        del self._half_open[one]
        one.sock.close()
        if self._closed:
            return
        self.failed += 1
        now = self._loop.time()
        if now - self._logged.get(why, float("-inf")) < _QUIET_SECONDS:
            self._unlogged[why] += 1
            return
        more = self._unlogged.pop(why, 0)
        if len(self._logged) >= _MAX_REASONS:
            self._logged.clear()
        self._logged[why] = now
        and_more = f" ({more} more like it in the last minute)" if more else ""
        log.info("TLS handshake with %s failed: %s%s", one.peer, why, and_more)


_MAX_REASONS = 64  # OpenSSL has some hundred texts; a peer chooses among a few of them


def _step(sock: ssl.SSLSocket) -> int:
    """Go as far as the handshake can go now; runs in the thread."""
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return ssl.SSL_ERROR_WANT_READ
    except ssl.SSLWantWriteError:
        return ssl.SSL_ERROR_WANT_WRITE
    return _DONE


def _reason(failure: BaseException) -> str:
    """Say why, for whoever looks after the clients."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused: {failure.verify_message} "
            "(see tls_ca_cert_file and tls_auth_clients)"
        )
    if isinstance(failure, ssl.SSLError):
        reason = reason_of(failure)
        if reason in _STRANGERS:
            return "it does not speak TLS: this port is for TLS alone"
        if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return "it has shown no certificate, and tls_auth_clients is yes"
        if "ALERT" in reason:
            return f"it refuses us: {words(reason)} (does it have our CA, is the name right?)"
        return words(reason) if reason else "it closed the connection"
    if isinstance(failure, OSError):
        return f"connection lost: {os_reason(failure)}"
    return "internal error"
