"""The decoder: however the stream is cut, the same commands at the same offsets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery._hot.decoder import Entry, StreamDecoder
from repltap.errors import RemoteProtocolError
from tests.delivery.wire import BETWEEN, COMMANDS, cuts, pieces, ways
from tests.stored import SET, command

START = 1000


def decode(parts: list[bytes], **limits: int) -> tuple[list[Entry], StreamDecoder]:
    decoder = StreamDecoder(START, **limits)
    return [entry for part in parts for entry in decoder.feed(part)], decoder


@given(st.data())
def test_any_stream_in_any_pieces(data: st.DataObject) -> None:
    """Commands, what may stand between them, and a torn one at the end."""
    commands = data.draw(st.lists(COMMANDS, max_size=6))
    between = data.draw(st.lists(BETWEEN, min_size=len(commands), max_size=len(commands)))
    gaps = [gap if data.draw(st.booleans()) else b"" for gap in between]
    raw = b""
    expected = []
    for words, gap in zip(commands, gaps, strict=True):
        raw += gap
        encoded = command(*words)
        expected.append((START + len(raw), START + len(raw) + len(encoded), words))
        raw += encoded
    torn = SET[: data.draw(st.integers(0, len(SET) - 1))]
    entries, decoder = decode(list(pieces(raw + torn, data.draw(cuts(len(raw + torn))))))
    assert entries == expected
    assert decoder.offset == START + len(raw)
    rest = decoder.feed(SET[len(torn) :])
    assert [entry[2] for entry in rest] == [[b"SET", b"key", b"value"]]


@given(st.lists(COMMANDS, min_size=1, max_size=5))
def test_whole_and_in_small_pieces(commands: list[list[bytes]]) -> None:
    raw = b"".join(command(*words) for words in commands)
    for parts in ways(raw):
        entries, decoder = decode(parts)
        assert [words for _, _, words in entries] == commands
        assert all(before[1] == after[0] for before, after in pairwise(entries))
        assert decoder.offset == START + len(raw)


@given(st.lists(COMMANDS, min_size=1, max_size=5), st.data())
def test_the_window_has_the_bytes_of_what_began_in_it(
    commands: list[list[bytes]], data: st.DataObject
) -> None:
    raw = b"".join(command(*words) for words in commands)
    decoder = StreamDecoder(START)
    for part in pieces(raw, data.draw(cuts(len(raw)))):
        for start, end, words in decoder.feed(part):
            at = start - decoder.window_start
            assert raw[start - START : end - START] == command(*words)
            if at >= 0:  # else it was torn
                assert decoder.window[at : at + end - start] == command(*words)


def test_a_value_that_comes_in_many_pieces_is_put_together_once() -> None:
    """No quadratic work: a value of 64 MB in pieces of 64 KB, and 300,000 words in one command."""
    big = command(b"SET", b"k", b"v" * (64 << 20))
    entries, _ = decode([big[i : i + 65536] for i in range(0, len(big), 65536)])
    assert [len(entry[2][2]) for entry in entries] == [64 << 20]
    many = command(b"RPUSH", *(b"%d" % n for n in range(300_000)))
    entries, _ = decode([many[i : i + 65536] for i in range(0, len(many), 65536)])
    assert len(entries[0][2]) == 300_001


@pytest.mark.parametrize(
    ("raw", "offset", "reason"),
    [
        (b"PING\r\n", 0, "does not begin with *"),
        (b"\rx", 0, "does not begin with *"),
        (b"+OK\r\n", 0, "does not begin with *"),
        (b"*x\r\n", 0, "no number"),
        (b"*+1\r\n", 0, "no number"),
        (b"*01\r\n", 0, "no number"),
        (b"*-\r\n", 0, "no number"),
        (b"*-0\r\n", 0, "no number"),
        (b"*" + b"1" * 30, 0, "no number"),
        (b"*99999999999999999999\r\n", 0, "99999999999999999999 words"),
        (b"*1\r\n+OK\r\n", 4, "does not begin with $"),
        (b"*1\r\n$-1\r\n", 4, "-1 bytes"),
        (b"*1\r\n$03\r\nabc\r\n", 4, "no number"),
        (b"*1\r\n$" + b"9" * 30, 4, "no number"),
        (b"*1\r\n$9999999999\r\n", 4, "9999999999 bytes make it longer"),
        (b"*1\r\n$3\r\nabcd\r\n", 11, "no line end"),
        (b"*1\r\n$4\r\nabc\r\n\n", 12, "no line end"),
    ],
)
def test_what_is_no_command_is_refused_with_its_offset(
    raw: bytes, offset: int, reason: str
) -> None:
    """And what stood before it is given out, however it came."""
    for parts in ways(SET + raw):
        decoder = StreamDecoder(START)
        entries = []
        with pytest.raises(RemoteProtocolError) as caught:
            for part in [*parts, b""]:
                entries += decoder.feed(part)
        assert len(entries) == 1
        assert f"at offset {START + len(SET) + offset}" in str(caught.value)
        assert reason in str(caught.value)
        with pytest.raises(RemoteProtocolError):
            decoder.feed(SET)


def test_limits_hold_however_the_command_comes() -> None:
    fits = command(b"SET", b"k", b"v" * 100)
    for parts in ways(fits):
        assert len(decode(parts, max_command_bytes=len(fits))[0]) == 1
        with pytest.raises(RemoteProtocolError, match="make it longer than|no number"):
            decode([*parts, b""], max_command_bytes=len(fits) - 1)
    many = command(b"DEL", *[b"k"] * 70)
    for parts in ways(many):
        assert len(decode(parts, max_args=71)[0]) == 1
        with pytest.raises(RemoteProtocolError, match="it has 71 words, more than 70"):
            decode([*parts, b""], max_args=70)


def test_a_length_takes_no_memory() -> None:
    """A gigabyte is announced, and nothing of it comes."""
    decoder = StreamDecoder(START)
    assert decoder.feed(b"*16000000\r\n$3\r\nSET\r\n$1000000000\r\nabc") == []
    assert decoder.offset == START
