"""Failed logins: each makes the next from the same address wait. Pure: time comes in.

Whoever has failed a few times gets its further attempts looked at one at a time, with growing
pauses between them, over all its connections together; also a right password waits its turn there,
or the time that an answer takes would tell a wrong one at once. Others never wait, and nothing here
blocks: a wait is a timer of one connection.

What is sent as a user's name is not kept: people type their password there.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

FREE_FAILURES = 5
"""Failures of an address that cost nothing: a typing error, a replica with an old password."""

_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 2.0
"""43 000 guesses a day: a password of eight random letters lasts ten thousand years."""

_FORGIVEN_SECONDS = 10.0
"""A failure is forgotten after so long; a replica that retries each second keeps its pauses."""

_MOST_FAILURES = 30
"""More are not remembered: five minutes after the last an address is as good as any."""

MAX_WAIT_SECONDS = 10.0
"""Attempts of an address that would wait longer are refused: they would only pile up. Less than
the time-out of any client library."""

MAX_ADDRESSES = 4096
"""Remembered, some 200 bytes each; beyond, the one that failed least recently is forgotten."""

_REMIND_SECONDS = 10.0
"""The log and the events hear of failures this often: an attack must not fill them."""


@dataclass(slots=True)
class _Record:
    failures: float = 0.0
    seen_at: float = 0.0
    free_at: float = 0.0  # when the next attempt may be looked at


@dataclass(frozen=True, slots=True)
class Turn:
    """When a login is looked at.

    Attributes:
        wait_seconds: How long it has to wait for that, mostly 0.
        charged: It counts as failed already, until it turns out to be right: the next in line must
            not wait as little as if there were none before it.
    """

    wait_seconds: float = 0.0
    charged: bool = False


class LoginGuard:
    """Remembers who failed to log in.

    Attributes:
        failed_total: Since the start.
    """

    def __init__(self) -> None:
        self.failed_total = 0
        self._records: dict[str, _Record] = {}
        self._untold = 0
        self._told_at = float("-inf")

    def turn(self, address: str, now: float) -> Turn | None:
        """Take a place in the line for a login.

        Args:
            address: Of the peer, without its port.
            now: Seconds on a clock that never goes back.

        Returns:
            When its password may be looked at; None: too many from there wait already. What came
            of it is told to `failed` or `succeeded`.
        """
        record = self._records.get(_network(address))
        if record is None:
            return Turn()
        _forgive(record, now)
        if not _costs(record):
            return Turn()
        wait = max(0.0, record.free_at - now)
        if wait > MAX_WAIT_SECONDS:
            return None
        pause = _FIRST_PAUSE_SECONDS * 2 ** (record.failures - FREE_FAILURES)
        record.free_at = now + wait + min(_MAX_PAUSE_SECONDS, pause)
        record.failures = min(_MOST_FAILURES, record.failures + 1)
        return Turn(wait, charged=True)

    def succeeded(self, address: str, turn: Turn) -> None:
        """Take back what a login was charged that turned out to be right."""
        record = self._records.get(_network(address))
        if turn.charged and record is not None:
            record.failures = max(0.0, record.failures - 1)

    def failed(self, address: str, now: float, turn: Turn) -> int:
        """Note a wrong password.

        Returns:
            How many there were since this was last not 0: something to tell, now and then.
        """
        network = _network(address)
        record = self._records.pop(network, None) or _Record(seen_at=now)
        _forgive(record, now)
        if not turn.charged:
            record.failures = min(_MOST_FAILURES, record.failures + 1)
        if _costs(record):
            record.free_at = max(record.free_at, now + _FIRST_PAUSE_SECONDS)
        self._records[network] = record  # the last, now
        if len(self._records) > MAX_ADDRESSES:
            del self._records[next(iter(self._records))]
        self.failed_total += 1
        self._untold += 1
        if now - self._told_at < _REMIND_SECONDS:
            return 0
        told, self._untold, self._told_at = self._untold, 0, now
        return told


def _costs(record: _Record) -> bool:
    # A failure counts until all of it is forgiven.
    return record.failures > FREE_FAILURES - 1


def _forgive(record: _Record, now: float) -> None:
    record.failures = max(0.0, record.failures - (now - record.seen_at) / _FORGIVEN_SECONDS)
    record.seen_at = now


def _network(address: str) -> str:
    """Take one customer for one: an IPv6 network of 64 bits is given to a single machine."""
    try:
        host = ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a unix socket
    if not isinstance(host, IPv6Address):
        return str(host)
    return str(host.ipv4_mapped or f"{int(host) >> 64:x}::/64")
