"""Snapshots and streams, written as commands, against what the master holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

import hiredis
import pytest

from repltap.config import SinkConfig
from repltap.delivery.report import WorkerReport
from repltap.delivery.worker import deliver
from repltap.sink import AnyRecord, Sink, SinkContext, SnapshotMode, SnapshotRecord
from tests.e2e.test_rdb import compare_functions, compare_groups
from tests.e2e.test_records import expiring
from tests.servers.client import Client
from tests.servers.find import Feature
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.shapes import fill
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAMS = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]
DATABASES = (0, 3, 9, 12)


class QuietBell:
    """Nobody stops the worker, nobody is told."""

    stopping = False

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))

    def report(self, report: WorkerReport) -> None: ...

    def want_snapshot(self) -> None: ...


class PipeSink(Sink):
    """Has a server execute what is written."""

    snapshots = SnapshotMode.INITIAL
    port: ClassVar[int] = 0
    server: ClassVar[str | None] = None
    errors: ClassVar[list[tuple[bytes, str]]] = []
    names: ClassVar[set[bytes]] = set()

    def open(self, context: SinkContext) -> str | None:
        self._client = Client(self.port)
        self._form = context.resp_form(target=self.server)
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        strict = isinstance(records[0], SnapshotRecord)
        for commands in _split(self._form.write(records)):
            for words, reply in zip(commands, self._client.pipeline(commands), strict=True):
                if strict:
                    self.names.add(words[0])
                # Of the stream, MOVE and RENAME of keys that expired on the way are errors.
                if strict and isinstance(reply, hiredis.ReplyError):
                    self.errors.append((words[0], str(reply)))

    def commit(self, place: str) -> Mapping[str, Any] | None:
        return None

    def close(self) -> None:
        self._client.close()


def _split(written: bytes) -> Iterator[list[list[bytes]]]:
    reader = hiredis.Reader()
    reader.feed(written)
    commands: Iterator[Any] = iter(reader.gets, False)
    while batch := list(islice(commands, 200)):
        yield batch


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> type[PipeSink]:
    monkeypatch.setattr(PipeSink, "errors", [])
    monkeypatch.setattr(PipeSink, "names", set())
    monkeypatch.setattr("repltap.delivery.worker.find_sink", lambda kind, origin: PipeSink)
    return PipeSink


def run(relay: Relay, **settings: object) -> None:
    config = SinkConfig(name="pipe", type="pipe", settings=settings, origin="a test")
    deliver(
        config,
        data_dir=relay.data_dir,
        source="m",
        bell=QuietBell(),
        environ={},
        until_end=True,
    )


def follow(lab: Lab, master: Server) -> Relay:
    relay = lab.relay(master)
    relay.wait_ready()
    # An empty master's offset is 0, as that of a relay that has nothing.
    relay.wait_stored()
    wait_for("the relay has it all", lambda: relay.offset == master.offset)
    return relay


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("payloads", [True, False], ids=["restored", "built"])
def test_an_empty_server_becomes_the_master(
    lab: Lab,
    program: str,
    payloads: bool,
    pipe: type[PipeSink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a snapshot with every type and a stream of all commands; what it had is gone."""
    if not payloads:
        monkeypatch.setattr("repltap.delivery.context.PAYLOADS", {})
    master, copy = lab.master(program), lab.master(program, "copy")
    features = master.flavour.features - {Feature.HASH_TTL}
    with master.client() as client:
        fill(client, master.flavour)
    Load(master, features=features, seed=3).write(60)
    relay = follow(lab, master)
    Load(master, features=features, seed=4).write(150)
    wait_for("nothing expires any more", lambda: not expiring(master))
    wait_for("the relay has it all", lambda: relay.offset == master.offset)
    with copy.client() as client:
        client.pipeline([("SELECT", 5), ("SET", "stale", 1), ("LPUSH", "list:one", "stale")])
        if Feature.FUNCTIONS in copy.flavour.features:
            stale = "#!lua name=stale\nredis.register_function('stale', function() return 1 end)"
            client.call("FUNCTION", "LOAD", stale)
    monkeypatch.setattr(pipe, "port", copy.port)
    run(relay)
    assert not pipe.errors
    assert (b"RESTORE" in pipe.names) is payloads
    assert payloads or b"RPUSH" in pipe.names
    assert copy.digest() == master.digest()
    # The stream does not say when a consumer was seen: those that it has not touched.
    compare_groups(master, copy, exact=payloads, keys="stream:[^0-9]*")
    compare_functions(master, copy)


