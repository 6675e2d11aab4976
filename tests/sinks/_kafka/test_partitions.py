"""Which partitions a record goes to."""

from __future__ import annotations

import pytest

from repltap.sink import Kind, Record
from sinks._kafka.partitions import BY_KEY, Partitions, Target, message_key, murmur2
from tests.sinks.records import Stream, entry

# What Java's own tests have (`UtilsTest.testMurmur2`), and what they say.
JAVA = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "hashed"), JAVA)
def test_the_hash_is_javas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF


def where(key: bytes, count: int = 8, db: int | None = 0) -> int:
    return (murmur2(message_key(db, key)) & 0x7FFFFFFF) % count


def made(*words: bytes, keys: tuple[int, ...], db: int | None = 0) -> Record:
    return Stream().command(*words)._replace(db=db, key_positions=keys)


def test_one_key_is_left_to_librdkafka_unless_it_must_not_be() -> None:
    record = made(b"SET", b"a", b"v", keys=(1,), db=3)
    assert Partitions(8).targets(record) == [Target(b"3:a", BY_KEY)]
    assert Partitions(8, by_key=False).targets(record) == [Target(b"3:a", where(b"a", db=3))]
    assert Partitions(1).targets(record) == [Target(b"3:a", 0)]


def test_a_database_that_is_not_known_has_a_name_of_its_own() -> None:
    assert Partitions(1).targets(made(b"INCR", b"a", keys=(1,), db=None)) == [Target(b"?:a", 0)]


def test_several_keys_go_to_each_of_their_partitions_once() -> None:
    keys = [b"k%d" % n for n in range(6)]
    found = Partitions(8).targets(made(b"DEL", *keys, keys=tuple(range(1, 7))))
    expected: dict[int, bytes] = {}
    for key in keys:
        expected.setdefault(where(key), b"0:" + key)
    assert found == [Target(key, partition) for partition, key in expected.items()]
    assert len(found) > 1
    assert found[0] == Target(b"0:k0", where(b"k0"))


def test_no_partition_is_named_twice_however_many_keys_there_are() -> None:
    keys = [b"k%d" % n for n in range(5000)]
    found = Partitions(3).targets(made(b"DEL", *keys, keys=tuple(range(1, 5001))))
    assert sorted(target.partition for target in found) == [0, 1, 2]


def test_one_partition_has_one_copy() -> None:
    record = made(b"RENAME", b"a", b"b", keys=(1, 2))
    assert Partitions(1).targets(record) == [Target(b"0:a", 0)]
    assert Partitions(1).targets(made(b"FLUSHALL", keys=())) == [Target(None, 0)]


@pytest.mark.parametrize(
    ("words", "keys", "other"),
    [
        ((b"MOVE", b"a", b"7"), (1,), b"a"),
        ((b"COPY", b"a", b"b", b"DB", b"7"), (1, 2), b"b"),
        ((b"COPY", b"a", b"b", b"replace", b"db", b"7"), (1, 2), b"b"),
    ],
)
def test_a_key_in_another_database_is_one_of_the_keys(
    words: tuple[bytes, ...], keys: tuple[int, ...], other: bytes
) -> None:
    found = Partitions(64).targets(made(*words, keys=keys))
    assert Target(b"7:" + other, where(other, 64, db=7)) in found
    assert found[0] == Target(b"0:a", where(b"a", 64))


@pytest.mark.parametrize(
    "words",
    [(b"MOVE", b"a", b"x"), (b"MOVE", b"a"), (b"COPY", b"a", b"b"), (b"COPY", b"a", b"b", b"DB")],
)
def test_what_names_no_other_database_concerns_its_keys_alone(words: tuple[bytes, ...]) -> None:
    keys = (1,) if words[0] == b"MOVE" else (1, 2)
    found = Partitions(64).targets(made(*words, keys=keys))
    assert {target.key for target in found} <= {b"0:a", b"0:b"}


@pytest.mark.parametrize(
    "words", [(b"FLUSHALL",), (b"SWAPDB", b"0", b"1"), (b"FUNCTION", b"FLUSH")]
)
def test_what_has_no_key_goes_everywhere(words: tuple[bytes, ...]) -> None:
    every = [Target(None, partition) for partition in range(4)]
    assert Partitions(4).targets(made(*words, keys=())) == every


def test_notices_and_libraries_go_everywhere() -> None:
    every = [Target(None, partition) for partition in range(4)]
    stream = Stream()
    ((begin,), (key, library), _) = stream.snapshot(
        [entry(b"a", "string", b"v"), entry(b"lib", "function", b"code")]
    )
    partitions = Partitions(4)
    assert partitions.targets(begin) == every
    assert partitions.targets(stream.notice(Kind.GAP, gap=5)) == every
    assert partitions.targets(library._replace(db=None, key=None)) == every
    assert partitions.targets(key) == [Target(b"0:a", BY_KEY)]


@pytest.mark.parametrize("name", [b"PUBLISH", b"SPUBLISH"])
def test_messages_of_a_channel_stay_in_one_partition(name: bytes) -> None:
    (target,) = Partitions(8).targets(made(name, b"news", b"text", keys=()))
    assert target == Target(None, (murmur2(b"news") & 0x7FFFFFFF) % 8)
