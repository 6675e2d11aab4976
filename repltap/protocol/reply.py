"""Replies as bytes, in RESP2 and RESP3.

Pure functions: each gives one complete reply. Those whose shape depends on the protocol version
take it as `resp`, 2 or 3; Redis 7.0's `addReply*` functions are the reference for what RESP3's own
types become in RESP2. An error or status line never contains a line break, whatever was put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OK = b"+OK\r\n"

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def status(text: bytes | str) -> bytes:
    """Encode a status line, such as `+PONG`."""
    return b"+%b\r\n" % _line(text)


def error(text: bytes | str) -> bytes:
    """Encode an error.

    Args:
        text: The code and the message, such as `ERR syntax error`, without the dash. Line breaks
            become spaces, as in Redis `afterErrorReply`'s callers: what a client sent may be in it.
    """
    return b"-%b\r\n" % _line(text)


def integer(number: int) -> bytes:
    """Encode an integer."""
    return b":%d\r\n" % number


def bulk(data: bytes | str) -> bytes:
    """Encode a bulk string; `str` goes out as UTF-8."""
    raw = _encode(data)
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def null(resp: int) -> bytes:
    """Encode "there is nothing": RESP3's null, a null bulk string before."""
    return b"_\r\n" if resp >= 3 else b"$-1\r\n"


def null_array(resp: int) -> bytes:
    """Encode "there is no such list": RESP3's null, a null array before."""
    return b"_\r\n" if resp >= 3 else b"*-1\r\n"


def verbatim(text: bytes | str, resp: int) -> bytes:
    """Encode text for people (INFO, CLIENT LIST): a verbatim string, a bulk string before RESP3."""
    if resp < 3:
        return bulk(text)
    raw = _encode(text)
    return b"=%d\r\ntxt:%b\r\n" % (len(raw) + 4, raw)


def array(items: Iterable[bytes]) -> bytes:
    """Encode an array of replies that are already encoded."""
    return _aggregate(b"*", list(items))


def push(items: Iterable[bytes], resp: int) -> bytes:
    """Encode what is sent without being asked for: an array before RESP3."""
    return _aggregate(b">" if resp >= 3 else b"*", list(items))


def set_of(items: Iterable[bytes], resp: int) -> bytes:
    """Encode a set of encoded replies: an array before RESP3."""
    return _aggregate(b"~" if resp >= 3 else b"*", list(items))


def map_of(pairs: Iterable[tuple[bytes, bytes]], resp: int) -> bytes:
    """Encode a map of encoded keys and values: a flat array before RESP3."""
    flat = [part for pair in pairs for part in pair]
    if resp < 3:
        return _aggregate(b"*", flat)
    return b"%%%d\r\n%b" % (len(flat) // 2, b"".join(flat))


def _aggregate(mark: bytes, items: Sequence[bytes]) -> bytes:
    return b"%b%d\r\n%b" % (mark, len(items), b"".join(items))


def _encode(data: bytes | str) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data


def _line(text: bytes | str) -> bytes:
    return _encode(text).translate(_LINE_BREAKS)
