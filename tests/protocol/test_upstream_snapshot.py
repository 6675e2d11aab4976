"""The snapshot behind +FULLRESYNC, in both forms."""

from __future__ import annotations

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset
from repltap.protocol.events import (
    FailureReason,
    FullResyncGranted,
    LinkFailed,
    SnapshotChunk,
    SnapshotReceived,
    SnapshotStarted,
    StreamBytes,
)
from repltap.protocol.upstream import UpstreamProtocol, UpstreamSettings, UpstreamState
from tests.protocol.links import FULL, GRANTED, HELD, STREAM, R, at_psync, failure
from tests.protocol.ways import MARK, ack, feed, joined, others, rdb, ways


def test_length_form_with_glued_stream_at_every_cut() -> None:
    data = rdb()
    head = b"\n\n" + FULL + b"\n\r\n$%d\r\n" % len(data)
    wire = head + data + STREAM
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = at_psync()
        events = feed(protocol, wire, way)
        crc = int.from_bytes(data[-8:], "little")
        assert others(events) == [
            GRANTED,
            SnapshotStarted(len(data)),
            SnapshotReceived(len(data), crc, True),
        ]
        assert joined(events, SnapshotChunk) == data
        assert joined(events, StreamBytes) == STREAM
        assert protocol.received == 50 + len(STREAM)


def test_mark_form_at_every_cut() -> None:
    data = rdb()
    wire = FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = at_psync()
        events = feed(protocol, wire, way)
        crc = int.from_bytes(data[-8:], "little")
        assert others(events) == [
            GRANTED,
            SnapshotStarted(None),
            SnapshotReceived(len(data), crc, True),
        ]
        assert joined(events, SnapshotChunk) == data
        assert protocol.state is UpstreamState.STREAM


def test_after_an_end_mark_acks_come_often_until_the_stream_begins() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data[:-3], "whole", now=1.0)
    protocol.tick(2.5)
    assert protocol.data_to_send() == b""
    feed(protocol, data[-3:] + MARK, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    assert protocol.acked == 50
    protocol.tick(3.1)
    assert protocol.data_to_send() == b""
    protocol.tick(3.25)
    assert protocol.data_to_send() == ack(50)
    feed(protocol, b"*1\r\n$4\r\nping\r\n", "whole", now=3.3)
    protocol.set_acknowledged(Offset(64), None)
    assert protocol.data_to_send() == ack(64)
    protocol.tick(4.0)
    assert protocol.data_to_send() == b""
    protocol.tick(4.25)
    assert protocol.data_to_send() == ack(64)


def test_after_a_known_length_an_ack_at_once_and_then_each_second() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$%d\r\n" % len(data) + data, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    protocol.tick(3.9)
    assert protocol.data_to_send() == b""
    protocol.tick(4.0)
    assert protocol.data_to_send() == ack(50)
    protocol.tick(5.0)
    assert protocol.data_to_send() == ack(50)


def test_frequent_acks_end_by_themselves_on_an_idle_master() -> None:
    protocol = at_psync()
    feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + rdb() + MARK, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    for quarter in range(1, 24):
        protocol.tick(3.0 + quarter / 4)
        protocol.data_to_send()
    protocol.tick(9.0)
    assert protocol.data_to_send() == b""


@ways
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"-ERR BGSAVE failed, replication can't continue", R.SYNC_ABORTED),
        (b"$EOF:short", R.PROTOCOL),
        (b"$EOF:" + MARK + b"x", R.PROTOCOL),
        (b"$", R.PROTOCOL),
        (b"$-1", R.PROTOCOL),
        (b"$12x", R.PROTOCOL),
        (b"$99999999999999999999", R.PROTOCOL),
        (b"$17", R.PROTOCOL),
        (b"$1001", R.TOO_LARGE),
        (b"REDIS0011", R.PROTOCOL),
        (b"+CONTINUE", R.PROTOCOL),
    ],
)
def test_refused_headers(line: bytes, reason: FailureReason, way: str) -> None:
    protocol = at_psync(settings=UpstreamSettings(listening_port=1, max_snapshot_bytes=1000))
    events = feed(protocol, FULL + line + b"\r\nmore", way)
    assert failure(events).reason is reason
    assert events[0] == GRANTED
    assert len(events) == 2


@ways
@pytest.mark.parametrize("header", [b"$500\r\n", b"$EOF:" + MARK + b"\r\n"])
def test_what_is_no_rdb_ends_the_link_before_any_of_it_is_handed_on(
    header: bytes, way: str
) -> None:
    events = feed(at_psync(), FULL + header + b"<html><body>" * 40, way)
    assert [type(event) for event in events] == [FullResyncGranted, SnapshotStarted, LinkFailed]
    assert failure(events).reason is R.PROTOCOL
    assert "b'<html><bo'" in failure(events).message


@ways
def test_wrong_checksum(way: str) -> None:
    data = rdb(checksum="wrong")
    events = feed(at_psync(), FULL + b"$%d\r\n" % len(data) + data + STREAM, way)
    assert failure(events).reason is R.CHECKSUM
    assert not any(isinstance(e, SnapshotReceived | StreamBytes) for e in events)


@ways
def test_mark_form_without_checksum_settles(way: str) -> None:
    data = rdb(checksum="none")
    protocol = at_psync()
    events = feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, way, now=1.0)
    assert protocol.state is UpstreamState.SNAPSHOT
    protocol.tick(1.2)
    assert protocol.state is UpstreamState.SNAPSHOT
    protocol.tick(1.6)
    events += protocol.events_received()
    assert joined(events, SnapshotChunk) == data
    assert isinstance(events[-1], SnapshotReceived)
    assert not events[-1].checksum_present
    assert protocol.data_to_send() == ack(50)


def test_mark_form_wrong_checksum_settles_to_a_failure() -> None:
    protocol = at_psync()
    wire = FULL + b"$EOF:" + MARK + b"\r\n" + rdb(checksum="wrong") + MARK
    feed(protocol, wire, "whole")
    protocol.tick(1.0)
    assert failure(protocol.events_received()).reason is R.CHECKSUM


@pytest.mark.parametrize("checksum", ["right", "none"])
def test_rdb_only_ends_without_a_failure(checksum: str) -> None:
    protocol = at_psync(settings=UpstreamSettings(listening_port=1, rdb_only=True))
    data = rdb(checksum=checksum)
    events = feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, "bytewise")
    protocol.receive_eof(0.1)
    events += protocol.events_received()
    assert joined(events, SnapshotChunk) == data
    assert isinstance(events[-1], SnapshotReceived)
    assert protocol.state is UpstreamState.CLOSED
    assert protocol.data_to_send() == b""


def test_rdb_only_can_not_resume() -> None:
    with pytest.raises(LocalProtocolError):
        UpstreamProtocol(UpstreamSettings(listening_port=1, rdb_only=True), resume=HELD, now=0.0)
