from __future__ import annotations

import time

import pytest

from repltap.endings import DenialReason
from repltap.errors import RemoteProtocolError
from repltap.position import History, Offset, Position, ReplId
from repltap.protocol.psync import (
    PsyncRequest,
    Verdict,
    decide,
    first_boundary,
    journal_resume_point,
    parse_psync,
    psync_arguments,
)
from repltap.protocol.resp import encode_command
from tests.protocol.ways import OTHER, REPLID

ID = REPLID.encode()
A, B = ReplId(REPLID), ReplId(OTHER)


def position(replid: ReplId, offset: int) -> Position:
    return Position(replid, Offset(offset))


@pytest.mark.parametrize(
    ("args", "request_"),
    [
        ([b"?", b"-1"], PsyncRequest(None)),
        ([ID, b"101"], PsyncRequest(position(A, 100))),
        ([ID.upper(), b"1"], PsyncRequest(position(A, 0))),
        ([ID, b"0"], PsyncRequest(None)),
        ([ID, b"-1"], PsyncRequest(None)),
        ([b"", b"87"], PsyncRequest(None)),  # a real replica after a SYNC
        ([b"short", b"87"], PsyncRequest(None)),
        ([b"0" * 40, b"87"], PsyncRequest(None)),
        ([ID, b"9223372036854775807"], PsyncRequest(position(A, 2**63 - 2))),
        ([ID, b"7", b"FAILOVER"], PsyncRequest(position(A, 6), failover=True)),
        ([ID, b"7", b"failover"], PsyncRequest(position(A, 6), failover=True)),
    ],
)
def test_parse(args: list[bytes], request_: PsyncRequest) -> None:
    assert parse_psync([b"PSYNC", *args]) == request_


@pytest.mark.parametrize(
    "number", [b"", b"x", b"1.0", b"+1", b" 1", b"01", b"9223372036854775808", b"1\n"]
)
def test_offset_must_be_an_integer(number: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="ERR value is not an integer or out of range"):
        parse_psync([b"psync", ID, number])


