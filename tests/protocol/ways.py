"""The three ways every input is fed: whole, one byte at a time, and in two parts at each place.

And what is fed: an RDB, ACKs.
"""

from __future__ import annotations

from collections.abc import Iterator

import anycrc
import pytest

from repltap.protocol.events import SnapshotChunk, StreamBytes, UpstreamEvent
from repltap.protocol.resp import encode_command
from repltap.protocol.upstream import UpstreamProtocol

REPLID = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
MARK = b"m" * 20 + b"k" * 20
ways = pytest.mark.parametrize("way", ["whole", "bytewise"])
_crc = anycrc.Model("CRC64-REDIS")


def rdb(body: bytes = b"\xfa\x01a\x01b", *, checksum: str = "right") -> bytes:
    """Make bytes that end as an RDB does; `checksum` is right, none or wrong."""
    content = b"REDIS0011" + body + b"\xff"
    stored = {"right": _crc.calc(content), "none": 0, "wrong": _crc.calc(content) ^ 1}[checksum]
    return content + stored.to_bytes(8, "little")


def ack(offset: int, durable: int | None = None) -> bytes:
    """An ACK as it stands on the wire."""
    fack = () if durable is None else (b"FACK", b"%d" % durable)
    return encode_command(b"REPLCONF", b"ACK", b"%d" % offset, *fack)


def pieces(data: bytes, way: str) -> Iterator[bytes]:
    if way == "bytewise":
        yield from (data[i : i + 1] for i in range(len(data)))
    elif way == "whole":
        yield data
    else:  # a number: cut there
        yield data[: int(way)]
        yield data[int(way) :]


def feed(
    protocol: UpstreamProtocol, data: bytes, way: str, now: float = 0.0
) -> list[UpstreamEvent]:
    """Feed through one reused buffer, as a shell does, and copy what the events only lend."""
    events: list[UpstreamEvent] = []
    buffer = bytearray(max(1, len(data)))
    for piece in pieces(data, way):
        buffer[: len(piece)] = piece
        protocol.receive_data(memoryview(buffer)[: len(piece)], now)
        for event in protocol.events_received():
            if isinstance(event, SnapshotChunk | StreamBytes):
                event = type(event)(memoryview(bytes(event.data)))
            events.append(event)
        buffer[:] = b"\xee" * len(buffer)
    return events


def joined(events: list[UpstreamEvent], kind: type[SnapshotChunk] | type[StreamBytes]) -> bytes:
    return b"".join(bytes(e.data) for e in events if isinstance(e, kind))


def others(events: list[UpstreamEvent]) -> list[UpstreamEvent]:
    return [e for e in events if not isinstance(e, SnapshotChunk | StreamBytes)]
