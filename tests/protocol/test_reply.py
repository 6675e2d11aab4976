"""Replies, byte for byte as redis-server 7.0 sends them."""

import hiredis
import pytest

from repltap.protocol import reply


@pytest.mark.parametrize(
    ("encoded", "wire"),
    [
        (reply.OK, b"+OK\r\n"),
        (reply.status("PONG"), b"+PONG\r\n"),
        (reply.error("ERR syntax error"), b"-ERR syntax error\r\n"),
        (reply.integer(-1), b":-1\r\n"),
        (reply.bulk("x"), b"$1\r\nx\r\n"),
        (reply.bulk("é"), b"$2\r\n\xc3\xa9\r\n"),
        (reply.bulk(b""), b"$0\r\n\r\n"),
        (reply.null(2), b"$-1\r\n"),
        (reply.null(3), b"_\r\n"),
        (reply.null_array(2), b"*-1\r\n"),
        (reply.null_array(3), b"_\r\n"),
        (reply.verbatim("ab", 2), b"$2\r\nab\r\n"),
        (reply.verbatim("ab", 3), b"=6\r\ntxt:ab\r\n"),
        (reply.array(()), b"*0\r\n"),
        (reply.set_of((), 3), b"~0\r\n"),
        (reply.map_of((), 3), b"%0\r\n"),
        (reply.map_of((), 2), b"*0\r\n"),
    ],
)
def test_wire(encoded: bytes, wire: bytes) -> None:
    assert encoded == wire


def test_lines_never_break() -> None:
    assert reply.error(b"ERR bad\r\n+OK\r\n") == b"-ERR bad  +OK  \r\n"
    assert reply.status("a\nb") == b"+a b\r\n"


@pytest.mark.parametrize("resp", [2, 3])
def test_aggregates_read_back(resp: int) -> None:
    reader = hiredis.Reader()
    pairs = [(reply.bulk("a"), reply.integer(1)), (reply.bulk("b"), reply.array([reply.bulk("c")]))]
    reader.feed(reply.map_of(iter(pairs), resp))
    expected = {b"a": 1, b"b": [b"c"]} if resp == 3 else [b"a", 1, b"b", [b"c"]]
    assert reader.gets() == expected
    reader.feed(reply.set_of(map(reply.status, ("x", "y")), resp))
    assert list(reader.gets()) == [b"x", b"y"]
    assert reader.gets() is False
