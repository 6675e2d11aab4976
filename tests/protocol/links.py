"""What the tests of the upstream protocol share."""

from __future__ import annotations

from repltap.position import Offset, Position, ReplId
from repltap.protocol.events import FailureReason, FullResyncGranted, LinkFailed
from repltap.protocol.resp import encode_command
from repltap.protocol.upstream import UpstreamProtocol, UpstreamSettings, UpstreamState
from tests.protocol.ways import REPLID, feed

R = FailureReason
PLAIN = UpstreamSettings(listening_port=7001)
HELD = Position(ReplId(REPLID), Offset(100))
FULL = b"+FULLRESYNC " + REPLID.encode() + b" 50\r\n"
GRANTED = FullResyncGranted(ReplId(REPLID), Offset(50))
STREAM = encode_command(b"SELECT", b"0") + encode_command(b"SET", b"a", b"1")


def at_psync(
    resume: Position | None = None, settings: UpstreamSettings = PLAIN
) -> UpstreamProtocol:
    protocol = UpstreamProtocol(settings, resume=resume, now=0.0)
    protocol.receive_data(b"+PONG\r\n", 0.0)
    while protocol.state is UpstreamState.CONFIGURE:
        protocol.receive_data(b"+OK\r\n", 0.0)
    protocol.data_to_send()
    return protocol


def streaming(way: str = "whole") -> UpstreamProtocol:
    protocol = at_psync(HELD)
    feed(protocol, b"+CONTINUE\r\n", way)
    protocol.data_to_send()
    return protocol


def failure(events: list[object]) -> LinkFailed:
    assert isinstance(events[-1], LinkFailed)
    assert "\n" not in events[-1].message
    return events[-1]
