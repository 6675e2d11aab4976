"""The process as a whole: it starts or says why not, serves, and stops in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from repltap import app as app_module
from repltap.app import Relay, run
from repltap.config import (
    Config,
    HttpConfig,
    ListenConfig,
    LogConfig,
    SnapshotConfig,
    UpstreamConfig,
)
from repltap.errors import ConfigError, DataDirError, DataDirInUseError, ListenError
from repltap.net import downstream
from repltap.net.downstream import Downstream
from repltap.store.sync import SyncJob
from tests.net.peers import FakeMaster, FakeReplica
from tests.net.relay import upstream_config
from tests.protocol.ways import rdb
from tests.servers.ports import free_port
from tests.stored import (
    HANG_SECONDS,
    REPLID,
    SET,
    START,
    held,
    open_fds,
    open_store,
    store_config,
    until,
)

END = START + len(SET)


def config(path: Path, master: UpstreamConfig | None = None, **store: object) -> Config:
    """A relay on a free port whose master, by default, is not there."""
    return Config(
        upstream=master or UpstreamConfig(host="127.0.0.1", port=1),
        listen=ListenConfig(port=0),
        http=None,
        store=store_config(path, **store),
        snapshot=SnapshotConfig(),
        log=LogConfig(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET)


class Running:
    """A relay on the test's own loop."""

    def __init__(self, relay: Relay, task: asyncio.Task[int]) -> None:
        self.relay = relay
        self.task = task

    async def ended(self) -> int:
        async with asyncio.timeout(HANG_SECONDS):
            return await self.task

    async def replica(self, *, receive_bytes: int = 0) -> FakeReplica:
        port = self.relay.status().listen_port
        return await FakeReplica.connect(port, receive_bytes=receive_bytes)


@asynccontextmanager
async def started(made: Config) -> AsyncIterator[Running]:
    store = open_store(made.store.data_dir)
    relay = Relay(made, store)
    it = Running(relay, asyncio.get_running_loop().create_task(relay.run()))
    try:
        await until("the start", lambda: relay._downstream._service or it.task.done())
        yield it
    finally:
        relay._parts.stop.set()
        relay._parts.hurry.set()
        await asyncio.wait([it.task])
        store.close()


# -- exit codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_ordered_end(
    path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "_log_start", lambda _relay: os.kill(os.getpid(), number))
    assert run(config(path)) == 0
    store = open_store(path)  # the lock is free again
    assert store.current is not None
    assert store.current.journal.end == END
    store.close()


def test_a_hang_up_of_the_terminal_is_no_end(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by a new user: the relay that the README starts with & died with its terminal."""

    def hang_up(_relay: Relay) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)

    caplog.set_level("INFO")
    monkeypatch.setattr(Relay, "_log_start", hang_up)
    assert run(config(path)) == 0
    assert caplog.text.index("SIGHUP received") < caplog.text.index("SIGTERM received")


def test_a_hang_up_before_the_start_waits_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Found in a review: a certificate renewed while it was starting ended it."""

    def end_soon(_relay: Relay) -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)

    caplog.set_level("INFO")
    monkeypatch.setattr(Relay, "_log_start", end_soon)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # as `repltap run` begins
    signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # pytest's threads don't block it
    assert run(config(path)) == 0
    assert caplog.text.index("SIGHUP received") < caplog.text.index("SIGTERM received")


def test_a_port_in_use(path: Path) -> None:
    before = open_fds()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = ListenConfig(port=busy.getsockname()[1])
        with pytest.raises(ListenError) as caught:
            run(replace(config(path), listen=listen))
    assert caught.value.exit_code == 3
    open_store(path).close()
    assert open_fds() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_relay_does_not_follow_itself(path: Path, host: str) -> None:
    """Found by a new user: it looked healthy, and never saw a write."""
    own = replace(config(path), listen=ListenConfig(port=7379))
    with pytest.raises(ConfigError, match="own address") as caught:
        run(replace(own, upstream=UpstreamConfig(host=host, port=7379)))
    assert caught.value.exit_code == 2


async def test_replicaof_itself_is_refused(path: Path) -> None:
    async with started(config(path)) as it:
        port = it.relay._downstream.listeners.port
        with pytest.raises(ConfigError, match="own address"):
            it.relay.repoint("localhost", port)
        # Where nobody is: what listens beside this port may be another test's.
        assert it.relay.repoint("localhost", 1) == "OK"


def test_a_data_directory_in_use(path: Path) -> None:
    store = open_store(path)
    with pytest.raises(DataDirInUseError) as caught:
        run(config(path))
    assert caught.value.exit_code == 4
    store.close()


def test_a_data_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataDirError) as caught:
        run(config(tmp_path / "file"))
    assert caught.value.exit_code == 4