@pytest.mark.parametrize("args", [[], [ID]])
def test_too_few_arguments(args: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong number of arguments for 'psync'"):
        parse_psync([b"PSYNC", *args])


def test_arguments_round_trip() -> None:
    assert psync_arguments(None) == (b"?", b"-1")
    assert psync_arguments(position(A, 0)) == (ID, b"1")
    held = position(A, 12345)
    assert parse_psync([b"PSYNC", *psync_arguments(held)]).position == held


SHIFTED = History(A).shifted(B, Offset(150))


@pytest.mark.parametrize(
    ("at", "history", "verdict", "reason"),
    [
        (None, History(A), Verdict.FULL, "asked for a full sync"),
        (position(A, 150), None, Verdict.FULL, "no history"),
        (position(A, 99), History(A), Verdict.FULL, "older than the journal, which begins at 100"),
        (position(A, 100), History(A), Verdict.CONTINUE, "from 100 to 200"),
        (position(A, 200), History(A), Verdict.CONTINUE, "from 200 to 200"),
        (position(A, 201), History(A), Verdict.WAIT, "ahead"),
        (position(B, 150), History(A), Verdict.FULL, f"unknown replid {B}"),
        (position(B, 150), SHIFTED, Verdict.CONTINUE, "holds"),
        (position(A, 150), SHIFTED, Verdict.CONTINUE, "holds"),
        (position(A, 151), SHIFTED, Verdict.FULL, "offset 151 is past 150"),
    ],
)
def test_decide(
    at: Position | None, history: History | None, verdict: Verdict, reason: str
) -> None:
    decision = decide(at, history, Offset(100), Offset(200))
    assert decision.verdict is verdict
    assert reason in decision.reason


def test_an_empty_journal_continues_at_its_only_offset() -> None:
    zero = Offset(0)
    assert decide(position(A, 0), History(A), zero, zero).verdict is Verdict.CONTINUE
    assert decide(position(A, 1), History(A), zero, zero).verdict is Verdict.WAIT


# -- journal_resume_point -------------------------------------------------------------------------

SET = encode_command(b"SET", b"key", b"a value\r\n with lines\r\n*")
MULTI, EXEC = encode_command(b"MULTI"), encode_command(b"EXEC")


def resume(tail: bytes, *, known: bool = False) -> int:
    found = journal_resume_point(tail, Offset(1000), known_boundary=known)
    assert found is not None
    return found - 1000


def test_resume_at_every_cut_of_the_end() -> None:
    whole = SET + MULTI + SET + EXEC + SET + MULTI
    boundaries = [
        0,
        len(SET),
        len(SET + MULTI + SET + EXEC),
        len(SET + MULTI + SET + EXEC + SET),
    ]
    for cut in range(len(whole) + 1):
        tail = whole[:cut]
        assert resume(tail, known=True) == max(b for b in boundaries if b <= cut)
        if tail:
            assert resume(tail) == resume(tail, known=True)


def test_resume_from_the_middle_of_a_command() -> None:
    for cut in range(len(SET)):
        assert resume((SET * 3 + SET[:9])[cut:]) == len(SET) * 3 - cut


def test_multi_in_a_value_is_data() -> None:
    tail = encode_command(b"SET", b"k", MULTI) + SET
    assert resume(tail, known=True) == len(tail)


def test_nested_commands_are_not_taken_for_the_chain() -> None:
    """From a cut inside a value that holds commands, the first chain must reach the end."""
    outer = encode_command(b"SET", b"k", SET * 2 + b"tail") + SET
    for cut in range(1, 20):
        assert resume(outer[cut:]) == len(outer) - cut


def test_exec_without_its_multi() -> None:
    tail = b"xx\r\n" + SET + EXEC + SET
    assert resume(tail) == len(tail)


def test_no_boundary_is_said_so() -> None:
    for tail in (b"", b"nothing here", b"\r\n*x" * 5000, b"*1\r\n$3\r\nabcd\r\n"):
        assert journal_resume_point(tail, Offset(1000)) is None


def seconds(tail: bytes) -> float:
    """Processor time of one search, the best of three: others run beside it."""
    took = []
    for _ in range(3):
        begun = time.thread_time()
        journal_resume_point(tail, Offset(0))
        took.append(time.thread_time() - begun)
    return min(took)


@pytest.mark.parametrize(
    "tail",
    [
        encode_command(b"x") * 95_000,
        encode_command(b"SET", b"k", b"v") * 38_000,
        (MULTI + encode_command(b"SET", b"k", b"v") + EXEC) * 18_000,
        # Every command in a value that ends in the middle of the tail had been walked from anew:
        # found by a benchmark, 9 seconds for a megabyte.
        b"\r\n" + encode_command(b"x") * 95_000 + b"\r\n" + SET,
        b"x\r\n*90000\r\n" + b"$16\r\n\r\n*90000\r\n$2\r\nab\r\n" * 45_000 + b"\r\n" + SET,
    ],
    ids=["shortest", "small", "transactions", "commands-in-a-value", "counts-in-values"],
)
def test_a_megabyte_of_small_commands_is_searched_quickly(tail: bytes) -> None:
    """40 to 90 ms on the machine it was written on, 240 for the last; slower ones pass too."""
    assert seconds(tail[: 1 << 20]) < 1.0


def test_a_tail_behind_a_value_full_of_commands_is_found() -> None:
    """More places than are tried, all on one chain that ends wrongly."""
    tail = b"\r\n" + encode_command(b"x") * 5000 + b"\r\n" + SET
    assert resume(tail) == len(tail)


def test_the_first_boundary_of_a_piece() -> None:
    first, second = encode_command(b"SET", b"k", b"v"), encode_command(b"PING")
    stream = first + second * 3
    assert first_boundary(stream, Offset(50)) == 50
    for cut in range(1, len(first) + 1):
        assert first_boundary(stream[cut:], Offset(50 + cut)) == 50 + len(first)
    assert first_boundary(stream + b"*1\r\n$4", Offset(0)) == 0
    for nothing in (b"", b"value", b"\r\n", b"x" * 500):
        assert first_boundary(nothing, Offset(0)) is None


def test_the_first_boundary_is_not_inside_a_value() -> None:
    inner = encode_command(b"DEL", b"x")
    stream = encode_command(b"SET", b"k", b"\r\n" + inner * 50) + inner * 3
    for cut in range(1, len(stream) - 3 * len(inner)):
        assert first_boundary(stream[cut:], Offset(cut)) == len(stream) - 3 * len(inner)


def test_a_piece_full_of_false_beginnings_ends_the_search() -> None:
    assert first_boundary(b"\r\n*1\r\n$1" * 5000 + b"x", Offset(0)) is None


def test_what_is_denied_is_named() -> None:
    """Its reason is a label of a metric; who asks for everything is denied nothing."""

    def denial(at: Position | None, history: History | None = SHIFTED) -> DenialReason | None:
        return decide(at, history, Offset(100), Offset(200)).denial

    assert denial(None) is None
    assert denial(position(B, 150)) is None
    assert denial(position(A, 150), None) is DenialReason.NO_HISTORY
    assert denial(position(ReplId("c" * 40), 150)) is DenialReason.UNKNOWN_REPLID
    assert denial(position(A, 151)) is DenialReason.PAST_REPLID
    assert denial(position(B, 99)) is DenialReason.NOT_RETAINED
    assert denial(position(B, 201)) is DenialReason.AHEAD
