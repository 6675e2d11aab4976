"""What a `Connection` reads from and writes to: a socket, with TLS or without.

Nothing here waits. What can't be done now raises `BlockingIOError`, with TLS too; any other failure
is an `OSError` whose text an operator can read.

With TLS, bytes of a file are read and encrypted in pieces: the kernel can't do it here. OpenSSL
wants a piece that it could not send given again unchanged, so one piece is kept, and counts as
sent: as what is in a socket's buffer does without TLS.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Protocol

from repltap.tls_faults import reason_of, words

PIECE_BYTES = 64 << 10
"""Four TLS records: large enough that what Python does for each call does not show beside the
encryption (measured: 16 KiB costs a fifth more), small enough for a thousand slow replicas."""


class Channel(Protocol):
    """A non-blocking stream of bytes."""

    @property
    def unsent_bytes(self) -> int:
        """Accepted, and not with the kernel yet."""

    @property
    def has_input(self) -> bool:
        """Bytes can be received although the socket is not readable."""

    @property
    def needs_room(self) -> bool:
        """Receiving could not go on before something is sent."""

    def receive_into(self, buffer: memoryview) -> int:
        """Receive; 0 is the end.

        Raises:
            BlockingIOError: There is nothing now.
            OSError: The connection failed.
        """

    def flush(self) -> None:
        """Pass on what was accepted.

        Raises:
            BlockingIOError: The socket takes no more now.
            OSError: The connection failed.
        """

    def send(self, data: bytes | bytearray) -> int:
        """Send from the beginning of `data`; tells how many bytes were accepted.

        Raises: As `flush`.
        """

    def send_file(self, file: int, offset: int, count: int) -> int:
        """Send from an open file; tells how many bytes were accepted, 0 at its end.

        Raises: As `flush`.
        """

    def close(self) -> None:
        """Close it, with a word to the peer where the protocol has one."""


class PlainChannel:
    """A socket. Files are sent by the kernel."""

    unsent_bytes = 0
    has_input = False
    needs_room = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()

    def receive_into(self, buffer: memoryview) -> int:
        """Receive."""
        return self._sock.recv_into(buffer)

    def flush(self) -> None:
        """Nothing is kept here."""

    def send(self, data: bytes | bytearray) -> int:
        """Send."""
        return self._sock.send(data)

    def send_file(self, file: int, offset: int, count: int) -> int:
        """Send from a file."""
        return os.sendfile(self._fd, file, offset, count)

    def close(self) -> None:
        """Close it."""
        self._sock.close()


class TlsChannel:
    """A socket with TLS, after the handshake."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._unsent = b""
        self.needs_room = False

    @property
    def unsent_bytes(self) -> int:
        """At most `PIECE_BYTES`."""
        return len(self._unsent)

    @property
    def has_input(self) -> bool:
        """The rest of a record that was larger than the buffer."""
        return self._sock.pending() > 0

    def receive_into(self, buffer: memoryview) -> int:
        """Receive, a record at most."""
        self.needs_room = False
        try:
            return self._sock.recv_into(buffer)
        except ssl.SSLWantReadError as nothing:
            raise BlockingIOError from nothing
        except ssl.SSLWantWriteError as full:  # the answer to a KeyUpdate (RFC 8446, 4.6.3)
            self.needs_room = True
            raise BlockingIOError from full
        except ssl.SSLError as failure:
            raise _told(failure) from failure

    def flush(self) -> None:
        """Give OpenSSL again what it could not send."""
        if self._unsent:
            self._unsent = self._unsent[self._give(self._unsent) :]
            if self._unsent:
                raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """Send a piece."""
        self.flush()
        return self._accept(bytes(data[:PIECE_BYTES]))

    def send_file(self, file: int, offset: int, count: int) -> int:
        """Read a piece of a file, which is in memory as a rule, and send it."""
        self.flush()
        piece = os.pread(file, min(count, PIECE_BYTES), offset)
        return self._accept(piece) if piece else 0

    def close(self) -> None:
        """Say that it is the end and not a cut, where that can be said, and close it."""
        try:
            if not self._unsent:
                self._sock.unwrap()  # sends; what it would wait for does not matter any more
        except (OSError, ValueError):
            pass  # it is gone, or asks to be waited for
        self._sock.close()

    def _accept(self, piece: bytes) -> int:
        try:
            return self._give(piece)
        except BlockingIOError:
            self._unsent = piece
            return len(piece)

    def _give(self, piece: bytes) -> int:
        try:
            return self._sock.send(piece)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError) as full:
            raise BlockingIOError from full
        except ssl.SSLError as failure:
            raise _told(failure) from failure


def channel_of(sock: socket.socket) -> PlainChannel | TlsChannel:
    """Make the channel of a socket; one with TLS has shaken hands."""
    return TlsChannel(sock) if isinstance(sock, ssl.SSLSocket) else PlainChannel(sock)


def _told(failure: ssl.SSLError) -> OSError:
    """Give an OSError without a number: an SSLError's is none of the system's."""
    return OSError(f"TLS: {words(reason_of(failure) or 'connection broken')}")
