"""The process behind MONITOR, as a relay starts it: `python -m repltap.delivery.monitor.worker FD`.

One for all clients that monitor. It only reads the store, so that it costs the master nothing, and
the relay what copying its output costs. It ends with the line to the relay.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from repltap import logs
from repltap.config import LogConfig
from repltap.delivery.commands import builtin_table
from repltap.delivery.messages import Lines, MessageError
from repltap.delivery.monitor.display import Display
from repltap.delivery.monitor.journey import FellBehindError, MonitorJourney
from repltap.delivery.monitor.messages import Place
from repltap.delivery.worker import yield_to_others
from repltap.errors import LocalProtocolError, ReplTapError

_LOOK_SECONDS = 0.05
"""How often the index of a busy journal grows."""

_START_SECONDS = 30.0
_RECEIVE_BYTES = 64 << 10

_SECRETS = frozenset((b"AUTH", b"HELLO", b"MIGRATE"))
"""Commands that have passwords among their arguments. No master replicates them: of MIGRATE it
sends the DEL (Redis `migrateCommand`)."""

_FELL_BEHIND = (
    "fell behind: the journal does not hold what was to be shown next; MONITOR shows what follows"
)


class Orders:
    """The process's end of the line.

    Args:
        line: The socket; closed by the caller.

    Attributes:
        start: What the relay has said first.
        ended: The relay is gone, or wants nothing more.
    """

    def __init__(self, line: socket.socket) -> None:
        self.start: dict[str, Any] = {}
        self.ended = False
        self._line = line
        self._lines = Lines("do")
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self.display: Display | None = None

    def wait_for_start(self) -> None:
        """Wait for the start message.

        Raises:
            LocalProtocolError: None came: whoever started this process was no relay.
        """
        until = time.monotonic() + _START_SECONDS
        while not self.start:
            self.wait(until - time.monotonic())
            if self.ended or time.monotonic() >= until:
                raise LocalProtocolError("the relay sent no start message")

    def wait(self, seconds: float) -> None:
        """Wait until the relay says something, no longer than so, and take it."""
        self._poll.poll(max(0.0, seconds) * 1000)
        self.take()

    def take(self) -> None:
        """Take what the relay has said."""
        try:
            while data := self._line.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT):
                for message in self._lines.receive(data):
                    self._obey(message)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            pass
        self.ended = True

    def send(self, data: bytes) -> None:
        """Send to the relay, which reads as quickly as it can; wait for that."""
        try:
            self._line.sendall(data)
        except OSError:
            self.ended = True

    def _obey(self, message: dict[str, Any]) -> None:
        kind, display = message["do"], self.display
        if kind == "start":
            self.start = message
        elif kind == "mark" and display is not None:
            display.mark(message["id"], Place(*message["place"]))
        elif kind == "address" and display is not None:
            display.address = message["address"].encode()


def hidden() -> frozenset[bytes]:
    """Name what is not shown: what Redis `call` leaves out, commands for administrators."""
    admin = (name.encode() for name in builtin_table().categories["admin"])
    return _SECRETS.union(admin)


def main(arguments: list[str]) -> int:
    """Run the process.

    Args:
        arguments: The number of the file descriptor.

    Returns:
        The exit code.
    """
    # The relay stops it; a signal to the whole group must not come in between.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(arguments[0])) as line:
        os.set_inheritable(line.fileno(), False)
        orders = Orders(line)
        display = orders.display = Display(orders.send, orders.take, hidden())
        orders.wait_for_start()
        logs.setup(LogConfig(level=orders.start["level"], json=True))
        yield_to_others()
        try:
            _show(orders, display)
        except FellBehindError:
            display.fail(_FELL_BEHIND)
        except ReplTapError as failure:
            logging.getLogger("repltap.monitor").error("%s", failure)
            return failure.exit_code
    return 0


def _show(orders: Orders, display: Display) -> None:
    start = orders.start
    place = None if start["place"] is None else Place(*start["place"])
    journey = MonitorJourney(Path(start["data_dir"]), place, builtin_table(), display)
    while not orders.ended:
        if journey.step():
            orders.take()
        else:
            display.flush()
            orders.wait(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
