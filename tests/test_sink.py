"""What a sink is given."""

from collections.abc import Mapping, Sequence
from typing import Any

from repltap.sink import AnyRecord, Kind, Sink, SinkContext, SnapshotRecord
from tests.delivery.wire import records_of
from tests.stored import REPLID, command


def test_a_record_says_what_it_is() -> None:
    (record,) = records_of(command(b"mset", b"a", b"1", b"b", b"2"))
    assert record.id == f"{REPLID}:{record.offset_end}"
    assert record.args == [b"a", b"1", b"b", b"2"]
    assert record.keys == [b"a", b"b"]


def test_a_record_of_a_snapshot_has_the_same_id_whenever_it_is_delivered() -> None:
    record = SnapshotRecord(
        "master", REPLID, 1000, 7, 0, b"k", "string", b"v", None, 0, True, 5, None, False, ()
    )
    assert record.id == f"{REPLID}:1000:7"
    assert record.kind is Kind.SNAPSHOT
    assert record.keys == [b"k"]


def test_a_sink_need_not_do_anything_when_nothing_is_to_be_written() -> None:
    class Plain(Sink):
        def open(self, context: SinkContext) -> str | None: ...
        def write(self, records: Sequence[AnyRecord]) -> None: ...
        def commit(self, place: str) -> Mapping[str, Any] | None: ...
        def close(self) -> None: ...

    sink = Plain({})
    sink.idle()
    assert sink.samples() == ()
