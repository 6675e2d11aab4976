"""What the service manager is told: ready, stopping, one line of status, and signs of life.

systemd's sd_notify protocol (man 3 sd_notify): datagrams of NAME=VALUE lines to the socket that
NOTIFY_SOCKET names, a path, or an abstract address that begins with `@`. Where there is none,
nothing is sent. Nothing here waits, and nothing that fails here is a reason to end: the manager
itself ends a service that it does not hear of.

Signs of life are sent by a task on the relay's own event loop: a loop that is stuck sends none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

from repltap.reasons import os_reason
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState
from repltap.status.sinks import SinkState

log = logging.getLogger("repltap.app")

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"

_STATUS_SECONDS = 5.0
"""How old the line may be that `systemctl status` shows."""

_SIGNS_A_PERIOD = 3
"""Of the watchdog: two may be late or lost before the process is taken for dead."""

_READY, _STOPPING = "READY=1", "STOPPING=1"
_DELIVERING = (SinkState.STREAMING, SinkState.SNAPSHOT)


class ServiceNotifier:
    """Tells the service manager; does nothing where there is none.

    Args:
        address: As NOTIFY_SOCKET has it; "" for none.
        watchdog_seconds: How long the manager waits for a sign of life; None: it does not.

    Attributes:
        period_seconds: Between two messages of `run`.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self.period_seconds = _STATUS_SECONDS
        if watchdog_seconds is not None:
            self.period_seconds = min(_STATUS_SECONDS, watchdog_seconds / _SIGNS_A_PERIOD)
        self._watchdog = watchdog_seconds is not None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._stage = ""  # what the manager has to know, and to be told again until it is sent
        self._told = ""
        self._warned = False
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        elif address:
            self._warn(f"{SOCKET_VARIABLE}={address} is no address of a unix socket")

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> ServiceNotifier:
        """Make one of what the service manager has set.

        Args:
            environ: Its variables are taken out of it: a child process must not inherit them, or
                it could speak for this one.
        """
        address = environ.pop(SOCKET_VARIABLE, "")
        period = environ.pop(WATCHDOG_VARIABLE, "")
        pid = environ.pop(WATCHDOG_PID_VARIABLE, "")
        meant = pid in ("", str(os.getpid()))  # a wrapper's own otherwise
        known = meant and period.isascii() and period.isdigit() and int(period) > 0
        return cls(address, int(period) / 1e6 if known else None)

    async def run(self, status: Callable[[], RelayStatus]) -> None:
        """Say that the relay is ready, then how it is, again and again, until cancelled.

        Args:
            status: Called for each message.
        """
        if self._socket is None:
            return
        self._stage = self._stage or _READY
        while True:
            text = describe(status())
            self._say(text if self._stage == _READY else f"shutting down: {text}")
            await asyncio.sleep(self.period_seconds)

    def starting(self, text: str) -> None:
        """Show what takes its time before the relay is ready."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Say that the shutdown has begun; signs of life go on until `close`."""
        self._stage = _STOPPING
        self._say("shutting down")

    def reloading(self) -> None:
        """Say that what can change is being read again.

        A unit of `Type=notify-reload` wants the time with it (man 5 systemd.service).
        """
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def reloaded(self) -> None:
        """Say that it has been read."""
        if self._stage == _READY:
            self._send(_READY)

    def close(self) -> None:
        """Send nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, text: str) -> None:
        lines = [f"STATUS={text}"]
        if self._told != self._stage:
            lines.insert(0, self._stage)
        if self._watchdog:
            lines.append("WATCHDOG=1")
        if self._send("\n".join(lines)):
            self._told = self._stage

    def _send(self, message: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as exc:
            # Also a manager that does not read just now: what matters is sent again.
            self._warn(f"can't tell the service manager how the relay is: {os_reason(exc)}")
            return False
        self._warned = False
        return True

    def _warn(self, message: str) -> None:
        if not self._warned:
            log.warning("%s", message)
        self._warned = True


def describe(status: RelayStatus) -> str:
    """Give one line for `systemctl status`."""
    upstream = status.upstream
    link = f"master {upstream.address} {upstream.state.value}"
    if upstream.state is not LinkState.CONNECTED and upstream.last_error:
        link += f" ({_line(upstream.last_error)})"
    online = sum(replica.state is ReplicaState.ONLINE for replica in status.replicas)
    parts = [link, f"offset {status.offset}", f"{online} of {len(status.replicas)} replicas online"]
    if status.sinks:
        well = sum(sink.state in _DELIVERING for sink in status.sinks)
        parts.append(f"{well} of {len(status.sinks)} sinks delivering")
    if status.disk_full:
        parts.append("the disk is full")
    return ", ".join(parts)


def _line(text: str) -> str:
    """Cut a reason to a line of its own: a line break would begin another message."""
    return " ".join(text.split())[:200]
