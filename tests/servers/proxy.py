"""A TCP proxy on loopback that cuts, stalls, delays or splits at an exact byte of one direction.

A `Fault` waits for a place in the bytes of one connection; the `Weather` is over all connections of
a proxy and changes while they run.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from tests.servers.ports import free_port

_STEPS_PER_SECOND = 20
_GATE_SECONDS = 300.0
"""As long as pytest lets a test take: a thread must not wait for what a failed test never does."""


class Direction(Enum):
    """Which way the bytes go that a fault watches."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Action(Enum):
    """What happens when the place is reached."""

    CUT = "both sides are closed"
    RESET = "both sides are closed with RST"
    STALL = "nothing more passes, either way; nothing is closed"
    SPLIT = "from here on each byte is a packet of its own, for `count` bytes"
    DELAY = "each read from here on waits `seconds`, for `count` reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong on one connection.

    Attributes:
        at: The fault is right behind the first occurrence of this; b"" for the start.
        after_bytes: So many bytes further on.
        count, seconds: See `Action`.
        gate: A delay ends when this is set, instead of after `seconds`: no machine is too slow.
    """

    direction: Direction
    action: Action = Action.CUT
    at: bytes = b""
    after_bytes: int = 0
    count: int = 2_000
    seconds: float = 0.01
    gate: threading.Event | None = None


class Proxy:
    """Listens on `port`; each new connection takes the next of `faults`, later ones none.

    Args:
        target_port: Where connections are passed on to.
    """

    def __init__(self, target_port: int, *faults: Fault) -> None:
        self.port = self.tls_port = free_port()
        self.target_port = target_port
        self.faults: deque[Fault] = deque(faults)
        self.weather = Weather()
        self.connections = 0
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and cut what is connected."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.weather.clear()
        self.cut()
        self._thread.join(5)

    def cut(self, *, reset: bool = False) -> None:
        """Cut all connections now, those whose client has left included."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close(reset=reset)

    @property
    def has_stalled(self) -> bool:
        """Tell whether a `Fault` has stalled a connection: what came before has been passed on."""
        with self._lock:
            return any(pair.stalled for pair in self._pairs)

    def lose_clients(self) -> None:
        """Close towards the clients only: the server keeps connections that nobody reads."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.lose_client()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.weather.refusing:
                _close(client, reset=True)
                continue
            fault = self.faults.popleft() if self.faults else None
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server, fault, self.weather)
            with self._lock:
                # Who refuses new ones and cuts all there are means one that is just being made.
                refused = self.weather.refusing
                self._pairs = [p for p in self._pairs if not p.closed] + [pair] * (not refused)
            if refused:
                pair.close(reset=True)
            else:
                pair.start()


class Weather:
    """What every byte of a proxy's connections goes through; faults of a place come on top.

    Attributes:
        refusing: New connections are reset.
        delay_seconds: Each read waits this long.
        bytes_per_second: No more than this passes in each direction, 0 for no limit.
        split: Each byte is a packet of its own.
    """

    def __init__(self) -> None:
        self._flowing = threading.Event()
        self.clear()

    def clear(self) -> None:
        """Let everything pass again."""
        self.refusing = False
        self.delay_seconds = 0.0
        self.bytes_per_second = 0
        self.split = False
        self._flowing.set()

    def stall(self) -> None:
        """Hold every byte, and lose none, until it is cleared."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let go what is held, and leave the rest as it is."""
        self._flowing.set()

    def send(self, target: socket.socket, data: bytes) -> None:
        """Pass bytes on.

        Raises:
            OSError: The connection is closed.
        """
        self._flowing.wait()
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        while data:
            size = len(data)
            if self.split:
                size = 1
            elif self.bytes_per_second:
                size = max(1, self.bytes_per_second // _STEPS_PER_SECOND)
                time.sleep(1 / _STEPS_PER_SECOND)
            self._flowing.wait()
            target.sendall(data[:size])
            data = data[size:]


class _Pair:
    """Two sockets and the two threads that copy between them."""

    def __init__(
        self, client: socket.socket, server: socket.socket, fault: Fault | None, weather: Weather
    ) -> None:
        self._client, self._server, self._fault = client, server, fault
        self._weather = weather
        self._stalled = threading.Event()
        self._lost = False  # the client was closed, the server must not notice
        self.closed = False
        for peer in (client, server):
            peer.settimeout(None)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for direction in Direction:
            threading.Thread(target=self._copy, args=(direction,), daemon=True).start()

    def close(self, *, reset: bool = False) -> None:
        """Close both sides."""
        self.closed = True
        for peer in (self._client, self._server):
            _close(peer, reset=reset)

    @property
    def stalled(self) -> bool:
        """Tell whether the place of its fault was reached, and that is `Action.STALL`."""
        return self._stalled.is_set()

    def lose_client(self) -> None:
        """Close the client's side; the server's stays open, unread, until `close`."""
        self._lost = True
        _close(self._client, reset=False)

    def _copy(self, direction: Direction) -> None:
        to_server = direction is Direction.TO_SERVER
        source = self._client if to_server else self._server
        target = self._server if to_server else self._client
        fault = self._fault if self._fault and self._fault.direction is direction else None
        watch = _Watch(fault) if fault else None
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self._stalled.is_set():
                    continue
                if watch is None or watch.done:
                    self._weather.send(target, data)
                    continue
                before, behind = watch.split(data)
                self._weather.send(target, before)
                if watch.reached and not self._strike(watch, target, behind):
                    return
        if not self._lost:
            self.close()

    def _strike(self, watch: _Watch, target: socket.socket, behind: bytes) -> bool:
        """Do what the fault says; False when the connection is over."""
        fault = watch.fault
        match fault.action:
            case Action.CUT | Action.RESET:
                self.close(reset=fault.action is Action.RESET)
                return False
            case Action.STALL:
                self._stalled.set()
                watch.done = True
            case Action.DELAY:
                if fault.gate is not None:
                    fault.gate.wait(_GATE_SECONDS)
                else:
                    time.sleep(fault.seconds)
                target.sendall(behind)
                watch.count(1)
            case Action.SPLIT:
                for i in range(len(behind)):
                    target.sendall(behind[i : i + 1])
                watch.count(len(behind))
        return True


class _Watch:
    """Finds the place of a fault in a flow of bytes."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.reached = False
        self.done = False
        self._found = not fault.at
        self._tail = b""
        self._left = fault.after_bytes
        self._counted = 0

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what lies before the place and what lies behind it."""
        start = 0
        if not self._found:
            joined = self._tail + data
            index = joined.find(self.fault.at)
            if index < 0:
                self._tail = joined[-(len(self.fault.at) - 1) :] if len(self.fault.at) > 1 else b""
                return data, b""
            self._found = True
            start = index + len(self.fault.at) - len(self._tail)
        if self.reached:
            return b"", data
        take = min(self._left, len(data) - start)
        self._left -= take
        self.reached = self._left == 0
        return data[: start + take], data[start + take :]

    def count(self, amount: int) -> None:
        """Count what has been split or delayed; the fault ends after `count`."""
        self._counted += amount
        self.done = self._counted >= self.fault.count


def _close(peer: socket.socket, *, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Wakes the thread that reads it: until then the kernel would keep it open.
        peer.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
    peer.close()
