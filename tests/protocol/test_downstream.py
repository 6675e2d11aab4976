from __future__ import annotations

import random

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset, Position, ReplId
from repltap.protocol.downstream import DownstreamProtocol, InputLimits, Role
from repltap.protocol.events import (
    AckReceived,
    CommandReceived,
    DownstreamEvent,
    FailoverRefused,
    PeerFailed,
    SyncRequested,
)
from repltap.protocol.psync import PsyncRequest
from repltap.protocol.resp import encode_command
from tests.protocol.ways import MARK, OTHER, REPLID, pieces

ID = ReplId(REPLID)
ways = pytest.mark.parametrize("way", ["whole", "bytewise"])
CAPA = encode_command(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2")
PORT = encode_command(b"REPLCONF", b"listening-port", b"7001")
FIRST = encode_command(b"PSYNC", b"?", b"-1")
AGAIN = encode_command(b"PSYNC", REPLID.encode(), b"101")


def ack(offset: int) -> bytes:
    return encode_command(b"REPLCONF", b"ACK", b"%d" % offset)


def client() -> DownstreamProtocol:
    return DownstreamProtocol(now=0.0, limits=InputLimits())


def talk(
    protocol: DownstreamProtocol, data: bytes, way: str = "whole", now: float = 0.0
) -> list[DownstreamEvent]:
    """Feed, and answer every command as a shell does."""
    events: list[DownstreamEvent] = []
    for piece in pieces(data, way):
        protocol.receive_data(piece, now)
        while batch := protocol.events_received():
            for event in batch:
                if isinstance(event, CommandReceived):
                    protocol.send(b"+" + event.args[0] + b"\r\n")
            events += batch
    return events


def waiting(wire: bytes = CAPA + AGAIN) -> DownstreamProtocol:
    protocol = client()
    events = talk(protocol, wire)
    assert isinstance(events[-1], SyncRequested)
    protocol.data_to_send()
    return protocol


def streaming(wire: bytes = CAPA + AGAIN) -> DownstreamProtocol:
    protocol = waiting(wire)
    protocol.grant_continue(ID)
    protocol.data_to_send()
    return protocol


def failed(events: list[DownstreamEvent]) -> str:
    assert isinstance(events[-1], PeerFailed)
    return events[-1].message


# -- a client -------------------------------------------------------------------------------------


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


# -- grants ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capa", "reply"),
    [(CAPA, b"+CONTINUE " + OTHER.encode() + b"\r\n"), (b"", b"+CONTINUE\r\n")],
)
def test_continue(capa: bytes, reply: bytes) -> None:
    protocol = waiting(capa + AGAIN)
    assert protocol.request == PsyncRequest(Position(ID, Offset(100)))
    assert not protocol.stream_open
    protocol.grant_continue(ReplId(OTHER))
    assert protocol.data_to_send() == reply
    assert protocol.role is Role.STREAM
    assert protocol.stream_open


@pytest.mark.parametrize("wire", [CAPA + FIRST, b"SYNC\r\n", encode_command(b"PSYNC", b"", b"87")])
def test_never_continue_for_one_that_holds_nothing(wire: bytes) -> None:
    protocol = waiting(wire)
    with pytest.raises(LocalProtocolError):
        protocol.grant_continue(ID)
    assert protocol.data_to_send() == b""


def test_hold_then_full_sync_by_length() -> None:
    protocol = waiting(CAPA + FIRST)
    protocol.tick(1.0)
    assert protocol.data_to_send() == b""
    protocol.hold()
    assert protocol.data_to_send() == b"\n"
    protocol.tick(1.5)
    assert protocol.data_to_send() == b""
    protocol.tick(2.0)
    protocol.tick(3.0)
    assert protocol.data_to_send() == b"\n\n"
    protocol.grant_full(ID, Offset(50))
    assert protocol.data_to_send() == b"+FULLRESYNC " + REPLID.encode() + b" 50\r\n"
    assert protocol.role is Role.TRANSFER
    protocol.tick(4.0)
    assert protocol.data_to_send() == b"\n"
    protocol.begin_transfer(1234, None)
    assert protocol.data_to_send() == b"$1234\r\n"
    for second in range(5, 400):
        protocol.tick(float(second))  # a silent replica in a transfer is a real one
    assert protocol.data_to_send() == b""
    assert not protocol.stream_open
    protocol.transfer_complete(400.0)
    assert protocol.data_to_send() == b""
    assert protocol.stream_open
    protocol.tick(459.0)
    assert protocol.events_received() == []
    assert protocol.data_to_send() == b""  # never a newline into the stream


