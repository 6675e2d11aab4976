"""The stream of commands, and what is acknowledged of it."""

from __future__ import annotations

from repltap.position import Offset, Position, ReplId
from repltap.protocol.events import StreamBytes
from repltap.protocol.resp import encode_command
from repltap.protocol.upstream import GETACK, UpstreamProtocol, UpstreamSettings
from tests.protocol.links import FULL, HELD, STREAM, at_psync, streaming
from tests.protocol.ways import MARK, ack, feed, joined, rdb, ways


def test_stream_event_lends_the_callers_buffer() -> None:
    protocol = streaming()
    buffer = bytearray(STREAM + b"....")
    protocol.receive_data(memoryview(buffer)[: len(STREAM)], 0.0)
    (event,) = protocol.events_received()
    assert isinstance(event, StreamBytes)
    assert event.data.obj is buffer
    assert event.data == STREAM


def test_getack_at_every_cut() -> None:
    before = encode_command(b"SET", b"k", b"v")
    wire = before + GETACK + encode_command(b"ping")
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = streaming()
        protocol.set_acknowledged(Offset(1000), None)
        events = feed(protocol, wire, way)
        assert joined(events, StreamBytes) == wire
        assert protocol.data_to_send() == ack(100 + len(wire)), way
        assert protocol.data_to_send() == b""


def test_getack_answered_as_soon_as_it_is_whole() -> None:
    protocol = streaming()
    for index in range(len(GETACK)):
        protocol.receive_data(GETACK[index : index + 1], 0.0)
        assert bool(protocol.data_to_send()) == (index == len(GETACK) - 1)


def test_getack_cut_by_the_snapshots_end_is_not_one() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$%d\r\n" % len(data) + data + GETACK[5:], "whole")
    assert protocol.data_to_send() == ack(50)  # the first ACK, not an answer
    protocol.receive_data(b"*", 0.0)
    assert protocol.data_to_send() == b""


def test_ack_says_no_more_than_allowed() -> None:
    protocol = streaming()
    protocol.receive_data(STREAM + GETACK, 0.5)
    protocol.set_acknowledged(Offset(120), None)
    assert protocol.data_to_send() == ack(120)
    protocol.set_acknowledged(Offset(10**12), Offset(110))
    protocol.tick(1.5)
    total = 100 + len(STREAM) + len(GETACK)
    sent = encode_command(b"REPLCONF", b"ACK", b"%d" % total, b"FACK", b"110")
    assert protocol.data_to_send() == sent
    assert protocol.acked == total


@ways
def test_nothing_that_the_shell_has_not_stored_is_acknowledged(way: str) -> None:
    """What was glued behind a grant or an RDB, and waited for the shell, had been claimed."""
    resumed = at_psync(HELD)
    resumed.set_acknowledged(Offset(10**12), None)  # of before the grant
    feed(resumed, b"+CONTINUE\r\n" + STREAM + GETACK, way)
    assert resumed.received == 100 + len(STREAM + GETACK)
    data = rdb()
    fresh = at_psync()
    feed(fresh, FULL + b"$%d\r\n" % len(data) + data + STREAM, way)
    marked = at_psync()
    feed(marked, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, way)
    feed(marked, STREAM, way)
    for protocol, granted in ((resumed, 100), (fresh, 50), (marked, 50)):
        assert protocol.data_to_send() == ack(granted)
        protocol.tick(1.5)
        assert protocol.data_to_send() == ack(granted)
        protocol.set_acknowledged(Offset(granted + 23), None)
        protocol.tick(3.0)
        assert protocol.data_to_send() == ack(granted + 23)
    resumed.set_acknowledged(Offset(100 + len(STREAM + GETACK)), None)
    assert resumed.data_to_send() == ack(100 + len(STREAM + GETACK))  # what GETACK asked for


def test_getack_is_answered_again_when_what_it_asked_for_is_durable() -> None:
    protocol = streaming()
    protocol.set_acknowledged(Offset(100), Offset(100))
    protocol.receive_data(STREAM + GETACK, 0.1)
    end = 100 + len(STREAM) + len(GETACK)
    protocol.set_acknowledged(Offset(end), Offset(100))
    assert protocol.data_to_send().endswith(b"FACK\r\n$3\r\n100\r\n")  # at once, truthfully
    protocol.set_acknowledged(Offset(end), Offset(110))
    assert protocol.data_to_send().endswith(b"FACK\r\n$3\r\n110\r\n")  # a step nearer
    protocol.set_acknowledged(Offset(end), Offset(end))
    said = b"%d" % end
    assert protocol.data_to_send() == encode_command(b"REPLCONF", b"ACK", said, b"FACK", said)
    protocol.set_acknowledged(Offset(end), Offset(end))
    assert protocol.data_to_send() == b""


def test_getack_answered_in_full_is_answered_once() -> None:
    protocol = streaming()
    protocol.receive_data(GETACK, 0.1)
    protocol.set_acknowledged(Offset(137), None)
    assert protocol.data_to_send() == ack(137)
    protocol.set_acknowledged(Offset(137), None)
    assert protocol.data_to_send() == b""


def test_newline_in_the_stream_counts() -> None:
    protocol = streaming()
    protocol.receive_data(b"\n", 0.0)
    assert protocol.received == 101


def test_stream_bytes_that_are_stored_already_need_no_event() -> None:
    protocol = at_psync()
    feed(protocol, FULL + b"$%d\r\n" % len(rdb()) + rdb(), "whole", now=1.0)
    protocol.set_acknowledged(Offset(50), None)
    protocol.data_to_send()
    assert not protocol.stream_stored(memoryview(b"*1\r\n$4\r\nping\r\n"), 2.0)
    assert protocol.received == 64
    assert protocol.stream_stored(memoryview(GETACK), 2.0)
    assert protocol.events_received() == []
    protocol.set_acknowledged(Offset(64 + len(GETACK)), None)
    assert protocol.data_to_send() == ack(64 + len(GETACK))


def test_a_grant_is_not_claimed_where_the_policy_forbids_it() -> None:
    """Found by thinking of a relay killed between storing a write and its quorum."""
    protocol = UpstreamProtocol(
        UpstreamSettings(listening_port=1, claim_granted=False),
        resume=Position(ReplId("a" * 40), Offset(500)),
        now=0.0,
    )
    protocol.receive_data(b"+PONG\r\n", 0.0)
    protocol.receive_data(b"+OK\r\n" * 2, 0.0)
    protocol.receive_data(b"+CONTINUE\r\n", 0.0)
    assert protocol.data_to_send().endswith(ack(0))
    protocol.set_acknowledged(Offset(400), None)
    protocol.tick(1.0)
    assert protocol.data_to_send() == ack(400)
