"""What a sink is given."""

from tests.delivery.wire import records_of
from tests.stored import REPLID, command


def test_a_record_says_what_it_is() -> None:
    (record,) = records_of(command(b"mset", b"a", b"1", b"b", b"2"))
    assert record.id == f"{REPLID}:{record.offset_end}"
    assert record.args == [b"a", b"1", b"b", b"2"]
    assert record.keys == [b"a", b"b"]
