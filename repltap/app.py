"""The composition root: builds the parts, wires them, waits for a signal, shuts down in order.

The order of a shutdown: accept nobody; close the link to the master, so that nothing new comes;
let the replicas and sinks take what is stored; close them; sync and close the store. A second
signal ends the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import secrets
import time
from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector

from repltap.addresses import host_port
from repltap.certificates import Certificates
from repltap.config import Config, StoreConfig
from repltap.delivery.messages import Start
from repltap.delivery.monitor.process import MonitorProcess
from repltap.delivery.settings import read_all_settings, unknown_commands
from repltap.delivery.supervisor import SinkSupervisor
from repltap.errors import ConfigError, ListenError
from repltap.feed import Feed
from repltap.files import reserve_files
from repltap.gather import counters, journal_status
from repltap.metrics import RelayCollector
from repltap.net.discovery import Discovery, run_discovery
from repltap.net.downstream import Downstream
from repltap.net.followed import FollowedMaster
from repltap.net.master_offset import MasterPoll
from repltap.net.monitors import Monitors, Place
from repltap.net.refresh import SnapshotRefresher
from repltap.net.role import is_master
from repltap.net.serve import SyncService
from repltap.net.settings import shown_settings
from repltap.net.upstream import UpstreamLink
from repltap.net.web import WebServer, create_app, start_web
from repltap.net.web_access import WebAccess
from repltap.notify import ServiceNotifier
from repltap.parts import Parts
from repltap.position import Offset
from repltap.reload import Reloads
from repltap.rereading import Sources, add_secrets, add_tokens
from repltap.status.link import UpstreamStatus
from repltap.status.relay import RelayStatus
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from repltap.version import VERSION

log = logging.getLogger("repltap.app")

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SMALLEST_SEGMENT_BYTES = 1 << 20

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def run(config: Config, sources: Sources | None = None) -> int:
    """Run a relay until it is told to stop.

    Args:
        config: Everything it needs to know.
        sources: Where its secrets are read again when SIGHUP asks for it; None for nowhere.

    Returns:
        The exit code, 0 after an ordered shutdown.

    Raises:
        ReplTapError: It can't start, or can't go on; its `exit_code` is the process's.
    """
    notifier = ServiceNotifier.from_environment(os.environ)
    # A wrong setting is told now, not by a worker that fails again and again.
    for told in unknown_commands(read_all_settings(config.sinks, os.environ)):
        log.warning("%s", told)
    Certificates(config).load()
    notifier.starting(f"opening {config.store.data_dir}")
    try:
        store = Store.open(config.store.data_dir, _store_options(config.store))
        try:
            return asyncio.run(Relay(config, store, notifier, sources).run())
        finally:
            store.close()
    finally:
        notifier.close()


def _starts(config: Config) -> list[Start]:
    """Make what the sinks' workers are told."""
    return [
        Start(
            data_dir=config.store.data_dir,
            source=config.upstream.source,
            sink=sink,
            log=config.log,
        )
        for sink in config.sinks
    ]


