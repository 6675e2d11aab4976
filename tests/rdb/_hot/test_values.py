import math
import struct

import pytest

from repltap.errors import CorruptRdbError
from repltap.rdb._hot.source import Limits
from repltap.rdb._hot.values import TYPES, Part, skip_value
from repltap.rdb.entries import Fields, Members, Scores
from tests.rdb.build import length, listpack, lp_number, lp_text, source, string, strings, ziplist

FAR = 4_000_000_000_000
FAR_BYTES = FAR.to_bytes(8, "little")
LETTERS = [b"a", b"b", b"c", b"d", b"e", b"f"]
PAIRS = [(b"a", b"b", None), (b"c", b"d", None), (b"e", b"f", None)]
SCORES = [(b"m", 1.5), (b"n", -math.inf), (b"o", math.inf)]
PACKED_SCORES = [lp_text(w) for w in (b"m", b"1.5", b"n", b"-inf", b"o", b"inf")]
EXPIRING = [(b"f", b"v", FAR), (b"g", b"w", None)]
NODE = listpack(map(lp_text, LETTERS[:3]))
REST = listpack(map(lp_text, LETTERS[3:]))
ZIPNODE = ziplist([b"\x01a", b"\x01b", b"\x01c"])
TRIPLES = listpack(
    [lp_text(b"f"), lp_text(b"v"), lp_number(FAR), lp_text(b"g"), lp_text(b"w"), b"\x00"]
)

VALUES = {
    (1, "redis"): (b"\x06" + strings(*LETTERS), LETTERS),
    (2, "redis"): (b"\x06" + strings(*LETTERS), LETTERS),
    (3, "redis"): (b"\x03\x01m\x031.5\x01n\xff\x01o\xfe", SCORES),
    (4, "redis"): (b"\x03" + strings(*LETTERS), PAIRS),
    (5, "redis"): (
        b"\x03" + b"".join(string(m) + struct.pack("<d", s) for m, s in SCORES), SCORES,
    ),
    (9, "redis"): (string(b"\x03\x01a\x01\x00b\x01c\x01\x00d\x01e\x01\x00f\xff"), PAIRS),
    (10, "redis"): (string(ziplist([b"\x01" + one for one in LETTERS])), LETTERS),
    (11, "redis"): (string(struct.pack("<IIhh", 2, 2, -1, 5)), [b"-1", b"5"]),
    (12, "redis"): (
        string(ziplist([b"\x01m", b"\xf3", b"\x01n", b"\x04-inf"])),
        [(b"m", 2.0), (b"n", -math.inf)],
    ),
    (13, "redis"): (string(ziplist([b"\x01" + one for one in LETTERS])), PAIRS),
    (14, "redis"): (b"\x02" + string(ZIPNODE) * 2, LETTERS[:3] * 2),
    (16, "redis"): (string(listpack(map(lp_text, LETTERS))), PAIRS),
    (17, "redis"): (string(listpack(PACKED_SCORES)), SCORES),
    (18, "redis"): (
        b"\x03\x02" + string(NODE) + b"\x01" + string(b"plain") + b"\x02" + string(REST),
        [*LETTERS[:3], b"plain", *LETTERS[3:]],
    ),
    (20, "redis"): (string(listpack(map(lp_text, LETTERS))), LETTERS),
    (22, "redis"): (
        b"\x02" + length(FAR) + strings(b"f", b"v") + b"\x00" + strings(b"g", b"w"),
        EXPIRING,
    ),
    (23, "redis"): (
        string(TRIPLES),
        EXPIRING,
    ),
    (24, "redis"): (
        FAR_BYTES + b"\x02\x01" + strings(b"f", b"v") + b"\x00" + strings(b"g", b"w"),
        EXPIRING,
    ),
    (25, "redis"): (
        FAR_BYTES
        + string(TRIPLES),
        EXPIRING,
    ),
    (22, "valkey"): (
        b"\x02" + strings(b"f", b"v") + FAR_BYTES + strings(b"g", b"w") + b"\xff" * 8, EXPIRING,
    ),
}  # fmt: skip


