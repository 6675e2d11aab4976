import json

import pytest

from repltap.delivery.place import Phase, Place, reset_of
from repltap.delivery.stream import StreamState
from repltap.position import Offset
from tests.stored import REPLID

STREAM = Place.stream(3, REPLID, StreamState(1234, 2))
PLACES = [
    STREAM,
    Place.stream(3, REPLID, StreamState(0, None)),
    Place.stream(3, REPLID, StreamState(1234, 0, 1000, 7)),
    STREAM.wanting(),
    Place(phase=Phase.SNAPSHOT, history=1, replid=REPLID, offset=Offset(9), crc64=2**64 - 1),
    Place(phase=Phase.SNAPSHOT, history=1, replid=REPLID, offset=Offset(9), crc64=0, ordinal=2**40),
]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_written_is_read(place: Place) -> None:
    assert Place.from_text(place.as_text()) == place
    assert Place.from_dict(json.loads(json.dumps(place.as_dict()))) == place


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"phase": "elsewhere"},
        {"history": -1},
        {"history": 1.0},
        {"replid": "xyz"},
        {"replid": "0" * 40},
        {"offset": None},
        {"offset": 2**63},
        {"db": "0"},
        {"tx_id": 5},
        {"crc64": "0" * 16},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Place.from_dict({**STREAM.as_dict(), **change})


@pytest.mark.parametrize("change", [{"crc64": "0" * 15}, {"crc64": 5}, {"ordinal": -2}])
def test_a_snapshot_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Place.from_dict({**PLACES[-1].as_dict(), **change})


@pytest.mark.parametrize("text", ["", "x", "[]", "3", '{"v":1}', '{"v":1', "[" * 100_000])
def test_text_that_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Place.from_text(text)


def test_the_place_after_which_a_snapshot_comes() -> None:
    wanting = STREAM.wanting()
    assert (wanting.phase, wanting.offset, wanting.begun) == (Phase.WANTED, 1234, False)
    assert STREAM.in_history(7).history == 7


@pytest.mark.parametrize("place", PLACES)
def test_a_place_can_name_the_reset_that_it_follows(place: Place) -> None:
    text = place.as_text("9f2c")
    assert reset_of(text) == "9f2c"
    assert Place.from_text(text) == place
    assert reset_of(place.as_text()) == ""


@pytest.mark.parametrize("text", ["", "x", "[]", "3", '{"reset":5}', "[" * 100_000])
def test_what_is_no_place_follows_no_reset(text: str) -> None:
    assert reset_of(text) == ""