def _store_options(config: StoreConfig) -> StoreOptions:
    segment_bytes, quota_bytes = config.segment_bytes, config.quota_bytes
    if quota_bytes is not None:
        # Whole segments are deleted: few large ones would leave most of a small quota unused.
        segment_bytes = min(segment_bytes, max(_SMALLEST_SEGMENT_BYTES, quota_bytes // 8))
    return StoreOptions(segment_bytes=segment_bytes, quota_bytes=quota_bytes)


class Relay:
    """One relay process.

    Args:
        config: Everything it needs to know.
        store: Open; closed by the caller.
        notifier: To the service manager, where there is one; closed by the caller.
        sources: Where secrets are read again.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        notifier: ServiceNotifier | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._notifier = notifier or ServiceNotifier()
        self._sources = sources
        self._reloads = Reloads(self._notifier.reloading, self._notifier.reloaded)
        self._run_id = secrets.token_hex(20)
        self._started_at = time.time()
        self._parts = Parts()
        self._feed = Feed(store, config.store)
        self._followed = FollowedMaster(config.store.data_dir, config.upstream)
        self._monitors = Monitors(
            self._feed, self._launch_monitor, lambda: self._link.shown_address
        )
        self._downstream = Downstream(config.listen, self._feed, self, self._monitors)
        self._listeners = self._downstream.listeners
        self._sinks = SinkSupervisor(
            _starts(config), self._feed, self._feed.holds, self._want_snapshot
        )
        self._certificates = Certificates(config)
        self._link: UpstreamLink
        self._discovery: Discovery | None = None
        self._poll: MasterPoll
        self._refresher: SnapshotRefresher
        self._service: SyncService

    async def run(self) -> int:
        """Serve until a signal, SHUTDOWN or a failure.

        Returns:
            The exit code.

        Raises:
            ReplTapError: A part failed in a way that trying again can't mend.
        """
        self._parts.catch_signals(self._hung_up)
        self._downstream.admission.max_clients = reserve_files(self._config.listen.max_clients)
        upstream = self._followed.start()
        self._refuse_itself(upstream.host, upstream.port)
        await self._listeners.bind()
        announced = self._listeners.announced_port(tls=self._config.upstream.tls is not None)
        self._link = UpstreamLink(
            self._feed,
            upstream,
            listening_port=announced,
            acknowledged=self._downstream.acknowledged,
        )
        if upstream.sentinel is not None:
            self._discovery = Discovery(upstream.sentinel, self._link, is_master, self._followed)
        if self._sources is not None:
            add_secrets(self._reloads, self._sources, self._link, self._downstream, self._discovery)
            self._certificates.read_again(self._reloads, self._sources, self._link.try_again)
        self._poll = MasterPoll(self._feed, self._link)
        self._refresher = SnapshotRefresher(
            self._feed, self._link, self._config.snapshot, listening_port=announced
        )
        self._service = SyncService(self._feed, self._link, self._refresher, self._downstream.slots)
        try:
            web = await self._start_web()
        except ListenError:
            self._listeners.stop()
            raise
        self._log_repairs()
        self._log_start()
        self._sinks.look()  # before the store begins to delete
        parts = self._start_parts()
        naming = self._parts.start("sentinel", run_discovery(self._discovery))
        keeping = self._parts.start("keep", self._followed.run())
        watching = self._parts.start("certificates", self._certificates.run())
        reloading = self._parts.start("reload", self._reloads.run())
        # Not among them: signs of life go on until the shutdown is done.
        notifying = self._parts.start("notify", self._notifier.run(self.status))
        await self._parts.stop.wait()
        await self._parts.end(reloading)
        self._notifier.stopping()
        await self._parts.end(naming)
        await self._shut_down(parts, web)
        await self._parts.end(watching)
        await self._parts.end(keeping)
        await self._parts.end(notifying)
        if self._parts.failure is not None:
            raise self._parts.failure
        return 0

    def status(self) -> RelayStatus:
        """Gather everything that is known now."""
        now = time.time()
        resident = _resident_bytes()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        journal = journal_status(self._feed, self._config.store.retain_bytes)
        end = journal.end_offset if journal else Offset(0)
        replicas = self._downstream.replicas(now, end)
        return RelayStatus(
            version=VERSION,
            run_id=self._run_id,
            pid=os.getpid(),
            now=now,
            started_at=self._started_at,
            listen_host=self._config.listen.host,
            listen_port=self._listeners.port,
            listen_tls=self._listeners.tls_address,
            certificates=self._certificates.status(),
            data_dir=str(self._config.store.data_dir),
            disk_free_bytes=self._feed.free_bytes(),
            quota_bytes=self._config.store.quota_bytes,
            quota_usable_bytes=self._feed.usable_bytes,
            file_system_free_bytes=self._store.file_system_free_bytes(),
            stored_bytes=self._store.disk_bytes(),
            disk_full=self._link.disk_full,
            rss_bytes=resident,
            peak_rss_bytes=max(resident, usage.ru_maxrss * 1024),
            cpu_user_seconds=usage.ru_utime,
            cpu_system_seconds=usage.ru_stime,
            clients=len(self._downstream.clients()),
            max_clients=self._downstream.admission.max_clients,
            repl_timeout_seconds=round(self._config.listen.timeout_seconds),
            upstream=self._upstream_status(),
            journal=journal,
            refresh=self._refresher.status(),
            refresh_failure=self._refresher.failure,
            replicas=tuple(replicas),
            counters=counters(
                self._feed, self._link, self._downstream, self._service, self._refresher
            ),
            recent_disconnects=self._downstream.departures.recent,
            sinks=self._sinks.status(),
            hand_sinks=self._sinks.by_hand(),
            login_failure=self._downstream.logins.latest,
            reloads=self._reloads.latest,
        )

    def _upstream_status(self) -> UpstreamStatus:
        found = self._followed.shown(self._poll.shown(self._link.status()))
        return found if self._discovery is None else self._discovery.shown(found)

    def settings(self) -> Mapping[str, str]:
        """What CONFIG GET shows."""
        return shown_settings(
            self._config, self._link.config, self._listeners.port, self._listeners.tls_port
        )

    def repoint(self, host: str, port: int) -> str:
        """Follow another master, as REPLICAOF asks.

        Raises:
            ConfigError: It is this relay itself.
        """
        self._refuse_itself(host, port)
        if self._discovery is not None:
            self._discovery.asked_for((host, port))
        if self._link.repoint(host, port):
            return "OK"
        return "OK Already connected to specified master"

    def keep_master(self) -> None:
        """Follow the master of now after a restart too, as CONFIG REWRITE asks."""
        if self._discovery is None:
            self._followed.keep(self._link)

    def master_addresses(self) -> Collection[tuple[str, int]]:
        """Where the master is that is followed now."""
        return self._link.addresses()

    def request_shutdown(self, *, now: bool) -> None:
        """Begin an ordered shutdown; `now` skips waiting for replicas."""
        log.info("shutdown asked for by a client")
        if now:
            self._parts.hurry.set()
        self._parts.stop.set()

    # -- inside ----------------------------------------------------------------------------------

    def _refuse_itself(self, host: str, port: int) -> None:
        """A relay that follows itself would look healthy, and never see a write."""
        own = {where.host for where in self._config.listen.endpoints}
        if port in (self._listeners.port, self._listeners.tls_port) and (
            host in own or host in _LOOPBACK
        ):
            raise ConfigError(
                f"{host_port(host, port)} is this relay's own address",
                hint="give the master's address",
            )

    def _hung_up(self) -> None:
        log.info("SIGHUP received: reading secrets again, and going on")
        self._reloads.ask()

    def _start_parts(self) -> list[asyncio.Task[None]]:
        """Start what a shutdown ends in its own order."""
        acknowledged = self._link.replica_acknowledged
        return [
            self._parts.start("store", self._feed.run()),
            self._parts.start("port", self._downstream.run(self._service, acknowledged)),
            self._parts.start("upstream", self._link.run()),
            self._parts.start("refresh", self._refresher.run()),
            self._parts.start("sinks", self._sinks.run()),
            self._parts.start("poll", self._poll.run()),
            self._parts.start("monitors", self._monitors.run()),
        ]

    async def _start_web(self) -> WebServer | None:
        http = self._config.http
        if http is None:
            return None
        registry = CollectorRegistry()
        registry.register(RelayCollector(self.status, self._sinks.samples))
        ProcessCollector(registry=registry)
        access = WebAccess.of(http, self._downstream.logins)
        if self._sources is not None:
            add_tokens(self._reloads, self._sources, access)
        app = create_app(self.status, registry, http.ready, access)
        return await start_web(app, http.host, http.port, http.tls)

    async def _shut_down(self, parts: list[asyncio.Task[None]], web: WebServer | None) -> None:
        store, port, upstream, refresh, sinks, poll, monitors = parts
        self._listeners.stop()
        for part in (monitors, poll, refresh, upstream):
            await self._parts.end(part)
        await self._parts.unless_hurried(self._drain())
        self._sinks.hurry()
        await self._parts.end(sinks)
        self._downstream.close_all("repltap is shutting down")
        await self._parts.end(port)
        if web is not None:
            await web.close()
        await self._parts.end(store)
        await self._feed.close()
        self._log_end()

    async def _drain(self) -> None:
        """Let replicas and sinks take what is stored."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._downstream.drain())
            group.create_task(self._sinks.stop())

    async def _launch_monitor(self, hearer: Monitors, place: Place | None) -> MonitorProcess:
        config = self._config
        return await MonitorProcess.start(hearer, config.store.data_dir, place, config.log.level)

    def _want_snapshot(self, sink: int) -> None:
        self._refresher.want_for_sink(sink)

    def _log_start(self) -> None:
        history = self._feed.history
        held = (
            "nothing is stored yet"
            if history is None
            else f"holds {history.history.replid} up to offset {history.journal.end}"
        )
        log.info(
            "repltap %s: master %s, replicas on %s, data in %s: %s",
            VERSION,
            self._link.peer or f"by Sentinel, {self._config.upstream.source}",
            " and ".join(self._listeners.addresses),
            self._config.store.data_dir,
            held,
        )

    def _log_repairs(self) -> None:
        for repair in self._store.repairs:
            kept = f", kept as {repair.kept.name}" if repair.kept else ""
            log.warning("%s: %s%s", repair.path, repair.reason, kept)

    def _log_end(self) -> None:
        history = self._feed.history
        if history is None:
            log.info("stopped; nothing is stored")
        elif history.published:
            log.info("stopped; everything up to offset %d is stored", history.journal.end)
        else:
            log.warning("stopped; the last full sync could not be stored: the next start needs one")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * _PAGE_BYTES
