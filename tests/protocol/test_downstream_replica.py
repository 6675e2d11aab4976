"""A peer that has become a replica: its ACKs, its silence and its end."""

from __future__ import annotations

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset
from repltap.protocol.downstream import Role
from repltap.protocol.events import AckReceived
from repltap.protocol.resp import encode_command
from tests.protocol.peers import FIRST, PORT, client, failed, streaming, talk, waiting
from tests.protocol.ways import ack, ways


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