def test_full_sync_by_mark_waits_for_an_ack_after_it() -> None:
    protocol = waiting(CAPA + FIRST)
    protocol.grant_full(ID, Offset(50))
    protocol.begin_transfer(None, MARK)
    assert protocol.data_to_send().endswith(b"\r\n$EOF:" + MARK + b"\r\n")
    assert talk(protocol, ack(0) + b"\n") == [AckReceived(Offset(0), None)]
    protocol.transfer_complete(1.0)
    assert protocol.data_to_send() == MARK
    assert protocol.role is Role.STREAM
    assert not protocol.stream_open
    talk(protocol, b"\n")
    assert not protocol.stream_open
    assert talk(protocol, ack(50)) == [AckReceived(Offset(50), None)]
    assert protocol.stream_open


def test_legacy_stream_after_a_mark_opens_by_a_negative_ack() -> None:
    protocol = waiting(encode_command(b"REPLCONF", b"capa", b"eof") + b"SYNC\r\n")
    protocol.grant_full(ID, Offset(50))
    protocol.begin_transfer(None, MARK)
    protocol.transfer_complete(0.0)
    assert talk(protocol, ack(-1)) == [AckReceived(Offset(0), None)]
    assert protocol.stream_open
    protocol.tick(1000.0)
    assert protocol.events_received() == []  # no ACKs are due from it


@pytest.mark.parametrize(("size", "mark"), [(None, None), (5, MARK), (None, b"short")])
def test_header_misuse(size: int | None, mark: bytes | None) -> None:
    protocol = waiting(CAPA + FIRST)
    protocol.grant_full(ID, Offset(0))
    with pytest.raises(LocalProtocolError):
        protocol.begin_transfer(size, mark)


def test_no_mark_without_the_capability() -> None:
    protocol = waiting(FIRST)
    protocol.grant_full(ID, Offset(0))
    with pytest.raises(LocalProtocolError):
        protocol.begin_transfer(None, MARK)
    with pytest.raises(LocalProtocolError):
        protocol.transfer_complete(0.0)
    protocol.begin_transfer(18, None)
    with pytest.raises(LocalProtocolError):
        protocol.begin_transfer(18, None)