def test_a_disk_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops in order, says why once, and keeps what is stored."""

    def broken(_retention: object, *_args: object) -> None:
        raise DataDirError("input/output error", path=path)

    monkeypatch.setattr("repltap.retention.Retention.apply", broken)
    with pytest.raises(DataDirError, match="input/output error"):
        run(config(path))
    open_store(path).close()


@pytest.mark.parametrize(
    ("quota", "segment"), [(None, 64 << 20), (80 << 20, 10 << 20), (4 << 20, 1 << 20)]
)
def test_small_quotas_have_small_segments(tmp_path: Path, quota: int | None, segment: int) -> None:
    made = app_module._store_options(config(tmp_path, quota_bytes=quota).store)
    assert (made.segment_bytes, made.quota_bytes) == (segment, quota)


# -- what it does ----------------------------------------------------------------------------------


async def test_from_a_master_to_a_replica_and_what_is_shown(tmp_path: Path) -> None:
    async with (
        FakeMaster() as master,
        started(config(tmp_path, upstream_config(master.port))) as it,
    ):
        empty = it.relay.status()
        assert (empty.journal, empty.offset) == (None, 0)
        peer, _ = await master.asked()
        assert peer.options[b"listening-port"] == b"%d" % empty.listen_port
        with await it.replica() as replica:
            await replica.ask(None, 0, b"listening-port 7001")
            peer.full(REPLID, START)
            peer.say(SET)
            assert await replica.snapshot() == (REPLID, START, rdb())
            assert await replica.exactly(len(SET)) == SET
            await peer.acked(END)
            status = it.relay.status()
            assert (status.replid, status.offset, status.clients) == (REPLID, END, 1)
            assert [each.port for each in status.replicas] == [7001]
            assert status.counters.sync_full == status.counters.upstream_sync_full == 1
            assert status.counters.net_repl_output_bytes == len(rdb()) + len(SET)
            assert status.counters.net_repl_input_bytes == len(rdb()) + len(SET)
            assert status.rss_bytes > 0
            assert not status.disk_full
            assert it.relay.settings()["port"] == str(status.listen_port)
        assert it.relay.repoint("127.0.0.1", master.port).startswith("OK Already")
        async with FakeMaster() as other:
            assert it.relay.repoint("127.0.0.1", other.port) == "OK"
            _, asked = await other.asked()
            assert asked == (REPLID.encode(), b"%d" % (END + 1))
            assert it.relay.settings()["replicaof"] == f"127.0.0.1 {other.port}"


async def test_the_status_over_http(path: Path) -> None:
    port = free_port()
    made = replace(config(path), http=HttpConfig(host="127.0.0.1", port=port))
    async with started(made) as it, aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/api/status") as answer:
            assert (await answer.json())["journal"]["end_offset"] == END
        it.relay.request_shutdown(now=True)
        assert await it.ended() == 0


async def test_a_busy_http_port_stops_the_start(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        http = HttpConfig(host="127.0.0.1", port=busy.getsockname()[1])
        async with started(replace(config(path), http=http)) as it:
            with pytest.raises(ListenError, match="for HTTP"):
                await it.ended()


# -- the end ---------------------------------------------------------------------------------------


async def test_replicas_take_what_is_stored_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream, "_DRAIN_SECONDS", HANG_SECONDS)  # of a busy machine
    before = open_fds()
    async with started(config(path)) as it:
        with await it.replica(receive_bytes=4096) as replica:
            await replica.ask(REPLID, END)
            assert await replica.line() == b"+CONTINUE"
            it.relay._feed.append(bytes(4_000_000))
            it.relay.request_shutdown(now=False)
            assert len(await replica.rest()) == 4_000_000
            assert await it.ended() == 0
    del it, replica
    assert open_fds() == before


@pytest.mark.parametrize("how", ["now", "second signal"])
async def test_in_a_hurry_nobody_is_waited_for(
    path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async def for_ever(_downstream: Downstream) -> None:
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Downstream, "drain", for_ever)
    async with started(config(path)) as it:
        if how == "now":
            it.relay.request_shutdown(now=True)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            await waiting.wait()
            os.kill(os.getpid(), signal.SIGINT)
        assert await it.ended() == 0
        assert waiting.is_set() == (how != "now")


async def test_what_was_received_last_is_stored(path: Path) -> None:
    async with FakeMaster() as master, started(config(path, upstream_config(master.port))) as it:
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + SET)
        await until("the stream", lambda: it.relay.status().offset == END + len(SET))
        it.relay.request_shutdown(now=False)
        assert await it.ended() == 0
        await peer.gone()
    store = open_store(path)
    assert store.repairs == []
    assert store.current is not None
    assert store.current.journal.read(START, 1000) == SET * 2
    store.close()


async def test_a_sync_that_fails_at_the_end_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_job: SyncJob) -> None:
        raise DataDirError("input/output error", path=path)

    async with started(config(path)) as it:
        it.relay._feed.append(SET)
        monkeypatch.setattr(SyncJob, "run", broken)
        it.relay.request_shutdown(now=True)
        with pytest.raises(DataDirError):
            await it.ended()
