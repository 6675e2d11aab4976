import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repltap.errors import CorruptRdbError, RdbError, UnsupportedRdbError
from repltap.rdb._hot.source import Limits
from repltap.rdb._hot.stream import entries_of
from repltap.rdb.entries import (
    Aux,
    Database,
    DatabaseSize,
    End,
    Entry,
    Function,
    Header,
    Members,
    ModuleAux,
    ModuleValue,
    Skipped,
    SlotImport,
    SlotInfo,
    StreamNode,
    Strings,
)
from repltap.rdb.reader import RdbReader
from tests.rdb.build import entries, items, key, length, rdb, reading, string, strings

DATA = Path(__file__).parent / "data"
FIXTURES = sorted(DATA.glob("full-*.rdb"))
STRING = key(0, b"k", string(b"v"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("step", [None, 1, 100])
def test_files_of_real_servers(path: Path, step: int | None) -> None:
    found = {one.key: one for one in entries(path.read_bytes(), step) if one.last}
    assert {one.db for one in found.values()} == {3}
    assert found[b"k"].value == b"v"
    assert (found[b"n"].value, found[b"n"].encoding) == (b"12345", "int")
    assert found[b"z"].value == b"a" * 100
    assert found[b"t"].expire_at_ms == 4_000_000_000_000
    assert found[b"l"].value == ([b"a", b"1", b"x" * 70],)
    assert found[b"zz"].value == ([(b"lo", float("-inf")), (b"m", 1.5)],)
    assert found[b"h"].value == ([(b"f", b"v", None), (b"g", b"2", None)],)
    assert found[b"si"].value == ([b"1", b"2", b"70000"],)
    members = found[b"ss"].value
    assert isinstance(members, Members)
    assert sorted(members.items) == [b"a", b"b"]
    if b"hx" in found:
        assert found[b"hx"].value == ([(b"f", b"v", 4_000_000_000_000), (b"g", b"w", None)],)
    nodes = [one.value for one in entries(path.read_bytes(), step) if one.key == b"st"]
    assert isinstance(nodes[0], StreamNode)
    assert list(entries_of(nodes[0])) == [((1, 1), [b"a", b"b"]), ((2, 0), [b"a", b"c"])]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_every_cut_of_real_files(path: Path) -> None:
    data = path.read_bytes()
    for size in range(len(data)):
        with pytest.raises(CorruptRdbError):
            items(data[:size])


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_every_flipped_bit_is_noticed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(RdbError):
            items(bytes(data))
        data[at] ^= 1 << at % 8


def test_every_opcode() -> None:
    module_id = (0b111111 << 10 | 2).to_bytes(8, "big")
    body = (
        b"\xfa" + strings(b"redis-ver", b"7.0")
        + b"\xf7\x81" + module_id + b"\x02\x01\x05\x01x\x00"
        + b"\xf5" + string(b"#!lua name=x")
        + b"\xfe\x03\xfb\x02\x01\xf4" + length(15495) + b"\x01\x00"
        + b"\xfc" + (5).to_bytes(8, "little") + b"\xf9\x07" + STRING
        + b"\xfd" + (9).to_bytes(4, "little") + b"\xf8\x40\x50" + key(0, b"k2", b"\xc0\x07")
        + b"\xf3\x01abcd\x02\x07\x00" + key(7, b"m", b"\x81" + module_id + b"\x05\x01x\x00")
        + b"\xfa" + strings(b"slot-info", b"1,1,0")
        + key(0, b"k3", string(b"v3"))
    )  # fmt: skip
    found = items(rdb(body))
    keys = [item for item in found if isinstance(item, Entry)]
    assert [item for item in found if not isinstance(item, Entry)] == [
        Header("redis", 12),
        Aux(b"redis-ver", b"7.0"),
        ModuleAux("AAAAAAAA_", 2, 1, 16),
        Function(b"#!lua name=x"),
        Database(3),
        DatabaseSize(3, 2, 1),
        SlotInfo(15495, 1, 0),
        Aux(b"slot-info", b"1,1,0"),
        found[-1],
    ]
    assert isinstance(found[-1], End)
    assert [(one.key, one.expire_at_ms, one.idle_seconds, one.frequency) for one in keys] == [
        (b"k", 5, None, 7),
        (b"k2", 9000, 80, None),
        (b"m", None, None, None),
        (b"k3", None, None, None),
    ]
    assert [one.metadata for one in keys] == [0, 0, 1, 0]
    assert keys[2].value == ModuleValue("AAAAAAAA_", 2, 13)


def test_valkey_slot_imports() -> None:
    body = b"\xf3" + string(b"j" * 40) + b"\x02\x01\x05\x07\x07"
    assert items(rdb(body, b"VALKEY080"))[1] == SlotImport(b"j" * 40, [(1, 5), (7, 7)])


def test_runs_and_what_is_between_them() -> None:
    attributes = b"\xfc" + (77).to_bytes(8, "little") + b"\xf9\x07"
    body = b"\xfe\x00" + b"".join(
        (attributes if number % 7 == 0 else b"")
        + key(0, b"key %d" % number, string(b"value %d" % number))
        + (key(1, b"list %d" % number, b"\x01\x01x") if number % 5 == 0 else b"")
        for number in range(20_000)
    )
    data = rdb(body)
    found = entries(data)
    texts = [one for one in found if one.type == "string"]
    assert [one.key for one in texts] == [b"key %d" % number for number in range(20_000)]
    assert all((one.expire_at_ms == 77) == (n % 7 == 0) for n, one in enumerate(texts))
    assert len(found) == 24_000
    assert any(isinstance(item, Strings) for item in items(data))


@pytest.mark.parametrize("magic", [b"", b"REDIS001", b"REDIS00x2", b"VALKEY08x", b"-ERR nope\r\n"])
def test_no_rdb(magic: bytes) -> None:
    with pytest.raises(CorruptRdbError, match="no RDB file"):
        items(magic)


def test_checksums() -> None:
    good = rdb(STRING)
    assert items(good)[-1].checksum != 0  # type: ignore[union-attr]
    assert items(rdb(STRING, checksum=0))[-1] == End(0, len(good), False)
    with pytest.raises(CorruptRdbError, match="the checksum of the file is") as caught:
        items(rdb(STRING, checksum=5))
    assert caught.value.offset == len(good) - 8
    assert items(rdb(STRING, b"REDIS0004"))[-1] == End(None, len(good) - 8, False)
    assert items(good + b"*1\r\n")[-1].goes_on  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("magic", "number", "name"),
    [
        (b"REDIS0014", 27, "a stream with"),
        (b"REDIS0014", 28, "an array"),
        (b"REDIS0015", 33, "a rate limiter"),
        (b"REDIS0008", 6, "a module value of before"),
        (b"VALKEY081", 23, "a path hash"),
        (b"VALKEY080", 24, "not known"),
        (b"REDIS0012", 99, "not known"),
    ],
)
def test_an_unknown_type_is_named(magic: bytes, number: int, name: str) -> None:
    with pytest.raises(UnsupportedRdbError, match=name) as caught:
        items(rdb(b"\xfe\x00" + key(number, b"the key", b"\x00"), magic))
    assert (caught.value.offset, caught.value.key) == (11, b"the key")
    assert f"type {number}" in str(caught.value)


@pytest.mark.parametrize("opcode", [240, 241, 242, 246])
def test_an_unknown_opcode_is_named(opcode: int) -> None:
    with pytest.raises(UnsupportedRdbError, match=f"opcode {opcode} of redis RDB 12") as caught:
        items(rdb(b"\xfe\x00" + bytes([opcode, 0, 0])))
    assert caught.value.offset == 11


def test_damage_names_the_key() -> None:
    with pytest.raises(CorruptRdbError, match=r"^at byte 14 of key b'bad': a listpack") as caught:
        items(rdb(key(16, b"bad", string(b"junk"))))
    assert caught.value.key == b"bad"


def test_wanted() -> None:
    body = b"\xfe\x00" + STRING + key(1, b"list", b"\x02\x01a\x01b") + b"\xfe\x01" + STRING

    def ask(db: int, name: bytes, kind: str) -> bool:
        return db == 1 or kind == "list"

    wanted = [(0, b"list"), (1, b"k")]
    for some, step in ((body, None), (body, 1), (body + STRING * 50_000, None)):
        for values in (True, False):
            found = entries(rdb(some), step, wanted=ask, values=values)
            assert [(one.db, one.key) for one in found[:2]] == wanted
            assert len(found) == (2 if some is body else 50_002)
    # Runs are filtered too, and one of which nothing is left is not given.
    found_items = items(rdb(b"\xfe\x00" + STRING * 50_000), wanted=lambda *_: False)
    assert [type(item).__name__ for item in found_items] == ["Header", "Database", "End"]


def test_without_values_and_with_payloads() -> None:
    value = b"\x02\x01a\x01b"
    data = rdb(b"\xfe\x00" + STRING + key(1, b"list", value))
    found = entries(data, 1, values=False, payloads={"list", "string"})
    assert [one.value for one in found] == [Skipped(), Skipped()]
    assert [one.payload for one in found] == [b"\x00\x01v", b"\x01" + value]
    (part, last) = entries(data, limits=Limits(part_items=1), payloads={"list"})[1:]
    assert (part.payload, last.payload) == (None, b"\x01" + value)
    with pytest.raises(UnsupportedRdbError, match="serialized"):
        entries(data, limits=Limits(payload_bytes=2), payloads={"list"})


@pytest.mark.parametrize("step", [None, 1, 7])
def test_payloads_that_are_too_large_are_not_given(step: int | None) -> None:
    value = b"\x02\x01a\x01b"
    data = rdb(b"\xfe\x00" + key(1, b"one", value) + key(1, b"two", b"\x01\x01a") + STRING)
    found = entries(data, step, payloads={"list": len(value) - 1})
    assert [one.payload for one in found] == [None, b"\x01\x01\x01a", None]
    found = entries(data, step, payloads={"list": len(value)})
    assert found[0].payload == b"\x01" + value


@pytest.mark.parametrize("options", [{}, {"values": False}, {"wanted": lambda *_: False}])
def test_a_large_set_takes_little_memory(options: dict[str, Any]) -> None:
    """A tenth of what its members would take, while they come and go."""
    count = 200_000
    data = rdb(key(2, b"set", length(count) + b"".join(b"\x10%016d" % n for n in range(count))))
    read = RdbReader(reading(data), **options)
    tracemalloc.start()
    try:
        members = sum(
            len(item.value.items)
            for item in read
            if isinstance(item, Entry) and isinstance(item.value, Members)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert members == (0 if options else count)
    assert peak < 3 << 20


def test_the_offset_moves() -> None:
    data = rdb(STRING * 100)
    reader = RdbReader(reading(data))
    for _ in reader:
        pass
    assert reader.offset == len(data)


# Invariant: any bytes give items or an RdbError, in little memory. `deep` in tests/rdb/fuzz.py.
@settings(max_examples=300)
@given(
    st.sampled_from(FIXTURES),
    st.lists(st.tuples(st.integers(9, 700), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_files(path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    data[-8:] = bytes(8)  # no checksum: the damage itself must be noticed, or be harmless
    try:
        for item in items(bytes(data)):
            if isinstance(item, Entry) and isinstance(item.value, StreamNode):
                list(entries_of(item.value))
    except RdbError:
        pass
