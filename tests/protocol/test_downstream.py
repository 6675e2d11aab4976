"""A client, and what it may say before it is a replica."""

from __future__ import annotations

import random

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset
from repltap.protocol.downstream import Role
from repltap.protocol.events import CommandReceived, FailoverRefused, PeerFailed, SyncRequested
from repltap.protocol.psync import PsyncRequest
from repltap.protocol.resp import encode_command
from tests.protocol.peers import AGAIN, CAPA, FIRST, ID, PORT, client, failed, talk
from tests.protocol.ways import REPLID, ack, ways


@ways
def test_a_real_replicas_handshake(way: str) -> None:
    protocol = client()
    wire = encode_command(b"PING") + encode_command(b"AUTH", b"x") + PORT + CAPA + FIRST
    events = talk(protocol, wire, way)
    assert events == [
        CommandReceived([b"PING"]),
        CommandReceived([b"AUTH", b"x"]),
        SyncRequested(PsyncRequest(None), legacy=False),
    ]
    assert protocol.data_to_send() == b"+PING\r\n+AUTH\r\n+OK\r\n+OK\r\n"  # in order
    assert protocol.replica.listening_port == 7001
    assert protocol.replica.capabilities == {"eof", "psync2"}
    assert protocol.role is Role.WAITING


@ways
def test_inline_sync_as_redis_cli(way: str) -> None:
    protocol = client()
    wire = encode_command(b"REPLCONF", b"rdb-only", b"1") + b"SYNC\r\n"
    assert talk(protocol, wire, way) == [SyncRequested(PsyncRequest(None), legacy=True)]
    assert protocol.replica.legacy_sync
    protocol.data_to_send()
    protocol.hold()
    protocol.grant_full(ID, Offset(50))
    protocol.begin_transfer(18, None)
    assert protocol.data_to_send() == b"\n$18\r\n"
    protocol.transfer_complete(1.0)
    assert protocol.role is Role.CLOSED  # rdb-only: flush and close, no failure
    assert protocol.events_received() == []


def test_one_command_at_a_time() -> None:
    protocol = client()
    protocol.receive_data(b"PING\r\nECHO a\r\n" + PORT, 0.0)
    assert protocol.has_pending_input
    assert protocol.events_received() == [CommandReceived([b"PING"])]
    assert protocol.events_received() == []
    assert protocol.has_pending_input
    protocol.send(b"+PONG\r\n")
    assert protocol.events_received() == [CommandReceived([b"ECHO", b"a"])]
    protocol.push(b"*message*")
    assert protocol.events_received() == []
    protocol.send(b"")
    assert protocol.events_received() == []
    assert not protocol.has_pending_input
    assert protocol.data_to_send() == b"+PONG\r\n*message*+OK\r\n"


def test_half_a_command_is_not_pending() -> None:
    protocol = client()
    protocol.receive_data(b"*1\r\n$4\r\nPI", 0.0)
    assert protocol.events_received() == []
    assert not protocol.has_pending_input


@pytest.mark.parametrize("wire", [FIRST, encode_command(b"SYNC"), PORT, b"REPLCONF\r\n"])
def test_replication_needs_authentication(wire: bytes) -> None:
    protocol = client()
    protocol.authenticated = False
    assert talk(protocol, wire) == []
    assert protocol.data_to_send() == b"-NOAUTH Authentication required.\r\n"
    assert protocol.role is Role.CLIENT
    protocol.authenticated = True
    talk(protocol, wire)
    assert b"NOAUTH" not in protocol.data_to_send()


@pytest.mark.parametrize(("wire", "name"), [(FIRST, b"psync"), (b"SYNC\r\n", b"sync")])
def test_a_user_that_may_not_replicate(wire: bytes, name: bytes) -> None:
    protocol = client()
    protocol.forbidden_to = "watch"
    assert talk(protocol, wire) == []
    refusal = b"-NOPERM User watch has no permissions to run the '%b' command\r\n"
    assert protocol.data_to_send() == refusal % name
    assert protocol.role is Role.CLIENT
    protocol.forbidden_to = None
    talk(protocol, wire)
    assert protocol.role is Role.WAITING


