"""Where records go."""

from zlib import crc32

import pytest

from repltap.sink import AnyRecord, Kind
from sinks.eventlog.partitions import Partitions, record_key
from tests.delivery.wire import records_of
from tests.sinks.records import Stream, every_entry, flat
from tests.stored import command

COUNT = 4
EVERY = [(None, number) for number in range(COUNT)]


def targets(*words: bytes, db: int = 0, count: int = COUNT) -> list[tuple[bytes | None, int]]:
    (record,) = records_of(command(*words))
    return list(Partitions(count).targets(record._replace(db=db)))


def of(*keys: bytes) -> list[tuple[bytes | None, int]]:
    """One target for each partition, under the first key that belongs there."""
    found: dict[int, bytes] = {}
    for key in keys:
        found.setdefault(crc32(key) % COUNT, key)
    return [(key, partition) for partition, key in found.items()]


MANY = [b"k%d" % n for n in range(20)]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ([b"set", b"k", b"v"], [b"0:k"]),
        ([b"del", *MANY], [b"0:" + key for key in MANY]),
        ([b"rename", b"a", b"b"], [b"0:a", b"0:b"]),
        ([b"move", b"a", b"3"], [b"0:a", b"3:a"]),
        ([b"copy", b"a", b"b", b"db", b"3"], [b"0:a", b"0:b", b"3:b"]),
        ([b"copy", b"a", b"b", b"replace"], [b"0:a", b"0:b"]),
    ],
)
def test_a_record_goes_where_its_keys_are(words: list[bytes], keys: list[bytes]) -> None:
    assert targets(*words) == of(*keys)


@pytest.mark.parametrize("words", [[b"flushall"], [b"swapdb", b"0", b"1"], [b"flushdb", b"async"]])
def test_what_has_no_key_goes_everywhere(words: list[bytes]) -> None:
    assert targets(*words) == EVERY


def test_a_message_goes_by_its_channel() -> None:
    assert targets(b"publish", b"ch", b"text") == [(None, crc32(b"ch") % COUNT)]


def test_keys_of_different_databases_differ() -> None:
    assert targets(b"set", b"k", b"v", db=7) == of(b"7:k")
    assert record_key(None, b"k") == b"?:k"


def test_one_partition_has_everything_once() -> None:
    for words in ([b"del", *MANY], [b"move", b"a", b"3"], [b"flushall"], [b"publish", b"c", b"t"]):
        ((_, partition),) = targets(*words, count=1)
        assert partition == 0
    assert targets(b"del", *MANY, count=1) == [(b"0:k0", 0)]


def test_snapshots_and_notices() -> None:
    stream, partitions = Stream(), Partitions(COUNT)
    records: list[AnyRecord] = flat(stream.snapshot(every_entry()))
    for record in records:
        if record.kind is Kind.SNAPSHOT:
            assert list(partitions.targets(record)) == of(b"%d:%b" % (record.db, record.key))
            library = record._replace(key=None, db=None)
            assert list(partitions.targets(library)) == EVERY
        else:
            assert list(partitions.targets(record)) == EVERY