def test_grants_need_a_request() -> None:
    protocol = client()
    for call in (
        protocol.hold,
        lambda: protocol.grant_continue(ID),
        lambda: protocol.grant_full(ID, Offset(0)),
        lambda: protocol.refuse(b"-ERR no"),
        lambda: protocol.begin_transfer(18, None),
        lambda: protocol.transfer_complete(0.0),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_refused_replica_is_a_client_again() -> None:
    protocol = waiting(CAPA + FIRST)
    protocol.hold()
    protocol.refuse(b"-NOMASTERLINK Can't SYNC while not connected with my master")
    line = b"\n-NOMASTERLINK Can't SYNC while not connected with my master\r\n"
    assert protocol.data_to_send() == line
    protocol.tick(5.0)
    assert protocol.data_to_send() == b""
    assert len(talk(protocol, FIRST)) == 1


# -- a replica ------------------------------------------------------------------------------------


@ways
def test_acks_keep_the_maximum(way: str) -> None:
    protocol = streaming()
    fack = encode_command(b"REPLCONF", b"ACK", b"120", b"FACK", b"110")
    events = talk(protocol, ack(150) + ack(140) + fack + b"\n", way, now=7.0)
    assert events == [
        AckReceived(Offset(150), None),
        AckReceived(Offset(150), None),
        AckReceived(Offset(150), Offset(110)),
    ]
    assert protocol.replica.acked == 150
    assert protocol.replica.durable == 110
    assert protocol.replica.last_ack_at == 7.0
    assert protocol.data_to_send() == b""


def test_ack_of_a_client_is_no_ack() -> None:
    protocol = client()
    assert talk(protocol, ack(10**12)) == []
    assert protocol.replica.acked is None
    assert protocol.data_to_send() == b""


def test_an_absurd_ack_is_a_sign_of_life_and_nothing_else() -> None:
    """It had stood in INFO and in the metrics as the replica's offset for good."""
    protocol = streaming()
    talk(protocol, ack(150), now=1.0)
    assert talk(protocol, ack(2**62 + 1) + ack(2**63 - 1), now=50.0) == []
    assert protocol.replica.acked == 150
    assert protocol.replica.last_ack_at == 50.0
    protocol.tick(109.0)
    assert protocol.events_received() == []
    fack = encode_command(b"REPLCONF", b"ACK", b"160", b"FACK", b"9223372036854775807")
    assert talk(protocol, fack, now=109.0) == [AckReceived(Offset(160), None)]


def test_silent_commands_of_a_replica() -> None:
    protocol = streaming()
    getack = encode_command(b"REPLCONF", b"GETACK", b"*")
    bad = encode_command(b"REPLCONF", b"ACK", b"x")
    assert talk(protocol, getack + bad + FIRST + b"SYNC\r\n*0\r\n") == []
    assert protocol.role is Role.STREAM
    assert protocol.data_to_send() == b""


@pytest.mark.parametrize("wire", [b"PING\r\n", b"GET k\r\n", PORT, b"*x\r\n"])
def test_a_replica_that_wants_a_reply_is_closed(wire: bytes) -> None:
    for protocol in (waiting(), streaming()):
        failed(talk(protocol, wire))
        assert protocol.role is Role.CLOSED
        assert protocol.data_to_send() == b""


def test_a_reply_can_not_reach_a_replica() -> None:
    with pytest.raises(LocalProtocolError):
        streaming().push(b"+OK\r\n")


def test_flood_of_acks_comes_in_portions() -> None:
    protocol = streaming()
    protocol.receive_data(ack(200) * 150, 1.0)
    sizes = []
    while events := protocol.events_received():
        sizes.append(len(events))
    assert sizes == [64, 64, 22]
    assert not protocol.has_pending_input


def test_timeouts() -> None:
    protocol = streaming()
    protocol.receive_data(b"\n", 30.0)
    assert protocol.events_received() == []
    protocol.tick(89.9)
    assert protocol.events_received() == []
    protocol.tick(90.0)
    assert "no ACK for 60 seconds" in failed(protocol.events_received())

    protocol = client()
    protocol.tick(10_000.0)
    protocol.receive_data(b"*1\r\n", 10_000.0)
    assert protocol.events_received() == []
    protocol.tick(10_059.0)
    assert protocol.events_received() == []
    protocol.tick(10_060.0)
    assert "half a command" in failed(protocol.events_received())


@pytest.mark.parametrize("rest", [b"*3\r\n$300\r\n" + b"x" * 200, b"x" * 200])
def test_half_a_command_ends_in_time_from_its_first_byte(rest: bytes) -> None:
    """One more byte each minute had kept it, and its memory, for as long as the peer liked."""
    protocol = client()
    protocol.receive_data(b"\n" + rest[:1], 100.0)
    for second in range(100, 160):
        protocol.receive_data(rest[second - 99 : second - 98], float(second))
        assert protocol.events_received() == []
        protocol.tick(float(second))
    protocol.tick(160.0)
    assert "half a command" in failed(protocol.events_received())


def test_whole_commands_give_the_next_one_its_own_time() -> None:
    protocol = streaming()
    wire = ack(150)
    protocol.receive_data(wire[:9], 0.0)
    protocol.events_received()
    for second in range(1, 200, 20):
        # Each read ends one and begins another.
        assert talk(protocol, wire[9:] + wire[:9], now=float(second)) != []
        protocol.tick(second + 19.0)
        assert protocol.events_received() == []


def test_eof() -> None:
    protocol = client()
    protocol.receive_eof(0.0)
    assert protocol.events_received() == []
    assert protocol.role is Role.CLOSED
    for protocol in (waiting(), streaming()):
        protocol.receive_eof(0.0)
        assert "closed" in failed(protocol.events_received())
        assert protocol.role is Role.CLOSED
