"""The bytes of a batch: the example of its module, round trips, damage."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.eventlog import batch as module
from sinks.eventlog.batch import (
    HEADER_BYTES,
    BatchBuilder,
    BatchError,
    LogRecord,
    check,
    crc32c,
    header,
    headers_of,
    read_header,
    read_records,
    varint,
)

EXAMPLE = bytes.fromhex(
    "0000000000000005 0000004a 00000000 02 7fecb95d"
    "0000 00000000 00000000000003e8 00000000000003e8 ffffffffffffffff ffff ffffffff 00000001"
    "30 00 00 00 06 303a6b 04 7b7d 02 08 6b696e64 0e 636f6d6d616e64"
)


def example() -> BatchBuilder:
    builder = BatchBuilder(compress=False)
    builder.add(1000, b"0:k", b"{}", headers_of([(b"kind", b"command")]))
    return builder


def read(raw: bytes, expected: int | None = None) -> list[LogRecord]:
    found = read_header(raw, expected)
    check(raw, found)
    return read_records(raw, found)


def test_the_worked_example() -> None:
    raw, found = example().take(5)
    assert raw == EXAMPLE
    assert f"{found.crc:#x}" in (module.__doc__ or "")
    (record,) = read(EXAMPLE, 5)
    assert record == LogRecord(5, 1000, b"0:k", b"{}", b"\x02\x08kind\x0ecommand")
    assert record.headers == [(b"kind", b"command")]


@pytest.mark.parametrize(
    ("number", "raw"),
    [(0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (64, "8001"), (-64, "7f"), (8192, "808001")],
)
def test_numbers_are_kafkas_zigzag(number: int, raw: str) -> None:
    assert varint(number) == bytes.fromhex(raw)


records = st.lists(
    st.tuples(
        st.integers(-(10**6), 2**41),
        st.none() | st.binary(max_size=300),
        st.binary(max_size=9000),
        st.lists(st.tuples(st.binary(max_size=70), st.binary(max_size=200)), max_size=6),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(records, st.booleans(), st.integers(0, 2**40))
def test_what_was_put_in_comes_out(
    wanted: list[tuple[int, bytes | None, bytes, list[tuple[bytes, bytes]]]],
    compress: bool,
    base: int,
) -> None:
    builder = BatchBuilder(compress=compress)
    for ts_ms, key, value, headers in wanted:
        builder.add(ts_ms, key, value, headers_of(headers))
    raw, said = builder.take(base)
    assert read_header(raw + b"more", base) == said
    assert said.size == len(raw)
    assert said.max_ts_ms == max(ts_ms for ts_ms, *_ in wanted)
    assert said.last_offset == base + len(wanted) - 1
    found = read(raw + b"more", base)
    assert [(r.ts_ms, r.key, r.value, r.headers) for r in found] == wanted
    assert [r.offset for r in found] == list(range(base, base + len(wanted)))


def test_it_begins_again_when_it_was_taken() -> None:
    builder = example()
    builder.take(5)
    assert (builder.count, builder.size) == (0, 0)
    builder.add(7, None, b"v", varint(0))
    assert read(builder.take(6)[0], 6) == [LogRecord(6, 7, None, b"v", b"\0")]


@pytest.mark.parametrize("compress", [False, True])
def test_every_bit_that_flips_is_noticed(compress: bool) -> None:
    builder = BatchBuilder(compress=compress)
    for number in range(3):
        builder.add(1000 + number, b"0:k", b"value " * 4, headers_of([(b"kind", b"command")]))
    raw, _ = builder.take(5)
    for position in range(len(raw)):
        for bit in range(8):
            broken = bytearray(raw)
            broken[position] ^= 1 << bit
            with pytest.raises(BatchError):
                read(bytes(broken), 5)


def test_every_length_that_is_too_short_is_noticed() -> None:
    raw, _ = example().take(5)
    for length in range(len(raw)):
        with pytest.raises(BatchError):
            read(raw[:length], 5)


def with_records(raw: bytes, count: int = 1, attributes: int = 0) -> bytes:
    """A batch with a right checksum, whatever its records are."""
    body = struct.pack(">hiqqqhii", attributes, count - 1, 0, 0, -1, -1, -1, count) + raw
    lead = struct.pack(">qiibI", 0, len(body) + 9, 0, 2, crc32c(body))
    return lead + body


GOOD = b"\0\0\0\1\2v\0"


@pytest.mark.parametrize(
    ("raw", "count", "attributes", "why"),
    [
        (b"", 1, 0, "ends within a record"),
        (b"\x0e" + GOOD[:-1], 1, 0, "not what its batch says"),
        (b"\x0e" + GOOD + b"x", 1, 0, "left over"),
        (b"\x0e" + GOOD, 2, 0, "ends within a record"),
        (b"\x0e" + b"\0\0\2\1\2v\0", 1, 0, "not what its batch says"),
        (b"\x0e" + b"\0\0\0\1\x40v\0", 1, 0, "not what its batch says"),
        (b"no frame", 1, 4, "can't be decompressed"),
    ],
)
def test_a_right_checksum_over_wrong_records(
    raw: bytes, count: int, attributes: int, why: str
) -> None:
    assert read(with_records(b"\x0e" + GOOD))[0].value == b"v"
    with pytest.raises(BatchError, match=why):
        read(with_records(raw, count, attributes))


@pytest.mark.parametrize(
    ("raw", "why"),
    [(b"\2\2", "within its headers"), (b"\2\2a\2b\0", "left over"), (b"", "within its headers")],
)
def test_wrong_headers(raw: bytes, why: str) -> None:
    with pytest.raises(BatchError, match=why):
        LogRecord(0, 0, None, b"", raw).headers  # noqa: B018


def test_a_header_of_any_length() -> None:
    assert header(b"n" * 100, b"") == b"\xc8\x01" + b"n" * 100 + b"\0"


def test_a_batch_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_LENGTH", 100)
    builder = BatchBuilder(compress=False)
    builder.add(0, None, b"v" * 100, varint(0))
    with pytest.raises(BatchError, match="larger than a batch can be"):
        builder.take(0)


def test_the_header_is_61_bytes() -> None:
    assert HEADER_BYTES == 61
