"""How a replica that asks to sync is served: partial, full, or held until one is possible.

The rules are Redis's (`masterTryPartialResynchronization`, `syncCommand`) with what a relay can do
better: it answers while the master is away, from a stored snapshot, or from one that is still
arriving; and it holds who can't be served yet instead of refusing. What it can never do is give a
replica a byte that is not its master's at that offset.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from repltap.boundary import last_boundary
from repltap.endings import DenialReason, DisconnectReason, Ending
from repltap.errors import NotRetainedError, ReplTapError, StoreError
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.net.departures import ending_of
from repltap.net.functions import StoredFunctions
from repltap.net.owner import SyncWait
from repltap.net.session import Session
from repltap.net.spurned import Spurned
from repltap.net.transfers import TransferSlots
from repltap.position import Offset
from repltap.protocol.downstream import Role
from repltap.protocol.handshake import RELAY_CAPABILITY
from repltap.protocol.psync import Verdict, decide
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from repltap.store.snapshots import Snapshot

_AHEAD_GRACE_SECONDS = 3.0
"""A replica ahead of the journal is held this long once the master's stream flows: after a kill the
journal lost its last moments, which the master sends again at once. Who is still ahead then holds
bytes that this master never sent."""

_AHEAD_SILENT_SECONDS = 15.0
"""And this long while not one byte of the stream has come: a link that stalls behind `+CONTINUE`
has shown nothing yet. A master with nothing else to send pings after 10 s
(`repl-ping-replica-period`)."""

_AHEAD_LIMIT_SECONDS = 60.0
"""And this long while there is no master, then it is told to ask again (it keeps its offset)."""

_CLIENT_WINDOW = 64 << 10
"""How far back the boundary of a command is looked for to begin a filtered stream at; little, as
it is done between two turns of the event loop."""

_EMPTY_RDB = b"REDIS0009\xff" + bytes(8)
"""No keys; eight zeros stand for no checksum (Redis `rdbLoadRioWithLoadingCtx`). RDB 9 is that of
Redis 5.0: every later version loads it, Valkey's too."""

_NO_MASTER = b"-NOMASTERLINK Can't SYNC while not connected with my master"

_CLUSTER_NODE = (
    b"-NOMASTERLINK this is repltap, a replication relay and no node of your cluster: it serves "
    b"standalone replicas only. Does cluster-announce-ip or -port of your master name the relay?"
)
"""Any other error would make it fall back to SYNC and forget its offset, which its real master
would have continued (`replicaTryPartialResynchronization`)."""

_REMIND_SECONDS = 60.0
"""A replica that is refused asks again each second; the log need not say so each time."""


class Upstream(Protocol):
    """What serving needs to know of the link to the master."""

    @property
    def streaming_since(self) -> float | None:
        """When the stream began, on the event loop's clock; None while it doesn't run."""

    @property
    def flowing_since(self) -> float | None:
        """When its first byte came; None before that."""


class Refresher(Protocol):
    """Who can fetch another snapshot from the master."""

    @property
    def arriving(self) -> Intake | None:
        """One that has begun to arrive."""

    def objection(self, snapshot: Snapshot, since: float) -> RefreshReason | None:
        """Say why a stored one should not be sent to who has waited since then."""

    def hopeful(self, wanted: Wanted) -> bool:
        """Tell whether one like this can be fetched soon."""

    def request(self, wanted: Wanted, reason: RefreshReason, waiter: int) -> None:
        """Ask for one; many may ask, again and again."""


