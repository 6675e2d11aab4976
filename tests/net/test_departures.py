"""Who left the port, and why."""

from pathlib import Path

import pytest

from repltap.endings import PEER_CLOSED, DisconnectReason, Ending
from repltap.errors import (
    CorruptStoreError,
    DataDirError,
    NotRetainedError,
    OpenFilesError,
    StoreError,
)
from repltap.net.departures import Departures, ending_of
from repltap.position import Offset


def test_each_is_counted_and_the_last_are_remembered() -> None:
    departures = Departures()
    assert (departures.counts, departures.recent) == ({}, ())
    departures.note("first", Ending(DisconnectReason.LAG_BYTES, "far behind"), Offset(7))
    for number in range(40):
        departures.note(f"r{number}", PEER_CLOSED, None)
    assert departures.counts == {"lag_bytes": 1, "closed": 40}
    assert len(departures.recent) == 32
    assert [each.replica for each in departures.recent[:2]] == ["r39", "r38"]
    assert all(each.reason == "closed" for each in departures.recent)


def test_everything_is_told_of_one() -> None:
    departures = Departures()
    departures.note("10.0.0.1:6379", Ending(DisconnectReason.KILLED, "by hand"), Offset(7))
    (only,) = departures.recent
    assert (only.replica, only.reason, only.detail, only.acked_offset) == (
        "10.0.0.1:6379",
        "killed",
        "by hand",
        7,
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (CorruptStoreError, DisconnectReason.DAMAGED),
        (NotRetainedError, DisconnectReason.NOT_RETAINED),
        (OpenFilesError, DisconnectReason.STORE_ERROR),
        (DataDirError, DisconnectReason.STORE_ERROR),
    ],
)
def test_what_a_failed_read_means(kind: type[StoreError], reason: DisconnectReason) -> None:
    failure = kind("it failed", path=Path("/j"))
    assert ending_of(failure) == Ending(reason, "/j: it failed")
    assert ending_of(failure, "not now").detail == "not now: /j: it failed"