@pytest.mark.parametrize("wire", [b"PSYNC ? -1\r\n", b"SYNC\r\n", b"REPLCONF capa eof\r\n"])
def test_in_a_transaction_all_commands_are_the_shell_s(wire: bytes) -> None:
    protocol = client()
    protocol.in_transaction = True
    assert talk(protocol, wire) == [CommandReceived(wire.split())]
    answer = b"+%b\r\n" % wire.split()[0]  # from `talk`
    assert (protocol.role, protocol.data_to_send()) == (Role.CLIENT, answer)


def test_unauthenticated_limits_apply() -> None:
    protocol = client()
    protocol.authenticated = False
    failed(talk(protocol, b"*11\r\n"))
    assert protocol.data_to_send() == b"-ERR Protocol error: unauthenticated multibulk length\r\n"


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"PSYNC x\r\n", b"-ERR wrong number of arguments for 'psync' command\r\n"),
        (b"SYNC now\r\n", b"-ERR wrong number of arguments for 'sync' command\r\n"),
        (b"PSYNC ? x\r\n", b"-ERR value is not an integer or out of range\r\n"),
        (
            encode_command(b"REPLCONF", b"rdb-filter-only", b"") + b"SYNC\r\n",
            b"+OK\r\n-ERR Filtered replica requires EOF capability\r\n",
        ),
    ],
)
def test_refused_requests(wire: bytes, reply: bytes) -> None:
    protocol = client()
    assert talk(protocol, wire) == []
    assert protocol.data_to_send() == reply
    assert protocol.role is Role.CLIENT


def test_failover_is_refused_at_once() -> None:
    protocol = client()
    events = talk(protocol, encode_command(b"PSYNC", REPLID.encode(), b"7", b"FAILOVER"))
    assert events == [FailoverRefused()]
    assert protocol.data_to_send() == b"-ERR PSYNC FAILOVER can't be sent to a master.\r\n"
    assert protocol.role is Role.CLIENT


@ways
@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"*1\r\n$10000000000\r\n", b"invalid bulk length"),
        (b"*1000000\r\n", b"invalid multibulk length"),
        (b"x" * 70_000, b"too big inline request"),
    ],
)
def test_hostile_input(wire: bytes, text: bytes, way: str) -> None:
    protocol = client()
    failed(talk(protocol, wire + b"more\r\n", way))
    assert protocol.role is Role.CLOSED
    assert protocol.data_to_send() == b"-ERR Protocol error: " + text + b"\r\n"
    assert talk(protocol, b"PING\r\n") == []
    assert not protocol.has_pending_input


def test_http_is_cut_off() -> None:
    protocol = client()
    assert "HTTP" in failed(talk(protocol, b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSYNC\r\n"))
    assert protocol.data_to_send() == b""


@pytest.mark.parametrize("request_", [FIRST, AGAIN, b"PSYNC ? -1\r\n", b"SYNC\r\n"])
@pytest.mark.parametrize("behind", [b"GET x\r\n", b"*abc\r\n", PORT, b"\n" + ack(5) + b"*1\r\n:"])
def test_a_request_and_what_breaks_it_in_one_read_is_a_failure_alone(
    request_: bytes, behind: bytes
) -> None:
    """The shell granted a connection that was CLOSED, and ended with our own error."""
    protocol = client()
    protocol.receive_data(CAPA + request_ + behind, 0.0)
    (event,) = protocol.events_received()
    assert isinstance(event, PeerFailed)
    assert protocol.data_to_send() == b"+OK\r\n"  # and no error line into what could be a stream
    for call in (
        protocol.hold,
        lambda: protocol.grant_continue(ID),
        lambda: protocol.grant_full(ID, Offset(0)),
        lambda: protocol.refuse(b"-ERR no"),
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert protocol.data_to_send() == b""


def test_a_refused_failover_is_told_though_the_peer_fails_in_the_same_read() -> None:
    protocol = client()
    wire = encode_command(b"PSYNC", REPLID.encode(), b"7", b"FAILOVER") + b"*abc\r\n"
    protocol.receive_data(wire, 0.0)
    events = protocol.events_received()
    assert events[:-1] == [FailoverRefused()]
    failed(events)


def test_random_bytes_never_raise() -> None:
    rng = random.Random(5)
    for start in (b"", CAPA + AGAIN):
        for _ in range(300):
            protocol = client()
            talk(protocol, start)
            for _ in range(5):
                talk(protocol, bytes(rng.choices(b"*$12\r\n\r\nPSYNC? -", k=rng.randrange(80))))
                protocol.tick(1.0)
            protocol.receive_eof(1.0)
            assert protocol.role is Role.CLOSED
