"""Broken and hostile clients cost bounded memory and never disturb the others."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest
from hiredis import ReplyError

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only

# What a client may cost at most; all of them together have to stay below it.
GROWTH_BYTES = 24 << 20
PEAK_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class _Scene:
    """A relay with one honest replica, under load."""

    master: Server
    relay: Relay
    replica: Server


TIMED = pytest.mark.parametrize("scene", [8], indirect=True, ids=["timed"])
"""Tests that wait for the timeout: no shorter, for the honest replica has to be heard within it."""


@pytest.fixture
def scene(lab: Lab, request: pytest.FixtureRequest) -> Iterator[_Scene]:
    """Give a scene; afterwards the honest replica must have noticed nothing."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features, pause_seconds=0.004)
    load.write(100)
    relay = lab.relay(master, listen_timeout_seconds=getattr(request, "param", 60))
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    before = relay.memory_bytes()
    with load:
        yield _Scene(master, relay, replica)
    wait_same(master, replica)
    assert "lost" not in replica.log.lower(), "the honest replica lost its link"
    assert (master.syncs.full, master.syncs.partial_ok) == (1, 0)
    assert relay.memory_bytes() - before < GROWTH_BYTES
    assert relay.memory_bytes("VmHWM") < PEAK_BYTES
    assert "Traceback" not in relay.log


def test_random_bytes(scene: _Scene) -> None:
    """Noise is answered with an error or a closed connection."""
    rng = random.Random(3)
    for first in (b"", b"*", b"*3\r\n$", b"PSYNC ", b"\x00", b"*1\r\n$4\r\nPING\r\n"):
        for _ in range(5):
            with socket.create_connection(
                ("127.0.0.1", scene.relay.port), PATIENCE_SECONDS
            ) as link:
                with suppress(ConnectionError, TimeoutError):
                    link.sendall(first + rng.randbytes(200_000))
                link.settimeout(0.05)
                with suppress(ConnectionError, TimeoutError):
                    while link.recv(1 << 16):
                        pass
    assert scene.relay.call("PING") == b"PONG"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"*1\r\n$10737418240\r\n", b"invalid bulk length"),
        (b"*2000000000\r\n", b"invalid multibulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$-7\r\n", b"invalid bulk length"),
        (b"*1\r\n:4\r\n", b"expected '$'"),
        (b"A" * 200_000, b"too big inline request"),
        (b"*" + b"1" * 200_000, b"too big mbulk count string"),
    ],
    ids=["10-GB-bulk", "2-G-arguments", "negative", "not-a-bulk", "long-line", "long-count"],
)
def test_impossible_lengths(scene: _Scene, sent: bytes, answer: bytes) -> None:
    """What would have to be kept in memory is refused before it arrives, as Redis words it."""
    with RawReplica(scene.relay.port) as client:
        with suppress(ConnectionError):
            client.send(sent)
            line = client.line()
            assert line.startswith(b"-ERR Protocol error")
            assert answer in line
        assert client.is_closed()


@TIMED
def test_bulk_that_never_ends(scene: _Scene) -> None:
    """Many clients that send all but the end of the longest command there is are bounded too.

    Of 4 MiB each, which it once was, three hundred had cost 2 GB.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(RawReplica(scene.relay.port)) for _ in range(300)]
        for client in clients:
            client.send(b"*2\r\n$4\r\nECHO\r\n$65500\r\n" + b"x" * 65_499)
        assert scene.relay.call("PING") == b"PONG"
        assert all(client.is_closed() for client in clients), "half a command, then silence"


def test_a_million_commands_without_reading(scene: _Scene) -> None:
    """Who does not read is not read from: the kernel's buffers are all that fills."""
    with RawReplica(scene.relay.port, read_buffer_bytes=4096) as client:
        client.socket.settimeout(2)
        pings = b"*1\r\n$4\r\nPING\r\n" * 10_000
        with suppress(TimeoutError, ConnectionError):
            for _ in range(100):
                client.send(pings)
        assert scene.relay.call("PING") == b"PONG"
        assert scene.relay.memory_bytes("VmHWM") < PEAK_BYTES


