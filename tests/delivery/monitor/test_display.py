"""What is shown from where on."""

import pytest

from repltap.delivery.monitor.display import Display, LineStream
from repltap.delivery.monitor.messages import Place
from repltap.delivery.stream import StreamState
from tests.delivery.monitor.screen import Screen
from tests.stored import REPLID, command

NS = 1_700_000_000_123_456_789
A, B, C = (command(b"SET", name, b"v") for name in (b"a", b"b", b"c"))
SIZE = len(A)
SHOWN = ['0 "SET" "a" "v"', '0 "SET" "b" "v"', '0 "SET" "c" "v"']


def begin(screen: Screen, offset: int = 100, number: int = 1) -> LineStream:
    return screen.display.decode(number, StreamState(offset, 0))


def test_lines_and_their_place() -> None:
    screen = Screen()
    screen.display.address = b"10.0.0.1:6379"
    stream = begin(screen)
    stream.take(A + B[:5], REPLID, NS)
    assert screen.take() == SHOWN[:1]
    assert screen.places == [(1, 100 + SIZE)]
    assert screen.frames[0].payload == b'+1700000000.123456 [0 10.0.0.1:6379] "SET" "a" "v"\r\n'
    screen.display.address = b"other:1"
    stream.take(B[5:], REPLID, NS)
    assert screen.take() == SHOWN[1:2]
    assert b"[0 other:1]" in screen.frames[-1].payload
    assert stream.state() == StreamState(100 + 2 * SIZE, 0)
    assert stream.window[0] == B[4:]  # its first header has been read


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        (0, [7, *SHOWN]),
        (SIZE - 1, [7, *SHOWN]),  # the command it is in has been executed behind it
        (SIZE, [SHOWN[0], 7, *SHOWN[1:]]),
        (SIZE + 1, [SHOWN[0], 7, *SHOWN[1:]]),
        (3 * SIZE, [*SHOWN, 7]),
        (3 * SIZE + 1, SHOWN),
    ],
)
def test_a_mark_is_answered_where_it_belongs(marked: int, expected: list[str | int]) -> None:
    screen = Screen()
    stream = begin(screen)
    screen.will_mark(7, 1, 100 + marked)
    stream.take(A + B + C, REPLID, NS)
    assert screen.take() == expected


def test_several_marks() -> None:
    screen = Screen()
    stream = begin(screen)
    for mark, offset in ((1, SIZE), (2, SIZE), (3, 2 * SIZE), (4, 0)):
        screen.will_mark(mark, 1, 100 + offset)
    stream.take(A + B, REPLID, NS)
    assert screen.take() == [4, SHOWN[0], 1, 2, SHOWN[1], 3]


def test_marks_of_what_lies_behind_are_answered() -> None:
    screen = Screen()
    screen.display.mark(1, Place(1, 5000))
    screen.display.mark(2, Place(2, 100))
    screen.display.mark(3, Place(2, 101))
    screen.display.mark(4, Place(3, 1))
    begin(screen, number=2)
    assert screen.take() == [1, 2]
    screen.display.answer()
    assert screen.take() == []
    screen.display.answer(all_of_history=True)
    assert screen.take() == [3]


def test_the_place_within_a_transaction_is_its_beginning() -> None:
    screen = Screen()
    stream = begin(screen)
    multi = command(b"MULTI")
    stream.take(A + multi + command(b"SELECT", b"5") + B, REPLID, NS)
    assert screen.take() == SHOWN[:1]
    assert screen.places == [(1, 100 + SIZE)]
    assert stream.state() == StreamState(100 + SIZE, 0)
    assert stream.abandon() == 0
    stream.take(C, REPLID, NS)
    assert screen.take() == ['5 "SET" "c" "v"']


def test_much_is_sent_in_frames() -> None:
    screen = Screen()
    stream = begin(screen)
    stream.take(command(b"SET", b"k", b"v" * 5000) * 100, REPLID, NS)
    sizes = [len(frame.payload) for frame in screen.frames]
    assert len(sizes) > 5
    assert max(sizes) < 100_000
    assert screen.places == sorted(screen.places)
    # A transaction that is large is sent in several, all but the last with its beginning's place.
    screen.display.flush()
    screen.frames.clear()
    screen.places.clear()
    before = stream.state().offset
    raw = command(b"MULTI") + command(b"SET", b"k", b"v" * 5000) * 400 + command(b"EXEC")
    stream.take(raw, REPLID, NS)
    screen.display.flush()
    assert sum(frame.payload.count(b"\n") for frame in screen.frames) == 402
    assert max(len(frame.payload) for frame in screen.frames) < 1 << 20
    assert screen.places[-1].offset == before + len(raw)


def test_failing_is_said_behind_the_rest() -> None:
    screen = Screen()
    begin(screen).take(A, REPLID, NS)
    screen.display.fail("it is gone")
    assert screen.seen == SHOWN[:1]
    assert screen.failed == "it is gone"


def test_an_unknown_database_is_shown_as_zero() -> None:
    sent: list[bytes] = []
    display = Display(sent.append, lambda: None, frozenset())
    display.decode(1, StreamState(100, None)).take(A, REPLID, NS)
    display.flush()
    assert b"[0 ]" in sent[0]
