"""What the tests of the downstream protocol share."""

from __future__ import annotations

from repltap.position import ReplId
from repltap.protocol.downstream import DownstreamProtocol, InputLimits
from repltap.protocol.events import CommandReceived, DownstreamEvent, PeerFailed, SyncRequested
from repltap.protocol.resp import encode_command
from tests.protocol.ways import REPLID, pieces

ID = ReplId(REPLID)
CAPA = encode_command(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2")
PORT = encode_command(b"REPLCONF", b"listening-port", b"7001")
FIRST = encode_command(b"PSYNC", b"?", b"-1")
AGAIN = encode_command(b"PSYNC", REPLID.encode(), b"101")


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
