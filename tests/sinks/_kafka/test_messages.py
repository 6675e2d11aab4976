"""Values, headers, and records that are too large."""

from __future__ import annotations

import json
from typing import Any

import hiredis
import pytest

from repltap.sink import SinkError, SinkErrorKind, SnapshotRecord
from sinks._kafka.messages import Message, Messages, truncated
from sinks._kafka.murmur2 import positive
from sinks._partitions import Partitions
from tests.sinks.driver import StubContext
from tests.sinks.records import Stream, document, entry, every_kind, flat


def messages(count: int = 1, **given: Any) -> tuple[Messages, StubContext]:
    context = StubContext()
    options: dict[str, Any] = {"resp": False, "max_bytes": 5000, "oversize": "fail", **given}
    rule = Partitions(count, positive, by_key=not options["resp"])
    return Messages(context, rule, **options), context


def headers(message: Message) -> dict[str, str]:
    return dict(message.headers)


def test_a_value_is_the_records_json_and_headers_say_what_it_is() -> None:
    made, _ = messages()
    records = flat(every_kind())
    found = [message for batch in every_kind() for message in made.write(batch)]
    assert [json.loads(message.value) for message in found] == [document(r) for r in records]
    for message, record in zip(found, records, strict=True):
        told = headers(message)
        assert list(told) == ["id", "kind", "source", "replid", "offset"]
        assert told["id"] == record.id
        assert told["kind"] == record.kind.value
        assert (told["source"], told["replid"]) == (record.source, record.replid)
        end = record.offset if isinstance(record, SnapshotRecord) else record.offset_end
        assert told["offset"] == str(end)


def test_copies_are_numbered_and_otherwise_the_same() -> None:
    made, _ = messages(4)
    found = list(made.write([Stream().command(b"FLUSHALL")]))
    assert [headers(message).get("copy") for message in found] == [None, "1", "2", "3"]
    assert len({message.value for message in found}) == 1
    assert len({headers(message)["id"] for message in found}) == 1


def test_a_command_in_resp_is_what_a_server_executes() -> None:
    made, _ = messages(resp=True)
    stream = Stream()
    records = [stream.command(b"SET", b"a", b"1", db=3), *stream.transaction([b"DEL", b"a"])]
    values = [message.value for message in made.write(records)]
    assert values == [
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n",
        b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n",
    ]


def test_each_partition_has_its_own_resp_without_transactions() -> None:
    made, _ = messages(2, resp=True)
    stream = Stream()
    found = list(made.write(stream.transaction([b"SET", b"a", b"1"], [b"SET", b"c", b"2"])))
    found += made.write([stream.command(b"FLUSHALL", db=5)])
    assert {message.partition for message in found} == {0, 1}
    for partition in (0, 1):
        values = [m.value for m in found if m.partition == partition]
        assert values[0].startswith(b"*2\r\n$6\r\nSELECT")
        assert values[-1] == b"*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*1\r\n$8\r\nFLUSHALL\r\n"
    assert not any(b"MULTI" in m.value or b"EXEC" in m.value for m in found)


@pytest.mark.parametrize("resp", [False, True])
def test_what_is_too_large_fails_with_its_id(resp: bool) -> None:
    made, context = messages(resp=resp)
    large = Stream().command(b"SET", b"k", b"x" * 6000)
    with pytest.raises(SinkError, match="max_message_bytes") as raised:
        list(made.write([large]))
    assert large.id in str(raised.value)
    assert raised.value.kind is SinkErrorKind.UNSUPPORTED
    assert not raised.value.passes
    assert context.left_out == 0


@pytest.mark.parametrize("resp", [False, True])
def test_what_is_too_large_is_discarded_and_counted_once(resp: bool) -> None:
    made, context = messages(4, resp=resp, oversize="discard")
    stream = Stream()
    records = [
        stream.command(b"SET", b"a", b"1"),
        stream.command(b"DEL", *(b"%06d" % n for n in range(1000))),
        stream.command(b"SET", b"a", b"2"),
    ]
    found = list(made.write(records))
    assert {headers(message)["id"] for message in found} == {records[0].id, records[2].id}
    assert context.left_out == 1


def test_what_is_too_large_is_cut_until_it_fits() -> None:
    made, context = messages(oversize="truncate")
    record = Stream().command(b"MSET", b"k" * 100, b"\x00" * 9000, b"l", b"\xff" * 9000)
    record = record._replace(key_positions=(1, 3))
    (message,) = made.write([record])
    told = json.loads(message.value)
    assert len(message.value) <= 5000
    assert told["truncated"] is True
    assert told["size"] == 100 + 9000 + 1 + 9000
    assert headers(message)["id"] == record.id
    assert context.left_out == 0


def test_what_no_cut_makes_small_enough_fails() -> None:
    made, _ = messages(oversize="truncate")
    keys = Stream().command(b"DEL", *(b"%06d" % n for n in range(1000)))
    with pytest.raises(SinkError, match="max_message_bytes"):
        list(made.write([keys]))


def test_a_snapshots_string_is_cut_too() -> None:
    _, (record,), _ = Stream().snapshot([entry(b"k", "string", b"x" * 9000)])
    cut = truncated(record, 10)
    assert isinstance(cut, SnapshotRecord)
    assert (cut.value, cut.size) == (b"x" * 10, 9000)
    _, (other,), _ = Stream().snapshot([entry(b"k", "hash", ())])
    assert truncated(other, 10) is other


@pytest.mark.parametrize("size", range(4200, 5200, 50))
def test_nothing_larger_than_the_limit_goes_out(size: int) -> None:
    made, _ = messages(oversize="discard")
    for value, key, _, told in made.write([Stream().command(b"SET", b"k", b"x" * size)]):
        assert len(value) + len(key or b"") + sum(len(a) + len(b) for a, b in told) <= 5000


def test_what_is_discarded_takes_along_neither_select_nor_exec() -> None:
    """What followed came into another database, or into no transaction's end. By reading."""
    made, context = messages(resp=True, max_bytes=1000, oversize="discard")
    stream = Stream()
    large = bytes(3000)
    records = [
        stream.command(b"SET", b"a", b"1", db=0),
        stream.command(b"SET", b"large", large, db=3),
        stream.command(b"SET", b"b", b"1", db=3),
        *stream.transaction([b"SET", b"large", large], [b"SET", b"c", b"1"]),
        *stream.transaction([b"SET", b"d", b"1"], [b"SET", b"large", large]),
        stream.command(b"SET", b"e", b"1", db=3),
    ]
    reader = hiredis.Reader()
    for message in made.write(records):
        reader.feed(message.value)
    told = [b" ".join(words).decode() for words in iter(reader.gets, False)]
    assert told == [
        *["SELECT 0", "SET a 1", "SELECT 3", "SET b 1"],
        *["MULTI", "SET c 1", "EXEC", "MULTI", "SET d 1", "EXEC", "SET e 1"],
    ]
    assert context.left_out == 3


def test_behind_a_discarded_key_of_a_snapshot_the_database_is_selected() -> None:
    made, _ = messages(resp=True, max_bytes=1000, oversize="discard")
    keys = [entry(b"large", "string", bytes(3000), db=3), entry(b"b", "string", b"1", db=3)]
    found = [one.value for batch in Stream().snapshot(keys) for one in made.write(batch)]
    assert found[1].startswith(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