def milliseconds(client: Client) -> int:
    """Read a server's clock."""
    seconds, microseconds = client.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_had_expired_when_the_snapshot_was_made(
    lab: Lab, program: str, pipe: type[PipeSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot has it still; nobody sees it, before its DEL comes or after."""
    master, copy = lab.master(program), lab.master(program, "copy")
    with master.client() as client, copy.client() as other:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        names = ("untouched", "touched")
        for name in names:
            client.call("SET", f"string:{name}", "v")
            client.call("RPUSH", f"list:{name}", "v")
        client.call("SET", "string:later", "v", "PX", 10**9)
        keys = [f"{kind}:{name}" for kind in ("string", "list") for name in names]
        for key in keys:
            client.call("PEXPIRE", key, 1)  # from when it is executed: the past would delete it
        expire_at = milliseconds(client) + 1
        wait_for("they expire", lambda: milliseconds(client) > expire_at)
        relay = follow(lab, master)
        assert client.call("DBSIZE") == 5  # the snapshot has them all
        assert client.pipeline([("EXISTS", key) for key in keys[1::2]]) == [0, 0]
        wait_for("the relay has it all", lambda: relay.offset == master.offset)
        # What is there already is replaced, too.
        other.pipeline([("RPUSH", key, "stale") for key in keys])
        monkeypatch.setattr(pipe, "port", copy.port)
        run(relay)
        assert not pipe.errors
        assert other.call("KEYS", "*") == [b"string:later"]
        assert client.pipeline([("EXISTS", key) for key in keys]) == [0] * 4
        assert copy.digest() == master.digest()


@pytest.mark.parametrize(
    ("program", "target"),
    [
        ("redis-7.0", "redis-6.2"),
        ("redis-8.2", "redis-7.0"),
        ("redis-8.2", "valkey-8.1"),
        ("redis-7.0", "valkey-9.1"),
        ("valkey-9.1", "redis-8.2"),
        ("valkey-9.1", "redis-6.2"),
        ("redis-6.2", "redis-8.2"),
    ],
)
def test_a_target_of_another_kind(
    lab: Lab, program: str, target: str, pipe: type[PipeSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it can't RESTORE is built for it."""
    master, copy = lab.master(program), lab.master(target, "copy")
    shapes = min(master.flavour, copy.flavour, key=lambda one: len(one.features - {Feature.TLS}))
    with master.client() as client:
        fill(client, shapes)
    relay = follow(lab, master)
    monkeypatch.setattr(pipe, "port", copy.port)
    monkeypatch.setattr(pipe, "server", target)
    run(relay)
    assert not pipe.errors
    with master.client() as one, copy.client() as other:
        for key in sorted(one.call("KEYS", "*")):
            # Scores, and fields that expire, are in no digest that all versions agree on.
            if key.startswith(b"zset"):
                assert scores(one, key) == scores(other, key)
            elif key.startswith(b"hash:expiring"):
                assert fields(one, key) == fields(other, key)
            else:
                words = ("DEBUG", "DIGEST-VALUE", key)
                assert one.call(*words) == other.call(*words), key
        for db in (0, 9):
            for client in (one, other):
                client.call("SELECT", db)
            assert one.call("DBSIZE") == other.call("DBSIZE")


def scores(client: Client, key: bytes) -> list[tuple[bytes, float]]:
    """Read a sorted set."""
    found = client.call("ZRANGE", key, 0, -1, "WITHSCORES")
    return [(member, float(score)) for member, score in zip(found[::2], found[1::2], strict=True)]


def fields(client: Client, key: bytes) -> dict[bytes, tuple[bytes, int]]:
    """Read a hash, and when its fields expire."""
    found = client.call("HGETALL", key)
    times = client.call("HPEXPIRETIME", key, "FIELDS", len(found) // 2, *found[::2])
    return dict(zip(found[::2], zip(found[1::2], times, strict=True), strict=True))
