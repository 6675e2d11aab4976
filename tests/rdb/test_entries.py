import pytest

from repltap.rdb.entries import Header, Strings, expand, is_integer


def test_formats() -> None:
    assert Header("redis", 9).format == "REDIS0009"
    assert Header("valkey", 80).format == "VALKEY080"


def test_a_run_is_entries() -> None:
    one, other = expand(Strings(3, [(b"a", b"17", None), (b"b", b"x", 5)]))
    assert (one.db, one.key, one.value, one.encoding, one.expire_at_ms) == (
        3,
        b"a",
        b"17",
        "int",
        None,
    )
    assert (other.key, other.encoding, other.expire_at_ms, other.length) == (b"b", "raw", 5, 1)
    assert one.last
    assert one.part == 0


@pytest.mark.parametrize("value", [b"0", b"-1", b"9223372036854775807", b"-9223372036854775808"])
def test_integers(value: bytes) -> None:
    assert is_integer(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"-", b"--1", b"01", b"-0", b"+1", b" 1", b"1.0", b"9223372036854775808", b"9" * 5000],
)
def test_no_integers(value: bytes) -> None:
    assert not is_integer(value)
