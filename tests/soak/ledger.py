"""Who had a full sync, and whether Redis's rules left another way.

Faults state beforehand whom they excuse and why. What is not excused by name is legitimate only

- below a relay that had an excused full sync itself: its journal begins anew behind the replica's
  offset, as a chained server's backlog does;
- when the real server above says in its log that the one who asked is ahead of the place where its
  history forked (`masterTryPartialResynchronization`, "Requested offset for second ID was"), each
  such line for one full sync. A relay's word is not taken for that;
- when it says that it does not know the replid, and the history was renamed twice in the round: a
  server remembers the last two replids, and who was away in between has an older one;
- below a relay that was killed in a round in which the history was renamed: the journal's last
  moments are lost, its replicas hold them, and under the new replid nobody can tell any more that
  they are right. A chained server that loses its memory does worse;
- below a relay that it was moved to, or that was killed, while nothing reached that relay: it is
  ahead of the journal then. A chained server gives a full sync at once, a relay after it has
  waited for the bytes for a few seconds.

When nobody had a full sync, nobody's `sync_full` may have grown.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from tests.servers.node import Node
from tests.servers.relay import Relay
from tests.servers.server import Server

_FORKED = re.compile(r"Requested offset for second ID was (\d+), but I can reply up to (\d+)")
_FORGOTTEN = re.compile(r"not accepted: Replication ID mismatch")
_REASONS = re.compile(
    r"[^\n]*(?:resynchronization not accepted|lack of backlog|gets a full sync|waits: it needs|"
    r"fetching another|Full resync|full resync)[^\n]*"
)


@dataclass(slots=True)
class _Mark:
    """Where a node stood when the round began."""

    log_bytes: int
    full_received: int
    refreshes: int
    pid: int
    sync_full: int


class Ledger:
    """The full syncs of one round.

    Attributes:
        reasons: Full syncs of the whole soak by reason.
    """

    def __init__(self, reasons: Counter[str]) -> None:
        self.reasons = reasons
        self._marks: dict[Node, _Mark] = {}
        self._excuses: dict[Node, str] = {}
        self._refresh_excuses: dict[Node, str] = {}
        self._owed: dict[Node, str] = {}  # refreshes that may come in a later round
        self._above: defaultdict[Node, set[Node]] = defaultdict(set)
        self._strangers: set[Node] = set()
        self._still: set[Node] = set()
        self._killed: set[Node] = set()
        self._ruins: dict[Node, str] = {}
        self._renames = 0

    def open(self, nodes: list[Node], above: dict[Node, Node]) -> None:
        """Begin a round with quiet nodes.

        Args:
            nodes: All of them.
            above: Whom each follower follows.
        """
        self._marks = {node: _mark(node) for node in nodes}
        self._excuses.clear()
        self._refresh_excuses.clear()
        self._ruins.clear()
        for noted in (self._strangers, self._still, self._killed):
            noted.clear()
        self._renames = 0
        self._above.clear()
        for node, upstream in above.items():
            self._above[node].add(upstream)

    def excuse(self, node: Node, reason: str) -> None:
        """Let a node have full syncs in this round."""
        self._excuses.setdefault(node, reason)

    def ruined(self, relay: Node, reason: str) -> None:
        """Let a relay, and all that are below it at any time of this round, have full syncs."""
        self._ruins[relay] = reason

    def owe_refresh(self, relay: Node, reason: str) -> None:
        """Its snapshot may be lost by now: who needs one next, in any round, costs a refresh.

        Or a full resync by the relay above, which costs the master nothing.
        """
        self._owed[relay] = reason

    def excuse_refresh(self, relay: Node, reason: str) -> None:
        """Let a relay fetch a snapshot over a second connection in this round."""
        self._refresh_excuses.setdefault(relay, reason)

    def moved(self, node: Node, upstream: Node) -> None:
        """Note that a node follows another one from now on."""
        self._above[node].add(upstream)

    def stands_still(self, node: Node) -> None:
        """Note that little or nothing reaches a node for a while."""
        self._still.add(node)

    def killed(self, relay: Node) -> None:
        """Note that a relay may have lost the last moments of its journal."""
        self._killed.add(relay)

    def forked(self) -> None:
        """Note that the history gets a new replid."""
        self._renames += 1

    def strange_sync(self, node: Node) -> None:
        """Note that somebody who is none of ours asks this node for full syncs."""
        self._strangers.add(node)

    def close(self) -> list[str]:
        """End the round and count.

        Returns:
            What was not legitimate, one line each.
        """
        full = {
            node: _full_received(node) - mark.full_received for node, mark in self._marks.items()
        }
        denials = {node: self._denials(node) for node in self._marks if isinstance(node, Server)}
        granted = {node: reason for node in full if (reason := self._excuses.get(node))}
        problems = []
        for node in sorted(full, key=self._depth):
            if not full[node]:
                continue
            reason = granted.get(node) or self._inherited(node, full, granted)
            reason = reason or self._ruin(node) or self._ahead(node) or self._owed_resync(node)
            if not reason:
                source = next((up for up in self._above[node] if denials.get(up)), None)
                reason = denials[source].pop() if source is not None else ""
            if reason:
                granted[node] = reason
                self.reasons[reason] += full[node]
            else:
                problems.append(f"{node.name} had {full[node]} full syncs that nothing excuses")
        problems += self._check_refreshes(granted)
        if not any(full.values()):
            problems += self._check_counters()
        return problems

    def _denials(self, server: Server) -> list[str]:
        """Return why a server has denied partial resyncs in this round, where it had to."""
        said = server.log[self._marks[server].log_bytes :]
        reasons = ["ahead of the promoted master"] * len(_FORKED.findall(said))
        if self._renames > 1:
            reasons += ["away while the history was renamed twice"] * len(_FORGOTTEN.findall(said))
        return reasons

    def explanations(self) -> str:
        """Return what the logs of this round say about syncs, for a failure's report."""
        parts = []
        for node, mark in self._marks.items():
            lines = _REASONS.findall(node.log[mark.log_bytes :])
            parts += [f"  {node.name}: {line.strip()}" for line in lines[-12:]]
        return "\n".join(parts)

    def _depth(self, node: Node) -> int:
        """Relays before those below them."""
        relays = [up for up in self._above[node] if isinstance(up, Relay)]
        return max((1 + self._depth(up) for up in relays if up is not node), default=0)

    def _inherited(self, node: Node, full: dict[Node, int], granted: dict[Node, str]) -> str:
        for upstream in self._above[node]:
            if upstream in granted and full.get(upstream):
                return f"below a full sync: {granted[upstream]}".replace(
                    "below a full sync: below", "below"
                )
        return ""

    def _ruin(self, node: Node) -> str:
        """Return what was done to a store above: who was moved there since was not excused."""
        chain = self._chain(node)
        return next((reason for relay, reason in self._ruins.items() if relay in chain), "")

    def _ahead(self, node: Node) -> str:
        relays = [upstream for upstream in self._above[node] if isinstance(upstream, Relay)]
        for relay in relays:
            chain = self._chain(relay)
            killed = bool(chain & self._killed)
            if killed and self._renames:
                return "the relay had lost its tail when the history was renamed"
            if (killed or len(self._above[node]) > 1) and chain & self._still:
                return "ahead of a relay that stood still"
        return ""

    def _owed_resync(self, node: Node) -> str:
        """Return why a relay got its snapshot again from the relay above, and the journal with it.

        It does so where its own journal begins after that snapshot, which its log says.
        """
        if not isinstance(node, Relay):
            return ""
        said = node.log[self._marks[node].log_bytes :]
        asked = "is asked for a full resync: the snapshot is of offset" in said
        return self._owed.pop(node, "") if asked else ""

    def _chain(self, node: Node) -> set[Node]:
        """Return a node and all that were above it in this round."""
        found, waiting = set(), [node]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += self._above.get(node, ())
        return found

    def _check_refreshes(self, granted: dict[Node, str]) -> list[str]:
        problems = []
        for node, mark in self._marks.items():
            count = _refreshes(node) - mark.refreshes
            if not count:
                continue
            reason = self._refresh_excuses.get(node) or granted.get(node)
            reason = reason or self._owed.pop(node, None)
            if reason:
                self.reasons[f"snapshot refresh: {reason}"] += count
            else:
                problems.append(f"{node.name} fetched {count} snapshots that nothing excuses")
        return problems

    def _check_counters(self) -> list[str]:
        problems = []
        for node, mark in self._marks.items():
            refreshed = any(_refreshes(n) > m.refreshes for n, m in self._marks.items())
            if node.pid != mark.pid or node in self._strangers or refreshed:
                continue
            grown = node.syncs.full - mark.sync_full
            if grown:
                problems.append(f"sync_full of {node.name} grew by {grown}, and nobody had one")
        return problems


def _mark(node: Node) -> _Mark:
    return _Mark(
        log_bytes=len(node.log),
        full_received=_full_received(node),
        refreshes=_refreshes(node),
        pid=node.pid,
        sync_full=node.syncs.full,
    )


def _full_received(node: Node) -> int:
    """Full syncs over all its lives: granted to a relay, finished by a server."""
    if isinstance(node, Server):
        return node.full_syncs_received
    return node.log.count("gives a full resync")


def _refreshes(node: Node) -> int:
    return node.log.count("fetching another snapshot") if isinstance(node, Relay) else 0
