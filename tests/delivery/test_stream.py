"""Decoder and tracker together; the state of a checkpoint."""

from __future__ import annotations

import pytest

from repltap.delivery.stream import StreamLimits, StreamState
from repltap.errors import RemoteProtocolError
from tests.delivery.wire import EXEC, MULTI, PING, stream
from tests.stored import OTHER, REPLID, SET


def test_the_state_is_a_small_document() -> None:
    assert StreamState(7, None).as_dict() == {"offset": 7, "tx_index": 0}
    assert StreamState(7, 0, 3, 2).as_dict() == {"offset": 7, "db": 0, "tx_id": 3, "tx_index": 2}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"offset": 1},
        {"offset": -1, "tx_index": 0},
        {"offset": True, "tx_index": 0},
        {"offset": 1, "tx_index": 0, "db": "0"},
        {"offset": 2**63, "tx_index": 0},
    ],
)
def test_something_else_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a place in a stream"):
        StreamState.from_dict(document)


def test_each_record_has_the_time_and_replid_of_its_end() -> None:
    tap = stream()
    assert tap.feed(SET + SET[:5], REPLID, 1)[0].ts_ms == 1
    (record,) = tap.feed(SET[5:], OTHER, 2)
    assert (record.ts_ms, record.id) == (2, f"{OTHER}:{1000 + 2 * len(SET)}")
    tap.feed(MULTI + SET, REPLID, 3)
    assert [r.ts_ms for r in tap.feed(SET + EXEC, REPLID, 4)] == [3, 4]


def test_what_is_no_command_is_raised_after_what_is_before_it() -> None:
    tap = stream()
    assert len(tap.feed(SET + PING + b"nonsense\r\n", REPLID, 0)) == 1
    with pytest.raises(RemoteProtocolError, match=r"at offset 10\d\d"):
        tap.feed(b"", REPLID, 0)


def test_limits_are_passed_on() -> None:
    tap = stream(limits=StreamLimits(command_bytes=20))
    with pytest.raises(RemoteProtocolError, match="longer than 20"):
        tap.feed(SET, REPLID, 0)
