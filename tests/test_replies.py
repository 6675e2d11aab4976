"""Replies within bounds: what is read, and what a hostile server gets for its own."""

from __future__ import annotations

import resource

import hiredis
import pytest

from repltap.errors import RemoteProtocolError
from repltap.replies import ReplyReader
from tests.protocol.ways import pieces

_SEVERAL = (
    b"+OK\r\n"
    b":12\r\n"
    b"$5\r\n*9\r\n\r\r\n"  # a string that looks like a header
    b"*2\r\n$1\r\na\r\n*1\r\n$-1\r\n"
    b"*-1\r\n*0\r\n$0\r\n\r\n"
    b"%1\r\n$1\r\nk\r\n*1\r\n,1.5\r\n"
    b"_\r\n#t\r\n=7\r\ntxt:abc\r\n~1\r\n:1\r\n"
    b">2\r\n$1\r\nm\r\n+x y\r\n"
    b"-ERR no\r\n"
)
_EXPECTED: list[object] = [
    b"OK", 12, b"*9\r\n\r", [b"a", [None]], None, [], b"", {b"k": [1.5]}, None, True, b"abc", [1],
    [b"m", b"x y"],
]  # fmt: skip


@pytest.mark.parametrize("way", ["whole", "bytewise", "7"])
def test_what_servers_say(way: str) -> None:
    reader = ReplyReader(40, 8)  # of one: all together are longer
    found: list[object] = []
    for piece in pieces(_SEVERAL * 3, way):
        reader.feed(piece)
        found += list(iter(reader.gets, False))
    assert [*found[:13]] == _EXPECTED
    assert isinstance(found[13], hiredis.ReplyError)
    assert len(found) == 3 * 14


@pytest.mark.parametrize("way", ["whole", "bytewise"])
@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"*1000000000\r\n", "too many elements"),
        (b"*4294967294\r\n", "too many elements"),
        (b"%600\r\n", "too many elements"),
        (b"*900\r\n" * 10_000, "too many elements"),
        (b"*1\r\n" * 10_000, "does not end"),
        (b"$5000\r\n", "does not end"),
        (b"*3\r\n" + b"$600\r\n" + b"x" * 600 + b"\r\n$600\r\n", "does not end"),
        (b"+" + b"x" * 20_000, "a line that does not end"),
        (b"*1_0\r\n", "a length that is none"),
        (b"$ 5\r\nabcde\r\n", "a length that is none"),
        (b"%1\r\n*0\r\n+a\r\n", "a key that can't be one"),
        (b"%1\r\n%0\r\n+a\r\n", "a key that can't be one"),
        (b":x\r\n", "not RESP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "none of its signs"),
        (b"\r\n", "none of its signs"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else "",
)
def test_what_a_hostile_one_says(sent: bytes, said: str, way: str) -> None:
    reader = ReplyReader(1000, 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RemoteProtocolError, match=said):
        for piece in pieces(sent, way):
            reader.feed(piece)
            while reader.gets() is not False:
                pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
