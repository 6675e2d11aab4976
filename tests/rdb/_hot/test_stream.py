from collections.abc import Iterable

import pytest

from repltap.errors import CorruptRdbError
from repltap.rdb._hot.stream import entries_of, read_group, read_node, read_producers, read_summary
from repltap.rdb.entries import StreamNode
from tests.rdb.build import listpack, lp_number, lp_text, source, string

FIRST = (1000).to_bytes(8, "big") + (5).to_bytes(8, "big")


def packed(items: Iterable[bytes | int]) -> bytes:
    return listpack([lp_text(one) if isinstance(one, bytes) else lp_number(one) for one in items])


def node(*items: bytes | int) -> StreamNode:
    return StreamNode(FIRST, packed(items), 40, b"k")


HEAD = (2, 1, 2, b"a", b"b", 0)
SAME = (2, 0, 0, b"1", b"2", 5)
OTHER = (0, 7, -5, 1, b"c", b"3", 6)
GONE = (3, 1, 0, b"x", b"y", 5)
GONE_OTHER = (1, 1, 0, 3, b"x", b"y", b"x", b"y", b"x", b"y", 10)


def test_entries() -> None:
    for gone in (GONE, GONE_OTHER):
        assert list(entries_of(node(*HEAD, *SAME, *gone, *OTHER))) == [
            ((1000, 5), [b"a", b"1", b"b", b"2"]),
            ((1007, 0), [b"c", b"3"]),
        ]


def test_ids_that_wrap() -> None:
    """What is added to the node's id is kept as a signed number."""
    (found,) = entries_of(node(1, 0, 1, b"f", 0, 2, -1001, -6, b"v", 4))
    assert found == ((2**64 - 1, 2**64 - 1), [b"f", b"v"])


def test_more_entries_than_a_window() -> None:
    count = 5000
    items: list[bytes | int] = [count, 0, 1, b"f", 0]
    for number in range(count):
        items += [2, number, 0, b"v%d" % number, 4]
    found = list(entries_of(node(*items)))
    assert len(found) == count
    assert found[-1] == ((1000 + count - 1, 5), [b"f", b"v%d" % (count - 1)])


@pytest.mark.parametrize(
    "items",
    [
        (),
        (1, 0),
        (1, 0, 5, b"a"),
        (1, 0, -1),
        (1, 0, 1 << 40),
        HEAD,
        (*HEAD, *SAME),
        (*HEAD, *SAME, *SAME, *OTHER, *GONE),
        (*HEAD, *SAME, *GONE, *GONE, *OTHER),
        (*HEAD, b"x", *SAME),
        (1, 0, 1, b"a", 0, 0, 0, 0, 1 << 50),
    ],
)
def test_damage(items: tuple[bytes | int, ...]) -> None:
    with pytest.raises(CorruptRdbError, match="at byte 40 of key b'k': a stream node") as caught:
        list(entries_of(node(*items)))
    assert caught.value.key == b"k"


def test_nodes() -> None:
    data = string(FIRST) + string(packed(SAME))
    assert read_node(source(data), b"k") == StreamNode(FIRST, packed(SAME), 17, b"k")
    for bad in (string(b"short") + string(packed(SAME)), string(FIRST) + string(b"junk")):
        with pytest.raises(CorruptRdbError):
            read_node(source(bad), b"k")


def test_summaries() -> None:
    assert read_summary(source(b"\x02\x09\x01\x03"), 1) == (2, (9, 1), None, None, None, 3)
    data = b"\x02\x09\x01\x05\x00\x07\x02\x0a\x00"
    assert read_summary(source(data), 2) == (2, (9, 1), (5, 0), (7, 2), 10, 0)


ID = (7).to_bytes(8, "big") + (1).to_bytes(8, "big")
TIME = (1234).to_bytes(8, "little")
PENDING = b"\x01" + ID + TIME + b"\x03"


def test_groups() -> None:
    consumer = string(b"ann") + TIME
    first = string(b"g") + b"\x07\x01" + PENDING + b"\x01" + consumer + b"\x01" + ID
    group = read_group(source(first), 1)
    assert (group.name, group.last, group.entries_read) == (b"g", (7, 1), None)
    assert group.pending == {(7, 1): (1234, 3)}
    assert group.consumers == [(b"ann", 1234, None, [(7, 1)])]
    unread = b"\x81" + b"\xff" * 8
    third = string(b"g") + b"\x07\x01" + unread + PENDING + b"\x01" + consumer + TIME + b"\x00"
    group = read_group(source(third), 3)
    assert group.entries_read == -1
    assert group.consumers == [(b"ann", 1234, 1234, [])]


def test_a_consumer_with_what_is_not_pending() -> None:
    data = string(b"g") + b"\x07\x01\x00\x01" + string(b"ann") + TIME + b"\x01" + ID
    with pytest.raises(CorruptRdbError, match="not pending"):
        read_group(source(data), 1)


def test_producers() -> None:
    untouched = read_producers(source(bytes.fromhex("40644064000000")))
    assert untouched == (100, 100, {}, 0, 0)
    data = b"\x05\x06\x01" + string(b"p") + b"\x01" + string(b"i") + b"\x09\x01\x02\x03"
    assert read_producers(source(data)) == (5, 6, {b"p": [(b"i", (9, 1))]}, 2, 3)
