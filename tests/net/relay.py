"""A relay put together from its real parts, around a store in a directory of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from repltap.config import ListenConfig, SnapshotConfig, UpstreamConfig
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.net.downstream import Downstream
from repltap.net.refresh import SnapshotRefresher
from repltap.net.serve import SyncService
from repltap.net.upstream import UpstreamLink
from repltap.position import Offset
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from repltap.status.relay import RelayStatus
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot
from tests.net.admin.fakes import relay_status
from tests.net.peers import FakeReplica
from tests.stored import HANG_SECONDS, open_store, store_config, until


def upstream_config(port: int, **changes: object) -> UpstreamConfig:
    """A master on loopback that is tried again at once, and may be slow."""
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "backoff_min_seconds": 0.001,
        "backoff_max_seconds": 0.002,
        "connect_timeout_seconds": HANG_SECONDS,
        **changes,
    }
    return UpstreamConfig(**values)  # type: ignore[arg-type]


class Whole:
    """What the port needs of the process around it."""

    def __init__(self) -> None:
        self.repointed: list[tuple[str, int]] = []
        self.shutdowns: list[bool] = []

    def status(self) -> RelayStatus:
        return relay_status()

    def settings(self) -> Mapping[str, str]:
        return {}

    def repoint(self, host: str, port: int) -> str:
        self.repointed.append((host, port))
        return "OK"

    def keep_master(self) -> None:
        pass

    def master_addresses(self) -> set[tuple[str, int]]:
        return {("10.0.0.1", 6379)}

    def request_shutdown(self, *, now: bool) -> None:
        self.shutdowns.append(now)


class StubUpstream:
    """A link to the master as far as serving looks at it."""

    def __init__(self, streaming_since: float | None = None) -> None:
        self.streaming_since = streaming_since
        self.flowing_since = streaming_since


class StubRefresher:
    """Notes who asks for a snapshot."""

    def __init__(self) -> None:
        self.requests: list[tuple[Wanted, RefreshReason]] = []
        self.arriving: Intake | None = None
        self.objections: dict[Offset, RefreshReason] = {}
        self.is_hopeful = True

    def objection(self, snapshot: Snapshot, since: float) -> RefreshReason | None:
        return self.objections.get(snapshot.offset)

    def hopeful(self, wanted: Wanted) -> bool:
        return self.is_hopeful

    def request(self, wanted: Wanted, reason: RefreshReason, waiter: int) -> None:
        assert waiter
        self.requests.append((wanted, reason))


class Port:
    """The downstream side alone; the test appends to the feed itself."""

    def __init__(self, feed: Feed, listen: ListenConfig) -> None:
        self.feed = feed
        self.whole = Whole()
        self.upstream = StubUpstream()
        self.refresher = StubRefresher()
        self.downstream = Downstream(listen, feed, self.whole)
        self.service = SyncService(feed, self.upstream, self.refresher, self.downstream.slots)

    @property
    def history(self) -> HistoryStore:
        assert self.feed.history is not None
        return self.feed.history

    @property
    def sessions(self) -> list[Any]:
        """The sessions, by id."""
        return list(self.downstream._sessions.values())

    async def replica(self, *, receive_bytes: int = 0, host: str = "127.0.0.1") -> FakeReplica:
        """Connect to it."""
        return await FakeReplica.connect(
            self.downstream.listeners.port, receive_bytes=receive_bytes, host=host
        )


@asynccontextmanager
async def port(path: Path, listen: ListenConfig | None = None, **store: Any) -> AsyncIterator[Port]:
    """Open the store and listen; everything is closed at the end, in the order of the app."""
    feed = open_feed(path, **store)
    made = Port(feed, listen or ListenConfig(port=0))
    await made.downstream.listeners.bind()
    async with parts(feed, made.downstream.run(made.service)):
        await asyncio.sleep(0)
        yield made
        made.downstream.listeners.stop()
        made.downstream.close_all("the test is over")


class Link:
    """The upstream side alone."""

    def __init__(self, feed: Feed, link: UpstreamLink) -> None:
        self.feed = feed
        self.link = link
        self.task: asyncio.Task[None]

    @property
    def history(self) -> HistoryStore:
        assert self.feed.history is not None
        return self.feed.history

    async def holds(self, end: int) -> None:
        """Wait until the journal has come this far."""
        await until(
            f"offset {end}",
            lambda: self.feed.history is not None and self.history.journal.end >= end,
        )


@asynccontextmanager
async def link(path: Path, port: int, *, store: Any = None, **changes: Any) -> AsyncIterator[Link]:
    """Run a link to the master on `port`; `changes` are of its configuration."""
    feed = open_feed(path, **(store or {}))
    made = Link(feed, UpstreamLink(feed, upstream_config(port, **changes), listening_port=6380))
    async with parts(feed, made.link.run()) as tasks:
        made.task = tasks[0]
        yield made


class WholeRelay(Link):
    """Both sides and what is between them."""

    def __init__(
        self,
        feed: Feed,
        link: UpstreamLink,
        downstream: Downstream,
        snapshot: SnapshotConfig | None,
    ) -> None:
        super().__init__(feed, link)
        self.downstream = downstream
        self.refresher = SnapshotRefresher(
            feed, link, snapshot or SnapshotConfig(), listening_port=downstream.listeners.port
        )
        self.service = SyncService(feed, link, self.refresher, downstream.slots)

    async def replica(self, *, receive_bytes: int = 0) -> FakeReplica:
        """Connect to it."""
        return await FakeReplica.connect(
            self.downstream.listeners.port, receive_bytes=receive_bytes
        )


@asynccontextmanager
async def relay(
    path: Path,
    port: int,
    *,
    store: Any = None,
    snapshot: SnapshotConfig | None = None,
    listen: ListenConfig | None = None,
    **changes: Any,
) -> AsyncIterator[WholeRelay]:
    """Run everything but HTTP and signals."""
    feed = open_feed(path, **(store or {}))
    downstream = Downstream(listen or ListenConfig(port=0), feed, Whole())
    await downstream.listeners.bind()
    made = WholeRelay(
        feed,
        UpstreamLink(
            feed,
            upstream_config(port, **changes),
            listening_port=downstream.listeners.port,
            acknowledged=downstream.acknowledged,
        ),
        downstream,
        snapshot,
    )
    serving = downstream.run(made.service, made.link.replica_acknowledged)
    async with parts(feed, made.link.run(), serving, made.refresher.run()) as tasks:
        made.task = tasks[0]
        await asyncio.sleep(0)
        yield made
        downstream.listeners.stop()
        downstream.close_all("the test is over")


def open_feed(path: Path, *, segment_bytes: int = 1 << 20, **changes: Any) -> Feed:
    """Open a store and its feed; the feed closes both."""
    quota = changes.get("quota_bytes")
    store = open_store(path, segment_bytes=segment_bytes, quota_bytes=quota)
    return Feed(store, store_config(path, **changes))


@asynccontextmanager
async def parts(
    feed: Feed, *works: Coroutine[Any, Any, None]
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run the parts of a relay; one that fails, and was not awaited by the test, fails it."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    noticed: list[asyncio.Task[None]] = []
    try:
        yield tasks
        noticed = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await feed.close()
    for task in tasks:
        if task not in noticed and not task.cancelled() and (failure := task.exception()):
            raise failure