def test_a_million_commands_with_reading(scene: _Scene) -> None:
    """The same client, reading: it gets its million answers and the others their turns."""
    count, batch = 200_000, 2_000
    with RawReplica(scene.relay.port) as client:
        client.socket.settimeout(PATIENCE_SECONDS)
        for _ in range(count // batch):
            client.send(b"*1\r\n$4\r\nPING\r\n" * batch)
            missing = batch * len(b"+PONG\r\n")
            while missing:
                answer = client.socket.recv(missing)
                assert answer, "closed"
                missing -= len(answer)


@TIMED
def test_half_a_psync_and_silence(scene: _Scene) -> None:
    """Half a command is waited for until the timeout, not longer."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawReplica(scene.relay.port)) for _ in range(50)]
        for client in clients:
            client.send(b"*3\r\n$5\r\nPSYNC\r\n$40\r\n0123")
        assert all(client.is_closed() for client in clients)


@TIMED
def test_replica_that_never_reads(scene: _Scene) -> None:
    """A replica that asks for everything and reads nothing is dropped after the timeout."""
    with RawReplica(scene.relay.port, read_buffer_bytes=4096) as client:
        client.send(b"PSYNC ? -1\r\n")
        assert client.line().startswith(b"+FULLRESYNC ")
        wait_for("it is dropped", lambda: len(scene.relay.status()["replicas"]) == 1)


@TIMED
def test_replica_that_never_acknowledges(scene: _Scene) -> None:
    """A replica that reads but never ACKs is dropped after the timeout."""
    with RawReplica(scene.relay.port) as client:
        client.send(b"PSYNC ? -1\r\n")
        assert client.is_closed()


def test_replica_that_sends_commands(scene: _Scene) -> None:
    """On a replica's link a reply would be a stream byte: it is closed instead."""
    with RawReplica(scene.relay.port) as client:
        client.send(b"PSYNC ? -1\r\n")
        assert client.line().startswith(b"+FULLRESYNC ")
        client.send(b"*1\r\n$4\r\nPING\r\n")
        assert client.is_closed()


@pytest.mark.parametrize(
    "request_line",
    [
        b"PSYNC 0000000000000000000000000000000000000000 1",
        b"PSYNC ? -1 extra words here",
        b"PSYNC ? 99999999999999999999999999",
        b"PSYNC abc def",
        b"PSYNC",
        b"REPLCONF listening-port",
        b"REPLCONF ACK 99999999999999",
        b"REPLCONF capa " + b"x" * 5_000,
    ],
)
def test_odd_requests(scene: _Scene, request_line: bytes) -> None:
    """Odd requests get an answer or a full sync, never a byte of stream that isn't theirs."""
    with RawReplica(scene.relay.port) as client:
        # REPLCONF ACK from whom is no replica has no answer: something has to follow it.
        follower = b"" if b"PSYNC" in request_line else b"PING\r\n"
        client.send(request_line + b"\r\n" + follower)
        line = client.line()
        assert line.startswith((b"-", b"+FULLRESYNC ", b"+OK", b"+PONG"))
        assert not line.startswith(b"+CONTINUE")


def _answers(relay: Relay) -> bool:
    try:
        return relay.call("PING") == b"PONG"
    except ReplyError:  # the connections that were closed may not have been noticed yet
        return False


def test_many_idle_connections(lab: Lab) -> None:
    """Beyond the limit a client is told so; the replica that is there stays."""
    master = lab.master("redis-7.0")
    relay = lab.relay(master, listen_max_clients=60)
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_link()
    with ExitStack() as stack:
        clients = [stack.enter_context(RawReplica(relay.port)) for _ in range(80)]
        assert b"max number of clients reached" in clients[-1].line()
        wait_same(master, replica)
    wait_for("the relay answers again", lambda: _answers(relay))
    assert replica.full_syncs_received == 1
