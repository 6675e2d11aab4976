"""Databases and transactions, and where to go on."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery._hot.tracker import Tracker
from repltap.delivery.stream import StreamLimits, StreamState
from repltap.sink import Record
from tests.delivery.wire import EXEC, GETACK, MULTI, PING, TABLE, TIME_MS, records_of, stream
from tests.stored import REPLID, SET, command

START = 1000


def select(db: int) -> bytes:
    return command(b"SELECT", b"%d" % db)


def seen(records: list[Record]) -> list[tuple[object, ...]]:
    """What the tests below look at: database, name, and place in a transaction."""
    return [(r.db, r.cmd, *(r.tx or ())) for r in records]


def test_a_record() -> None:
    (record,) = records_of(PING + command(b"set", b"k", b"\xff"))
    assert record == Record(
        source="master",
        replid=REPLID,
        offset_start=1014,
        offset_end=1041,
        db=0,
        cmd="SET",
        words=[b"set", b"k", b"\xff"],
        key_positions=(1,),
        tx=None,
        ts_ms=TIME_MS,
        size=None,
        redacted=False,
    )


def test_databases() -> None:
    raw = SET + select(3) + SET + command(b"select", b"12") + SET + command(b"SWAPDB", b"1", b"2")
    assert seen(records_of(raw)) == [(0, "SET"), (3, "SET"), (12, "SET"), (12, "SWAPDB")]


@pytest.mark.parametrize("words", [(b"SELECT",), (b"SELECT", b"x"), (b"SELECT", b"1", b"2")])
def test_a_select_of_nothing_leaves_the_database_unknown(words: tuple[bytes, ...]) -> None:
    assert seen(records_of(command(*words) + SET)) == [(None, "SET")]


def test_a_transaction_comes_with_its_exec() -> None:
    """SELECT may stand before it, or in it (7.2 and later)."""
    raw = select(2) + MULTI + SET + select(3) + SET + GETACK + command(b"incr", b"n")
    tap = stream()
    assert tap.feed(SET + raw, REPLID, TIME_MS)[1:] == []
    assert tap.state() == StreamState(START + len(SET) + len(select(2)), 2)
    tx = START + len(SET) + len(select(2))
    assert seen(tap.feed(EXEC + SET, REPLID, TIME_MS)) == [
        (2, "SET", tx, 0, False),
        (3, "SET", tx, 1, False),
        (3, "INCR", tx, 2, True),
        (3, "SET"),
    ]
    assert tap.left_out == {"REPLCONF": 1}


def test_a_filter_leaves_the_last_one_last() -> None:
    raw = MULTI + SET + command(b"INCR", b"n") + command(b"DEL", b"n") + EXEC
    records = records_of(raw, accepts=lambda record: record.cmd != "DEL")
    assert seen(records) == [(0, "SET", START, 0, False), (0, "INCR", START, 1, True)]
    assert records_of(raw, accepts=lambda record: False) == []


def test_discarded_and_stray() -> None:
    raw = MULTI + SET + select(4) + command(b"DISCARD") + SET + EXEC + SET + command(b"DISCARD")
    assert seen(records_of(raw)) == [(0, "SET"), (0, "SET")]
    assert seen(records_of(MULTI + EXEC + MULTI + MULTI + SET + EXEC)) == [
        (0, "SET", START + 29, 0, True)
    ]


def test_discarded_after_a_part_was_given_out() -> None:
    """Found by tests.delivery.fuzz: the state lacks what was selected before, so nobody says it."""
    before, behind = MULTI + SET + select(4) + SET + SET, command(b"DISCARD") + SET
    limits = StreamLimits(hold_bytes=1)
    tap = stream(limits=limits)
    tap.feed(before, REPLID, TIME_MS)
    state = tap.state()
    resumed = stream(state, limits=limits)
    after = resumed.feed((before + behind)[state.offset - START :], REPLID, TIME_MS)
    assert seen(after) == seen(tap.feed(behind, REPLID, TIME_MS)) == [(None, "SET")]


def test_a_transaction_that_is_cut_is_dropped() -> None:
    tap = stream()
    tap.feed(SET + MULTI + SET + SET, REPLID, TIME_MS)
    assert tap.abandon() == 2
    assert tap.abandon() == 0


def test_a_transaction_too_large_to_hold_comes_in_parts() -> None:
    """Always one behind, so that the last one says so; and it is gone on with where it was."""
    limits = StreamLimits(hold_bytes=2 * (len(SET) + 550))
    tap = stream(limits=limits)
    body = [SET] * 7
    got = [tap.feed(MULTI, REPLID, TIME_MS)]
    for part in body:
        got.append(tap.feed(part, REPLID, TIME_MS))
        state = tap.state()
        given_out = sum(map(len, got))
        if given_out:
            place = StreamState(START + 15 + given_out * len(SET), 0, START, given_out)
            assert state == place
        else:
            assert state == StreamState(START, 0)
        rest = stream(state, limits=limits)
        from_there = (MULTI + b"".join(body) + EXEC)[state.offset - START :]
        assert [*chain(*got), *rest.feed(from_there, REPLID, TIME_MS)] == records_of(
            MULTI + b"".join(body) + EXEC
        )
    got.append(tap.feed(EXEC, REPLID, TIME_MS))
    assert seen(list(chain(*got))) == [(0, "SET", START, n, n == 6) for n in range(7)]
    assert max(map(len, got)) <= 2


_PARTS = st.sampled_from(
    [
        *(PING, GETACK, SET, select(1), select(2), MULTI, EXEC, b"\n", b"*0\r\n"),
        command(b"DISCARD"),
        *(command(b"del", b"a", b"b"), command(b"MSET", b"a", b"x" * 200, b"b", b"\r\n")),
    ]
)


@given(st.lists(_PARTS, max_size=30), st.integers(0, 30), st.sampled_from([1 << 20, 1500, 40]))
def test_resumed_anywhere(parts: list[bytes], cut: int, hold_bytes: int) -> None:
    """What was given out, and what a new one gives out from the state on, is the whole."""
    raw = b"".join(parts)
    before = b"".join(parts[:cut])
    limits = StreamLimits(hold_bytes=hold_bytes)
    first = stream(limits=limits)
    records = first.feed(before, REPLID, TIME_MS)
    state = first.state()
    assert StreamState.from_dict(state.as_dict()) == state
    second = stream(state, limits=limits)
    assert second.state() == state
    records += second.feed(raw[state.offset - START :], REPLID, TIME_MS)
    assert records == stream(limits=limits).feed(raw, REPLID, TIME_MS)


def test_the_state_within_a_large_transaction_that_selects() -> None:
    """What is held back comes first when it is gone on, under the database it was written to."""
    tap = stream(limits=StreamLimits(hold_bytes=1))
    assert len(tap.feed(MULTI + SET + SET + select(7), REPLID, TIME_MS)) == 1
    state = tap.state()
    assert state == StreamState(START + 15 + len(SET), 0, START, 1)
    rest = stream(state).feed(SET + select(7) + SET + EXEC, REPLID, TIME_MS)
    assert seen(rest) == [(0, "SET", START, 1, False), (7, "SET", START, 2, True)]


def test_each_transaction_counts_for_itself() -> None:
    raw = MULTI + SET + SET + EXEC
    assert [r.tx and r.tx.ordinal for r in records_of(raw + raw)] == [0, 1, 0, 1]


def test_names_in_every_spelling_take_bounded_memory() -> None:
    tracker = Tracker(TABLE.find, "master", None, 0)
    for n in range(10_000):
        tracker.track([(0, 1, [b"%d" % n])], REPLID, TIME_MS)
    (record,) = tracker.track([(0, 1, [b"sEt", b"k", b"v"])], REPLID, TIME_MS)
    assert (record.cmd, record.keys) == ("SET", [b"k"])
    (record,) = tracker.track([(0, 1, [b"\xff\x00"])], REPLID, TIME_MS)
    assert record.cmd == "\\XFF\x00"
