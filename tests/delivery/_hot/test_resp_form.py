"""The RESP form: the master's bytes, and what a filter makes necessary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery._hot.resp_form import RespForm, encode
from repltap.delivery.stream import StreamLimits, StreamState
from tests.delivery.wire import (
    COMMANDS,
    EXEC,
    GETACK,
    MULTI,
    PING,
    cuts,
    pieces,
    records_of,
    stream,
)
from tests.stored import REPLID, SET, command

_PARTS = st.one_of(
    COMMANDS.map(lambda words: command(*words)),
    st.sampled_from([PING, GETACK, MULTI, EXEC, command(b"SELECT", b"1"), b"\n"]),
)


def written(raw: bytes, places: list[int], **settings: object) -> bytes:
    tap, form = stream(**settings), RespForm(0)
    return b"".join(
        form.write(tap.feed(piece, REPLID, 0), *tap.window) for piece in pieces(raw, places)
    )


@given(st.lists(_PARTS, max_size=12), st.data())
def test_executed_it_gives_the_same(parts: list[bytes], data: st.DataObject) -> None:
    """However the stream was cut; and what is held, or comes in parts, is the same too."""
    raw = b"".join(parts)
    hold = data.draw(st.sampled_from([1 << 20, 50]))
    limits = StreamLimits(hold_bytes=hold)
    out = written(raw, data.draw(cuts(len(raw))), limits=limits)
    again = [(r.db, r.words, r.tx and r.tx[1:]) for r in records_of(out)]
    tap = stream(limits=limits)
    first = [(r.db, r.words, r.tx and r.tx[1:]) for r in tap.feed(raw, REPLID, 0)]
    open_tx = [entry for entry in first if entry[2]]
    if not open_tx or open_tx[-1][2][1]:  # a transaction that is still open is not given out again
        assert again == first


def test_all_records_are_the_stream_itself() -> None:
    plain = SET + command(b"SELECT", b"3") + SET + command(b"set", b"k", b"\xff\r\n")
    multi = MULTI + SET + command(b"incr", b"n") + EXEC
    raw = plain + multi + SET
    for places in ([], [5], list(range(0, len(raw), 3))):
        assert written(raw, places) == raw
        assert written(PING + raw + GETACK, places) == raw


def test_what_a_filter_leaves_out() -> None:
    raw = command(b"SELECT", b"3") + SET + command(b"SELECT", b"5") + MULTI + SET
    raw += command(b"DEL", b"a") + EXEC + command(b"SELECT", b"3") + SET + command(b"DEL", b"b")
    out = written(raw, [], accepts=lambda record: record.db == 3)
    assert out == command(b"SELECT", b"3") + SET + SET + command(b"DEL", b"b")
    out = written(raw, [], accepts=lambda record: record.cmd == "DEL")
    inside = MULTI + command(b"SELECT", b"5") + command(b"DEL", b"a") + EXEC
    assert out == inside + command(b"SELECT", b"3") + command(b"DEL", b"b")


def test_the_first_record_selects_where_nothing_is_known() -> None:
    assert RespForm().write(records_of(SET), b"", 0) == command(b"SELECT", b"0") + SET


def test_encoded() -> None:
    assert encode([b"SET", b"key", b"value"]) == SET


def test_a_command_at_offset_0_that_was_torn() -> None:
    """Offset 0 is no "nothing": the first byte of a history stands there."""
    tap, form = stream(StreamState(0, 0)), RespForm(0)
    assert tap.feed(SET[:7], REPLID, 0) == []
    records = tap.feed(SET[7:] + SET, REPLID, 0)
    assert form.write(records, *tap.window) == SET + SET


def test_a_transaction_whose_end_never_comes() -> None:
    """It had been given out in part when its history ended: nobody executes it."""
    limits = StreamLimits(hold_bytes=1)
    cut, form = stream(limits=limits), RespForm(0)
    raw = MULTI + command(b"SELECT", b"4") + SET + SET
    out = form.write(cut.feed(raw, REPLID, 0), *cut.window)
    assert out == MULTI + command(b"SELECT", b"4") + SET
    discard, select = command(b"DISCARD"), command(b"SELECT", b"0")
    other = stream(StreamState(5000, 0))
    assert form.write(other.feed(SET, REPLID, 0), *other.window) == discard + select + SET
    other, form = stream(StreamState(5000, 0)), RespForm(0)
    form.write(stream(limits=limits).feed(raw, REPLID, 0), b"", 0)
    whole = MULTI + SET + EXEC
    assert form.write(other.feed(whole, REPLID, 0), *other.window) == (
        discard + MULTI + select + SET + EXEC
    )
