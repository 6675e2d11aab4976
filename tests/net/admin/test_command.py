"""How arguments are read and counted."""

import pytest

from repltap.net.admin.command import Command, parse_integer, printable


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"", None),
        (b"-", None),
        (b"-0", None),
        (b"01", None),
        (b"+1", None),
        (b" 1", None),
        (b"1_0", None),
        ("١".encode(), None),
        (b"9" * 10_000, None),
    ],
)
def test_integers_as_redis_reads_them(raw: bytes, number: int | None) -> None:
    assert parse_integer(raw) == number


def test_printable() -> None:
    assert printable(b"!~az")
    assert printable(b"")
    assert not any(printable(each) for each in (b" ", b"\n", b"\x7f", b"\x80"))


@pytest.mark.parametrize(
    ("arity", "counts"), [(2, {2}), (-2, {2, 3, 4, 5}), (-1, {1, 2, 3, 4, 5}), (1, {1})]
)
def test_arity(arity: int, counts: set[int]) -> None:
    command = Command(name="x", arity=arity, summary="", since="", group="")
    assert {count for count in range(1, 6) if command.accepts(count)} == counts
