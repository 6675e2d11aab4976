from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repltap.errors import RemoteProtocolError
from repltap.protocol.resp import (
    Command,
    InputLimits,
    RespParser,
    command_length,
    encode_command,
    split_inline,
)
from tests.protocol.ways import pieces, ways


def parse(data: bytes, way: str = "whole", parser: RespParser | None = None) -> list[Command]:
    parser = parser or RespParser(InputLimits())
    commands = []
    for piece in pieces(data, way):
        parser.feed(piece)
        while (command := parser.next_command()) is not None:
            commands.append(command)
    return commands


def error(data: bytes, way: str = "whole", *, authenticated: bool = True) -> str:
    parser = RespParser(InputLimits())
    parser.authenticated = authenticated
    with pytest.raises(RemoteProtocolError) as caught:
        parse(data, way, parser)
    return caught.value.message


arguments = st.lists(st.binary(max_size=30), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(arguments, max_size=6), st.data())
def test_any_split_gives_the_same_commands_and_counts(
    wanted: list[list[bytes]], data: st.DataObject
) -> None:
    wire = b"".join(encode_command(*args) for args in wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    parser = RespParser(InputLimits())
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        parser.feed(wire[begin:end])
        while (command := parser.next_command()) is not None:
            got.append(command)
            assert parser.consumed == sum(c.length for c in got)
    assert [c.args for c in got] == wanted
    assert [c.length for c in got] == [command_length(*args) for args in wanted]
    assert parser.consumed == len(wire)
    assert parser.buffered_bytes == 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_parse_the_same_in_two_parts_or_are_refused(data: bytes, cut: int) -> None:
    def outcome(way: str) -> list[Command] | str:
        try:
            return parse(data, way)
        except RemoteProtocolError as exc:
            return exc.message

    assert outcome("whole") == outcome(str(cut)) == outcome("bytewise")


@ways
def test_inline_empty_lines_and_empty_arrays(way: str) -> None:
    wire = b"PING\r\n\n\r\n*0\r\n*-1\r\n  set  k v \nSYNC\r\n*1\r\n$4\r\nPI"
    parser = RespParser(InputLimits())
    assert parse(wire, way, parser) == [
        Command([b"PING"], 6, True),
        Command([], 1, True),
        Command([], 2, True),
        Command([], 4, False),
        Command([], 5, False),
        Command([b"set", b"k", b"v"], 12, True),
        Command([b"SYNC"], 6, True),
    ]
    assert parser.buffered_bytes == 10
    assert parser.consumed == len(wire) - 10


@ways
@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"*1\r\n$10000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$01\r\n", "invalid bulk length"),
        (b"*1\r\n$65537\r\n", "invalid bulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$1\r\nabc", "expected CRLF after a bulk string"),
        (b"*1025\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b'"open\r\n', "unbalanced quotes in request"),
        (b'"a"b\r\n', "unbalanced quotes in request"),
        (b"x" * 65537, "too big inline request"),
        (b"*" + b"1" * 65537, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 65537, "too big bulk count string"),
    ],
)
def test_redis_error_texts(wire: bytes, text: str, way: str) -> None:
    assert error(wire, way) == f"ERR Protocol error: {text}"


def test_unauthenticated_limits() -> None:
    many, long = b"*11\r\n", b"*1\r\n$16385\r\n"
    assert error(many, authenticated=False).endswith("unauthenticated multibulk length")
    assert error(long, authenticated=False).endswith("unauthenticated bulk length")
    assert parse(many) == parse(long) == []


def test_a_command_is_bounded_as_a_whole() -> None:
    bulk = b"$20000\r\n" + bytes(20_000) + b"\r\n"
    assert error(b"*9\r\n" + bulk * 5).endswith("too big command")
    assert error(b"*1000\r\n" + b"$70\r\n%b\r\n" % bytes(70) * 1000).endswith("too big command")


@ways
def test_64_kib_are_enough_for_one_command_and_16_before_auth(way: str) -> None:
    """Three hundred clients with 4 MiB of an unfinished command each had cost 2 GB."""
    for limit, authenticated in ((65_536, True), (16_384, False)):
        size = limit - len(b"*2\r\n$4\r\nECHO\r\n$10000\r\n\r\n")
        parser = RespParser(InputLimits())
        parser.authenticated = authenticated
        (command,) = parse(encode_command(b"ECHO", b"x" * size), way, parser)
        assert command.length == limit
        over = encode_command(b"ECHO", b"x" * (size + 1))
        assert error(over, way, authenticated=authenticated).endswith("too big command")
    assert error(b"x" * 16_385, way, authenticated=False).endswith("too big inline request")


def test_what_became_an_argument_is_not_held_twice() -> None:
    parser = RespParser(InputLimits())
    wire = encode_command(b"MSET", *[b"k" * 6_000] * 10)
    for index in range(len(wire)):
        parser.feed(wire[index : index + 1])
        command = parser.next_command()
        assert parser.buffered_bytes == (0 if command else index + 1)
        assert len(parser._buffer) < 24_000
    assert parser.consumed == len(wire)


def test_the_buffer_does_not_grow_with_what_was_parsed() -> None:
    parser = RespParser(InputLimits())
    wire = encode_command(b"PING", b"x" * 100)
    for _ in range(2000):
        assert len(parse(wire, "whole", parser)) == 1
    assert len(parser._buffer) < 20_000
    parse(wire[:50], "whole", parser)
    assert parser.buffered_bytes == 50


@pytest.mark.parametrize(
    ("line", "args"),
    [
        (b"", []),
        (b"   ", []),
        (rb'set "a b" ' + b"'c d'", [b"set", b"a b", b"c d"]),
        (rb'"\x41\n\t\"\\\q" ""', [b'A\n\t"\\q', b""]),
        (rb"'it\'s' ''", [b"it's", b""]),
    ],
)
def test_quotes(line: bytes, args: list[bytes]) -> None:
    assert split_inline(line) == args


def test_hostile_quotes_cost_linear_time() -> None:
    with pytest.raises(RemoteProtocolError):
        split_inline(b'"' + b"\\" * 60_001)
    with pytest.raises(RemoteProtocolError):
        split_inline(b"a " * 30_000 + b"'")


def test_random_bytes_give_commands_or_an_error() -> None:
    rng = random.Random(3)
    alphabet = b"*$123\r\n\r\nab\"' "
    for _ in range(500):
        data = bytes(rng.choices(alphabet, k=rng.randrange(1, 200)))
        message = "ERR Protocol error: "
        try:
            parse(data)
        except RemoteProtocolError as exc:
            message = exc.message
        assert message.startswith("ERR Protocol error: ")
