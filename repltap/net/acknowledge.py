"""What may be acknowledged to the master, by the configured policy.

`received` is what a Redis replica says: the offset it has taken in. `durable` says what a power
failure can't take away any more, `quorum:N` what N replicas below have acknowledged themselves, so
that a `WAIT` on the master reaches through the relay. It must never say more than is true: a master
counts the highest ACK for good, and may have told a client "yes" by it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from repltap.config import FsyncPolicy
from repltap.feed import Feed
from repltap.position import Offset
from repltap.store.history import HistoryStore
from repltap.values import AckKind, AckPolicy

Acknowledged = Callable[[HistoryStore], Iterable[Offset]]
"""Lists what each replica that streams this history, whole, has acknowledged."""

_NOTHING = Offset(0)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a replica has acknowledged on one connection.

    Attributes:
        name: Of the replica: its announced address.
        connected_at, heard_at: When it connected and was last heard of, event loop's clock.
        offset: Everything below it has been acknowledged.
    """

    name: str
    connected_at: float
    heard_at: float
    offset: Offset


def each_once(said: Iterable[Acknowledgement]) -> list[Offset]:
    """List what the replicas have acknowledged, each replica once.

    One whose host or network failed and that came back may still have its old connection here,
    until that times out: with the new one it would make up a quorum of two. Replicas behind one
    address translation can share a name too, but they go on acknowledging.

    Args:
        said: In the order of connecting.
    """
    by_name: dict[str, list[Acknowledgement]] = {}
    for one in said:
        before = by_name.get(one.name, [])
        alive = [other for other in before if other.heard_at > one.connected_at]
        by_name[one.name] = [*alive, one]
    return [one.offset for same in by_name.values() for one in same]


class AckLimit:
    """The highest offsets that an ACK may name now.

    Args:
        policy: What has to be true of them.
        feed: The history that is served.
        acknowledged: What the replicas have acknowledged.
    """

    def __init__(self, policy: AckPolicy, feed: Feed, acknowledged: Acknowledged) -> None:
        self.policy = policy
        self._feed = feed
        self._acknowledged = acknowledged
        self._quorum = _NOTHING
        self._counted = False  # the quorum has been counted since the last ACK of a replica

    def recount(self) -> None:
        """Count the quorum anew when it is asked for: a replica has said or left something."""
        self._counted = False

    def now(self, history: HistoryStore) -> tuple[Offset, Offset | None]:
        """Give the offsets for ACK and for FACK.

        Args:
            history: The one that the master's stream goes to.

        Returns:
            Received and durable offset. Durable is None where fsync is `no`: nothing is promised,
            so nothing may be said. It is 0 until the snapshot itself is durable: a stream without
            it is worth nothing after a power failure.
        """
        journal = history.journal
        durable = journal.durable_end if history.published else _NOTHING
        if self.policy.kind is AckKind.RECEIVED:
            offset = journal.end
        elif self.policy.kind is AckKind.DURABLE:
            offset = durable
        else:
            offset = min(self._count(history), journal.end)
        if self._feed.syncing.policy is FsyncPolicy.NO:
            return offset, None
        return offset, min(durable, offset)

    def _count(self, history: HistoryStore) -> Offset:
        """Find the highest offset that enough replicas have acknowledged, 0 with too few."""
        if not self._counted:
            wanted = self.policy.replicas
            best = heapq.nlargest(wanted, self._acknowledged(history))
            self._quorum = best[-1] if len(best) == wanted else _NOTHING
            self._counted = True
        return self._quorum
