"""Which partitions a record goes to, by either of the hashes that sinks have."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import pytest

from repltap.sink import AnyRecord, Kind, Record, SnapshotRecord
from sinks._kafka.murmur2 import positive
from sinks._partitions import BY_KEY, Partitions, Target, record_key
from tests.delivery.wire import records_of
from tests.sinks.records import Stream, every_entry, flat
from tests.stored import command

Hash = Callable[[bytes], int]

COUNT = 4
EVERY: list[Target] = [(None, number) for number in range(COUNT)]
MANY = [b"k%d" % n for n in range(20)]


@pytest.fixture(params=[crc32, positive], ids=["log", "kafka"])
def hashed(request: pytest.FixtureRequest) -> Hash:
    made: Hash = request.param
    return made


def record_of(*words: bytes, db: int | None = 0) -> Record:
    (record,) = records_of(command(*words))
    assert isinstance(record, Record)
    return record._replace(db=db)


def targets(hashed: Hash, *words: bytes, db: int | None = 0, count: int = COUNT) -> list[Target]:
    return list(Partitions(count, hashed).targets(record_of(*words, db=db)))


def of(hashed: Hash, *keys: bytes) -> list[Target]:
    """One target for each partition, under the first key that belongs there."""
    found: dict[int, bytes] = {}
    for key in keys:
        found.setdefault(hashed(key) % COUNT, key)
    return [(key, partition) for partition, key in found.items()]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ([b"set", b"k", b"v"], [b"0:k"]),
        ([b"del", *MANY], [b"0:" + key for key in MANY]),
        ([b"rename", b"a", b"b"], [b"0:a", b"0:b"]),
        ([b"move", b"a", b"3"], [b"0:a", b"3:a"]),
        ([b"copy", b"a", b"b", b"db", b"3"], [b"0:a", b"0:b", b"3:b"]),
        ([b"copy", b"a", b"b", b"replace", b"DB", b"3"], [b"0:a", b"0:b", b"3:b"]),
        ([b"copy", b"a", b"b", b"db", b"3", b"db", b"4"], [b"0:a", b"0:b", b"4:b"]),
        ([b"copy", b"a", b"b", b"replace"], [b"0:a", b"0:b"]),
        ([b"copy", b"a", b"b", b"db", b"x"], [b"0:a", b"0:b"]),
    ],
)
def test_a_record_goes_where_its_keys_are(
    hashed: Hash, words: list[bytes], keys: list[bytes]
) -> None:
    assert targets(hashed, *words) == of(hashed, *keys)


@pytest.mark.parametrize("words", [(b"MOVE", b"a"), (b"MOVE", b"a", b"x"), (b"COPY", b"a", b"b")])
def test_what_names_no_other_database_concerns_its_keys_alone(
    hashed: Hash, words: tuple[bytes, ...]
) -> None:
    keys = (1,) if words[0] == b"MOVE" else (1, 2)
    record = Stream().command(*words)._replace(db=0, key_positions=keys)
    expected = of(hashed, *(b"0:" + words[position] for position in keys))
    assert list(Partitions(COUNT, hashed).targets(record)) == expected


def test_no_partition_is_named_twice_however_many_keys_there_are(hashed: Hash) -> None:
    found = targets(hashed, b"del", *(b"k%d" % n for n in range(5000)), count=3)
    assert sorted(partition for _, partition in found) == [0, 1, 2]


@pytest.mark.parametrize("words", [[b"flushall"], [b"swapdb", b"0", b"1"], [b"flushdb", b"async"]])
def test_what_has_no_key_goes_everywhere(hashed: Hash, words: list[bytes]) -> None:
    assert targets(hashed, *words) == EVERY


@pytest.mark.parametrize("name", [b"publish", b"spublish"])
def test_a_message_goes_by_its_channel(hashed: Hash, name: bytes) -> None:
    assert targets(hashed, name, b"ch", b"text") == [(None, hashed(b"ch") % COUNT)]


def test_keys_of_different_databases_differ(hashed: Hash) -> None:
    assert targets(hashed, b"set", b"k", b"v", db=7) == of(hashed, b"7:k")
    assert targets(hashed, b"set", b"k", b"v", db=None) == of(hashed, b"?:k")
    assert record_key(None, b"k") == b"?:k"


def test_one_partition_has_everything_once(hashed: Hash) -> None:
    for words in ([b"del", *MANY], [b"move", b"a", b"3"], [b"flushall"], [b"publish", b"c", b"t"]):
        ((_, partition),) = targets(hashed, *words, count=1)
        assert partition == 0
    assert targets(hashed, b"del", *MANY, count=1) == [(b"0:k0", 0)]


def test_snapshots_and_notices(hashed: Hash) -> None:
    stream, partitions = Stream(), Partitions(COUNT, hashed)
    records: list[AnyRecord] = flat(stream.snapshot(every_entry()))
    for record in records:
        if isinstance(record, SnapshotRecord):
            assert list(partitions.targets(record)) == of(
                hashed, b"%d:%b" % (record.db, record.key)
            )
            library = record._replace(key=None, db=None)
            assert list(partitions.targets(library)) == EVERY
        else:
            assert list(partitions.targets(record)) == EVERY
    assert list(partitions.targets(stream.notice(Kind.GAP, gap=5))) == EVERY


def test_one_key_can_be_left_to_who_writes_it(hashed: Hash) -> None:
    record, left = record_of(b"set", b"k", b"v"), Partitions(COUNT, hashed, by_key=True)
    assert list(left.targets(record)) == [(b"0:k", BY_KEY)]
    # Where several partitions have a copy each is named, and so is the only one.
    assert list(left.targets(record_of(b"del", *MANY))) == targets(hashed, b"del", *MANY)
    assert left.targets(record_of(b"publish", b"c", b"t"))[0][1] != BY_KEY
    assert list(Partitions(1, hashed, by_key=True).targets(record)) == [(b"0:k", 0)]
