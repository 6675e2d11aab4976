"""The worker's end of the line to its relay: start, wake-ups and stop come in, reports go out.

Blocking, for one thread. When the line ends the relay is gone, and the worker is to commit and end:
it must never outlive its relay by more than that. A relay that reads nothing delays nobody: what
can't be sent at once is left out, and the next report says it all again.
"""

from __future__ import annotations

import select
import socket
import time

from repltap.delivery.messages import (
    WAIT,
    WANT_SNAPSHOT,
    Lines,
    MessageError,
    Start,
    report_line,
)
from repltap.delivery.report import WorkerReport
from repltap.errors import LocalProtocolError

_START_SECONDS = 30.0
_RECEIVE_BYTES = 64 << 10

_WISH_SECONDS = 1.0
"""A wish lasts for some seconds; to repeat it more often would only cost."""


class RelayBell:
    """A `Bell` whose rope is held by a relay.

    Args:
        line: The worker's end of the socket pair; closed by the caller.

    Attributes:
        said: The last report, sent or not.
    """

    def __init__(self, line: socket.socket) -> None:
        self.said: WorkerReport | None = None
        self._line = line
        self._line.setblocking(False)
        self._lines = Lines("do")
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self._unsent = b""  # the rest of a line that was sent in part
        self._wish_at = 0.0  # when the next wish is passed on
        self._waiting = False  # the relay knows that we wait
        self._grew = False
        self._stopping = False
        self._start: Start | None = None

    def start(self) -> Start:
        """Wait for the start message.

        Raises:
            LocalProtocolError: None came: whoever started this process was no relay.
        """
        until = time.monotonic() + _START_SECONDS
        while self._start is None:
            left = until - time.monotonic()
            if left <= 0 or self._stopping:
                raise LocalProtocolError("the relay sent no start message")
            self._poll.poll(left * 1000)
            self._receive()
        return self._start

    @property
    def stopping(self) -> bool:
        """Tell whether the worker is to commit and end."""
        self._receive()
        return self._stopping

    def wait(self, seconds: float) -> None:
        """Wait until the journal may have grown, or the worker is to stop; no longer than so."""
        self._receive()
        until = time.monotonic() + seconds
        if not self._waiting and not self._grew:
            self._waiting = self._send(WAIT)
        while not self._grew and not self._stopping:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._poll.poll(left * 1000)
            self._receive()
        self._grew = False

    def report(self, report: WorkerReport) -> None:
        """Tell how it is doing; never blocks, never raises."""
        self.said = report
        self._send(report_line(report))

    def want_snapshot(self) -> None:
        """Ask for a snapshot to be stored: none is, or none that the journal joins."""
        now = time.monotonic()
        if now >= self._wish_at and self._send(WANT_SNAPSHOT):
            self._wish_at = now + _WISH_SECONDS

    def _send(self, line: bytes) -> bool:
        """Send a line, or nothing of it; tells which."""
        try:
            if self._unsent:
                self._unsent = self._unsent[self._line.send(self._unsent) :]
                if self._unsent:
                    return False
            self._unsent = line[self._line.send(line) :]
        except BlockingIOError:
            return False
        except OSError:  # the relay is gone; reading tells
            self._stopping = True
            return False
        return True

    def _receive(self) -> None:
        """Take what has come, without waiting."""
        try:
            while data := self._line.recv(_RECEIVE_BYTES):
                for message in self._lines.receive(data):
                    self._take(message)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            pass
        self._stopping = True

    def _take(self, message: dict[str, object]) -> None:
        kind = message["do"]
        if kind == "grew":
            self._grew, self._waiting = True, False
        elif kind == "stop":
            self._stopping = True
        elif kind == "start":
            self._start = Start.from_fields(message)
