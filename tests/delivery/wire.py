"""Streams for the tests of the decoder: as text, drawn at random, and cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from repltap.delivery.commands import builtin_table
from repltap.delivery.stream import RecordStream, StreamState
from repltap.sink import Record
from tests.stored import REPLID, command

TABLE = builtin_table()
TIME_MS = 1_700_000_000_123

PING = command(b"ping")
GETACK = command(b"REPLCONF", b"GETACK", b"*")
MULTI = command(b"MULTI")
EXEC = command(b"EXEC")

# Values that look like the protocol are what a decoder may fall for.
TRICKY = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"$3\r\nabc\r\n", b"*1\r\n$4\r\nping\r\n", b"\xff\0"]
)
WORDS = st.one_of(
    TRICKY,
    st.binary(max_size=12),
    st.sampled_from([b"k", b"key:{1}", "ключ".encode(), b"x" * 64, b"y" * 5000]),
)
NAMES = st.sampled_from([b"SET", b"set", b"MSET", b"DEL", b"SADD", b"NOBODYKNOWS", b"PUBLISH"])
COMMANDS = st.builds(lambda name, args: [name, *args], NAMES, st.lists(WORDS, max_size=6))
BETWEEN = st.sampled_from([b"\n", b"\r\n", b"*0\r\n", b"*-1\r\n"])


def cuts(size: int) -> st.SearchStrategy[list[int]]:
    """Draw places to cut at."""
    return st.lists(st.integers(0, size), max_size=8).map(sorted)


def pieces(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Cut bytes at these places."""
    before = 0
    for place in [*places, len(data)]:
        yield data[before:place]
        before = place


def ways(data: bytes) -> Iterator[list[bytes]]:
    """Give the bytes whole, one at a time, and in pieces that fit nothing."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield [data[i : i + 7] for i in range(0, len(data), 7)]


def stream(state: StreamState | None = None, **settings: object) -> RecordStream:
    """Make a stream of records that begins at offset 1000 in database 0."""
    return RecordStream(
        state or StreamState(1000, 0),
        TABLE,
        source="master",
        **settings,  # type: ignore[arg-type]
    )


def records_of(data: bytes, **settings: object) -> list[Record]:
    """Decode a stream that begins at offset 1000 in database 0."""
    return stream(**settings).feed(data, REPLID, TIME_MS)  # type: ignore[arg-type]