class SyncService:
    """Decides about each PSYNC and SYNC, again whenever something changes.

    Args:
        feed: The histories.
        upstream: The link to the master.
        refresher: Fetches a snapshot when none that is stored will do.
        slots: Who may be sent one now.

    Attributes:
        full, partial, denied: Granted full and partial resyncs; partial requests not granted.
        denials: The latter by `DenialReason`.
    """

    def __init__(
        self,
        feed: Feed,
        upstream: Upstream,
        refresher: Refresher,
        slots: TransferSlots[Session],
    ) -> None:
        self._feed = feed
        self._upstream = upstream
        self._refresher = refresher
        self._slots = slots
        self._functions = StoredFunctions(feed.changed)
        self._spurned = Spurned(_now, lambda: feed.generation)
        self.full = 0
        self.partial = 0
        self.denied = 0
        self.denials: Counter[str] = Counter()
        self._told_at = float("-inf")  # when the log last told of a node of a cluster
        self._growth = (Offset(0), float("-inf"))  # the journal's end when last looked at, and when

    def consider(self, session: Session) -> None:
        """Serve the session's request if that is possible now, else hold it."""
        wait = session.wait
        waiting = session.protocol.role is Role.WAITING
        if wait is None or not waiting or session.connection.closed:
            return
        self._slots.withdraw(session)  # it comes back to its place if it still waits for that
        try:
            self._decide(session, wait)
        except StoreError as failure:
            session.connection.close(ending_of(failure, "it can't be served now"))

    def departed(self, session: Session, ending: Ending) -> None:
        """Take note of a replica that is gone.

        One that can't load what it is sent closes the connection. Where stream bytes lay unread
        behind the snapshot, its kernel does that with a reset.
        """
        name, reset = session.name, session.connection.reset
        if session.spurned and (reset or ending.reason is DisconnectReason.CLOSED):
            session.log.warning(
                "left without acknowledging its snapshot: can it load that (its log says so)? It "
                "gets another in %g s at the earliest",
                self._spurned.left(name, session.asked, reset=reset),
            )
        elif session.protocol.replica.acked is not None:
            self._spurned.loaded(name)

    def _decide(self, session: Session, wait: SyncWait) -> None:
        if self._feed.shifting:
            session.hold("the history is being given a new replication id")
            return
        if session.protocol.replica.cluster_node:
            self._refuse_cluster_node(session)
            return
        if session.protocol.replica.filter == "":
            self._serve_empty(session)
            return
        if session.protocol.replica.filter is not None:
            self._serve_functions(session, wait)
            return
        position = wait.position
        reason = "it has nothing yet"
        denial = None if position is None else DenialReason.NO_HISTORY
        history = self._feed.history
        if position is not None and history is not None:
            journal = history.journal
            decision = decide(position, history.history, journal.start, journal.end)
            if decision.verdict is Verdict.CONTINUE:
                session.log.replid = history.history.replid
                session.continue_at(history, position.offset)
                self.partial += 1
                session.log.info("continues from offset %d", position.offset)
                return
            if decision.verdict is Verdict.WAIT:
                growing = position.offset <= history.known_end and self._grows(journal.end)
                if self._hold_ahead(session, wait, growing=growing):
                    return
            reason, denial = decision.reason, decision.denial
        self._serve_full(session, wait, reason, denial)

    def _refuse_cluster_node(self, session: Session) -> None:
        """Refuse a node of a cluster: it takes its master for a node, and a relay is none."""
        now = _now()
        if now - self._told_at >= _REMIND_SECONDS:
            self._told_at = now
            session.log.warning(
                "refused: it is a node of a cluster, and this relay is none; does its master "
                "announce the relay's address?"
            )
        session.refuse(_CLUSTER_NODE)

    def _grows(self, end: Offset) -> bool:
        """Tell whether the journal has grown lately, as far as was looked."""
        now = _now()
        if end != self._growth[0]:
            self._growth = (end, now)
        return now - self._growth[1] < _AHEAD_GRACE_SECONDS

    def _hold_ahead(self, session: Session, wait: SyncWait, *, growing: bool) -> bool:
        """Hold a replica that is ahead of the journal; False when it has been long enough.

        Args:
            session: Its.
            wait: Its request.
            growing: The journal is on the way to bytes that were served before (`known_end`).
        """
        now = asyncio.get_running_loop().time()
        since = self._upstream.streaming_since
        if self._feed.intake is not None:
            return False
        if since is not None:
            flowing = self._upstream.flowing_since
            grace = _AHEAD_SILENT_SECONDS if flowing is None else _AHEAD_GRACE_SECONDS
            if not growing and now - max(flowing or since, wait.since) >= grace:
                return False
        elif now - wait.since >= _AHEAD_LIMIT_SECONDS:
            session.refuse(_NO_MASTER)
            return True
        session.hold("it is ahead of the journal; the master is expected to send the rest again")
        return True

    def _serve_full(
        self, session: Session, wait: SyncWait, reason: str, denial: DenialReason | None
    ) -> None:
        if self._spurned.is_held(session.name, wait.position):
            session.hold("it has just left a snapshot unacknowledged, and is to wait for another")
            return
        choice = self._choose(session, wait)
        if choice is None:
            session.hold(f"it needs a full sync ({reason}), and no snapshot for it is here yet")
            return
        if not self._slots.admit(session, wait.since):
            session.hold(f"max_transfers is {self._slots.limit}, and others are before it")
            return
        history = choice.history if isinstance(choice, Intake) else self._feed.history
        assert history is not None
        session.log.replid = history.history.replid
        session.log.info(
            "gets a full sync: %s; snapshot at offset %d%s",
            reason,
            choice.offset,
            " (still arriving)" if isinstance(choice, Intake) else "",
        )
        try:
            session.send_snapshot(history, choice)
        except NotRetainedError as failure:
            if isinstance(choice, Intake):
                raise
            self._slots.leave(session)
            self._feed.shelf.lost(choice, str(failure))
            return  # the feed tells of the change, and the request is looked at again
        self.full += 1
        if denial is not None:
            self.denied += 1
            self.denials[denial.value] += 1

    def _choose(self, session: Session, wait: SyncWait) -> Intake | Snapshot | None:
        """Pick what to send, None when nothing can be sent yet."""
        replica = session.protocol.replica
        wanted = Wanted(
            replica.version or "", relay=RELAY_CAPABILITY.decode() in replica.capabilities
        )
        takes_mark = "eof" in replica.capabilities
        intake = self._feed.intake or self._feed.settling
        if intake is not None:
            # What is stored belongs to a history that is about to end: not worth sending.
            return intake if _will_do(intake, wanted, takes_mark=takes_mark) else None
        history = self._feed.history
        snapshot = self._feed.shelf.newest(wanted.loads)
        if history is None or (snapshot is None and self._feed.shelf.verifying):
            return None
        if snapshot is None:
            stored = bool(history.snapshots.all)
            reason = RefreshReason.FORMAT if stored else RefreshReason.NO_SNAPSHOT
        else:
            objection = self._refresher.objection(snapshot, wait.since)
            if objection is None or not self._refresher.hopeful(wanted):
                return snapshot  # an old one joins the journal all the same: its tail is long
            reason = objection
        arriving = self._refresher.arriving
        if arriving is not None and _will_do(arriving, wanted, takes_mark=takes_mark):
            return arriving
        self._refresher.request(wanted, reason, session.id)
        return None

    def _serve_empty(self, session: Session) -> None:
        """`redis-cli --replica` filters everything out: it wants the stream from now on."""
        history = self._feed.history
        if history is None:
            session.hold("nothing has come from the master yet")
            return
        self.full += 1
        session.log.replid = history.history.replid
        session.log.info("gets an empty snapshot, as it asked, and the stream from now on")
        session.send_made_snapshot(history, last_boundary(history, (_CLIENT_WINDOW,)), _EMPTY_RDB)

    def _serve_functions(self, session: Session, wait: SyncWait) -> None:
        """`redis-cli --functions-rdb` filters out all but the functions."""
        choice = self._choose(session, wait)
        history = self._feed.history
        if history is None or not isinstance(choice, Snapshot):
            session.hold("no snapshot is stored yet")
            return
        try:
            found = self._functions.of(choice)
        except ReplTapError as failure:
            session.log.warning("the functions of the snapshot can't be read: %s", failure)
            session.refuse(b"-ERR the functions of the snapshot can't be read; see the relay's log")
            return
        if found is None:
            session.hold("the functions are being read")
            return
        self.full += 1
        session.log.info("gets the functions of the snapshot at offset %d", choice.offset)
        session.send_made_snapshot(history, choice.offset, found)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _will_do(intake: Intake, wanted: Wanted, *, takes_mark: bool) -> bool:
    """Tell whether an arriving snapshot can be sent to a replica already."""
    known = intake.started and intake.format is not None
    if not known or not wanted.loads(intake.format or ""):
        return False
    # Without a size it must end with a mark, which not every replica can take.
    return intake.size is not None or takes_mark
