"""What a replica that asks is granted, and with which words."""

from __future__ import annotations

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset, Position, ReplId
from repltap.protocol.downstream import Role
from repltap.protocol.events import AckReceived
from repltap.protocol.psync import PsyncRequest
from repltap.protocol.resp import encode_command
from tests.protocol.peers import AGAIN, CAPA, FIRST, ID, client, talk, waiting
from tests.protocol.ways import MARK, OTHER, REPLID, ack


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
