import pytest

from repltap.rdb._hot.source import Limits
from repltap.rdb.memory import KeySize, MemoryReport, allocated, string_bytes
from tests.rdb.build import items, key, rdb, string, strings


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (1, 8),
        (8, 8),
        (9, 16),
        (17, 32),
        (128, 128),
        (129, 160),
        (160, 160),
        (257, 320),
        (4097, 5120),
    ],
)
def test_what_the_allocator_gives(size: int, found: int) -> None:
    assert allocated(size) == found


def test_strings_have_headers() -> None:
    assert [string_bytes(size) for size in (6, 31, 32, 255, 256)] == [8, 48, 48, 320, 320]


def report(body: bytes, top: int = 10, **options: object) -> tuple[MemoryReport, list[KeySize]]:
    found = MemoryReport(top)
    sizes = [size for item in items(rdb(body), **options) for size in found.add(item)]
    return found, sizes


BODY = (
    b"\xfe\x00" + key(0, b"int", b"\xc0\x07") + key(0, b"short", string(b"x" * 44))
    + key(0, b"long", string(b"x" * 45)) + key(2, b"set", b"\x03" + strings(b"a", b"bb", b"ccc"))
    + key(1, b"list", b"\x02" + strings(b"a", b"b" * 500)) + key(1, b"none", b"\x00")
)  # fmt: skip


def test_keys_and_totals() -> None:
    found, sizes = report(BODY)
    assert [(one.key, one.encoding, one.elements, one.largest) for one in sizes] == [
        (b"int", "int", 1, 1),
        (b"short", "embstr", 44, 44),
        (b"long", "raw", 45, 45),
        (b"set", "hashtable", 3, 3),
        (b"list", "linkedlist", 2, 500),
        (b"none", "linkedlist", 0, 0),
    ]
    assert sum(total.memory_bytes for total in found.totals.values()) == sum(
        size.memory_bytes for size in sizes
    )
    assert found.totals["list", "linkedlist"].keys == 2
    assert sizes[2].memory_bytes > sizes[1].memory_bytes > sizes[0].memory_bytes


def test_parts_make_no_difference() -> None:
    assert report(BODY)[1] == report(BODY, limits=Limits(part_items=1, part_bytes=1))[1]


def test_the_largest() -> None:
    body = b"\xfe\x00" + b"".join(
        key(0, b"k%d" % number, string(b"x" * (number % 7 * 1000))) for number in range(50)
    )
    found, _ = report(body, top=3)
    assert [one.key for one in found.largest] == [b"k6", b"k13", b"k20"]
    assert report(body, top=0)[0].largest == []
