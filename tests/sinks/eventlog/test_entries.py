"""What the log has of a record."""

import json

from repltap.sink import Kind
from sinks.eventlog.batch import LogRecord
from sinks.eventlog.entries import Headers, copy_headers, json_values, resp_values
from tests.sinks.driver import StubContext
from tests.sinks.records import Stream, document, every_entry, every_kind, flat


def test_headers_say_what_it_is() -> None:
    headers = Headers()
    for record in flat(every_kind()):
        offset = record.offset if record.kind is Kind.SNAPSHOT else record.offset_end
        assert LogRecord(0, 0, None, b"", headers.write(record)).headers == [
            (b"id", record.id.encode()),
            (b"kind", record.kind.value.encode()),
            (b"source", record.source.encode()),
            (b"replid", record.replid.encode()),
            (b"offset", b"%d" % offset),
        ]


def test_a_copy_says_so() -> None:
    said = Headers().write(Stream().command(b"FLUSHALL"))
    plain, copy = (
        LogRecord(0, 0, None, b"", raw).headers for raw in (said, copy_headers(said, 12))
    )
    assert copy == [*plain, (b"copy", b"12")]


def test_json_is_one_value_for_each_record() -> None:
    records = flat(every_kind())
    values = json_values(StubContext(), records)
    assert [json.loads(value) for value in values] == [document(record) for record in records]
    assert not any(b"\n" in value for value in values)


def test_commands_stand_by_themselves() -> None:
    stream = Stream()
    records = [
        *stream.transaction([b"INCR", b"n"], [b"INCR", b"n"]),
        stream.command(b"SET", b"k", b"v", db=3),
    ]
    select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n%d\r\n"
    incr = select % 0 + b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
    assert resp_values(StubContext(), records) == [
        incr,
        incr,
        select % 3 + b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    ]


def test_snapshots_and_notices_as_commands() -> None:
    records = flat(Stream().snapshot(every_entry()))
    values = resp_values(StubContext(), records)
    assert len(values) == len(records)
    assert values[0] == b"*1\r\n$8\r\nFLUSHALL\r\n"
    assert values[-1] == b""
    assert all(values[1:-1])
