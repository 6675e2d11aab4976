"""Frames and orders between the relay and its monitor process."""

import json
import struct

import pytest

from repltap.delivery.messages import MessageError
from repltap.delivery.monitor.messages import (
    MAX_FRAME_BYTES,
    Frame,
    Frames,
    Kind,
    mark_frame,
    mark_of,
    order,
)

FRAMES = [
    Frame(Kind.LINES, 3, 1 << 40, b"+a\r\n+b\r\n"),
    mark_frame(7),
    Frame(Kind.FAILED, 0, 0, b"x"),
]
RAW = b"".join(frame.pack() for frame in FRAMES)


@pytest.mark.parametrize("size", [1, 7, 19, len(RAW)])
def test_frames_come_in_any_pieces(size: int) -> None:
    frames = Frames()
    found = [f for at in range(0, len(RAW), size) for f in frames.receive(RAW[at : at + size])]
    assert found == FRAMES
    assert mark_of(found[1]) == 7


def test_what_is_no_frame() -> None:
    with pytest.raises(MessageError, match="kind 9 with 3 bytes"):
        list(Frames().receive(struct.pack(">BIIQ", 9, 3, 0, 0)))
    with pytest.raises(MessageError, match="bytes"):
        list(Frames().receive(struct.pack(">BIIQ", 1, MAX_FRAME_BYTES + 1, 0, 0)))
    with pytest.raises(MessageError):
        mark_of(Frame(Kind.MARK, 0, 0, b"abc"))


def test_frames_before_nonsense_are_given() -> None:
    frames = Frames().receive(RAW + b"\xff" * 17)
    assert [next(frames) for _ in FRAMES] == FRAMES
    with pytest.raises(MessageError):
        next(frames)


def test_an_order_is_a_line_of_json() -> None:
    line = order("start", data_dir="/a\udcff\nb", place=(1, 2))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"do": "start", "data_dir": "/a\udcff\nb", "place": [1, 2]}