def read(number: int, vendor: str, data: bytes, limits: Limits) -> list[Part]:
    found = source(data + b"rest", limits)
    value = TYPES[vendor][number].read(found, b"key")
    parts = [value] if isinstance(value, Part) else list(value)
    assert found.take(4) == b"rest"
    return parts


@pytest.mark.parametrize(("number", "vendor"), VALUES)
@pytest.mark.parametrize("part_items", [1, 2, 5, 4096])
@pytest.mark.parametrize("part_bytes", [0, 1 << 20])
def test_every_layout(number: int, vendor: str, part_items: int, part_bytes: int) -> None:
    data, expected = VALUES[number, vendor]
    parts = read(number, vendor, data, Limits(part_items=part_items, part_bytes=part_bytes))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    found: list[object] = []
    for part in parts:
        assert isinstance(part.value, Members | Scores | Fields)
        assert 0 < len(part.value.items) < part_items + 6
        found += part.value.items
    assert found == expected
    if part_items == 1 and TYPES[vendor][number].name != "list":
        assert len(parts) == len(expected)
    if TYPES[vendor][number].encoding != "quicklist":
        assert {part.length for part in parts} == {len(expected)}


def test_nodes_make_a_part_by_their_size() -> None:
    large = listpack([lp_text(b"x" * 60)])
    data = b"\x04" + (b"\x02" + string(large)) * 3 + b"\x01" + string(b"y" * 150)
    limits = Limits(part_bytes=100)
    parts = read(18, "redis", data, limits)
    assert [len(part.value.items) for part in parts] == [2, 2]  # type: ignore[union-attr]
    assert [part.packed_bytes for part in parts] == [2 * len(large), len(large) + 150]


@pytest.mark.parametrize(("number", "vendor"), VALUES)
def test_what_is_passed_over(number: int, vendor: str) -> None:
    data = source(VALUES[number, vendor][0] + b"rest")
    skip_value(data, TYPES[vendor][number], b"key")
    assert data.take(4) == b"rest"


@pytest.mark.parametrize(("number", "vendor"), VALUES)
def test_every_cut(number: int, vendor: str) -> None:
    data, _ = VALUES[number, vendor]
    for size in range(len(data)):
        with pytest.raises(CorruptRdbError):
            list(TYPES[vendor][number].read(source(data[:size]), b"key"))


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (1, b"\x00"),
        (2, b"\x00"),
        (4, b"\x00"),
        (5, b"\x00"),
        (14, b"\x00"),
        (18, b"\x00"),
        (24, FAR_BYTES + b"\x00"),
    ],
)
def test_empty_values(number: int, data: bytes) -> None:
    (part,) = read(number, "redis", data, Limits())
    assert part.last
    assert part.value == ([],)


def test_long_strings_come_in_parts() -> None:
    value = bytes(range(256)) * 10
    parts = read(0, "redis", string(value), Limits(part_bytes=1000))
    assert [len(part.value) for part in parts if isinstance(part.value, bytes)] == [1000, 1000, 560]
    assert b"".join(part.value for part in parts if isinstance(part.value, bytes)) == value
    assert {part.length for part in parts} == {2560}


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (3, b"\x01\x01m\x03abc"),
        (12, string(ziplist([b"\x01m", b"\x01x"]))),
        (13, string(ziplist([b"\x01m"]))),
        (18, b"\x01\x03" + string(NODE)),
        (23, string(listpack([lp_text(b"f"), lp_text(b"v"), lp_text(b"x")]))),
    ],
)
def test_damage(number: int, data: bytes) -> None:
    with pytest.raises(CorruptRdbError):
        list(TYPES["redis"][number].read(source(data), b"key"))


def test_a_count_that_is_only_said() -> None:
    for number in (1, 2, 3, 4, 5, 14, 15, 18, 19, 21, 22, 24, 26):
        data = (FAR_BYTES if number == 24 else b"") + length(1 << 60) + b"\x01a" * 3
        with pytest.raises(CorruptRdbError):
            list(TYPES["redis"][number].read(source(data), b"key"))
