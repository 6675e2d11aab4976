from __future__ import annotations

import random

import pytest

from repltap.protocol.events import FailureReason, LinkFailed, SnapshotReceived
from repltap.protocol.transfer import RdbTransfer
from tests.protocol.ways import MARK, pieces, rdb


def run(transfer: RdbTransfer, data: bytes, way: str = "whole") -> tuple[bytes, int]:
    out, used = b"", 0
    for piece in pieces(data, way):
        view = memoryview(piece)
        while view and transfer.outcome is None:
            got, count = transfer.feed(view)
            out += got
            used += count
            view = view[count:]
    return out, used


def marked() -> RdbTransfer:
    return RdbTransfer(size_bytes=None, mark=MARK)


@pytest.mark.parametrize("way", ["whole", "bytewise"])
@pytest.mark.parametrize("trailing", [b"", b"*1\r\n", MARK, b"\xff" * 50])
def test_mark_in_the_body_does_not_end_it(way: str, trailing: bytes) -> None:
    zeros = bytes(8)
    for body in (
        MARK,
        MARK * 3,
        MARK[:-1] + MARK,
        b"\xff" + zeros + MARK + b"more",  # looks exactly like an end without a checksum
        b"\xff12345678" + MARK + b"x",
    ):
        data = rdb(body)
        transfer = marked()
        assert run(transfer, data + MARK + trailing, way) == (data, len(data) + 40)
        assert isinstance(transfer.outcome, SnapshotReceived)
        assert transfer.outcome.checksum_present


def test_forged_end_at_the_end_of_a_read_is_no_end() -> None:
    """A client that knows the mark stores what looks like an end, and the read stops there."""
    forged = b"\xff" + bytes(8) + MARK
    data = rdb(forged + b"the rest")
    cut = data.index(forged) + len(forged)
    transfer = marked()
    first, _ = run(transfer, data[:cut])
    assert transfer.may_be_complete
    second, _ = run(transfer, data[cut:] + MARK)
    assert first + second == data
    assert isinstance(transfer.outcome, SnapshotReceived)


def test_mark_without_an_eof_opcode_before_it_never_settles() -> None:
    transfer = marked()
    run(transfer, rdb()[:-9] + b"123456789" + MARK)
    assert not transfer.may_be_complete
    assert len(transfer.settle()) == 0
    assert transfer.outcome is None


def test_little_is_held_back() -> None:
    transfer = marked()
    data = b"REDIS0011" + random.Random(1).randbytes(100_000)
    out, used = run(transfer, data)
    assert used == len(data)
    assert out == data[: len(out)]
    assert len(data) - len(out) < 64


def test_length_form_holds_nothing_back_behind_the_magic() -> None:
    data = rdb()
    transfer = RdbTransfer(size_bytes=len(data), mark=None)
    for index in range(8):
        assert transfer.feed(memoryview(data)[index : index + 1]) == (b"", 1)
    assert transfer.feed(memoryview(data)[8:9]) == (data[:9], 1)
    for index in range(9, len(data)):
        got, used = transfer.feed(memoryview(data)[index : index + 1])
        assert (bytes(got), used) == (data[index : index + 1], 1)
    assert transfer.outcome == SnapshotReceived(
        len(data), int.from_bytes(data[-8:], "little"), True
    )
    assert transfer.feed(memoryview(b"stream"))[1] == 0


@pytest.mark.parametrize("way", ["whole", "bytewise"])
def test_length_form_without_a_checksum(way: str) -> None:
    data = rdb(checksum="none")
    transfer = RdbTransfer(size_bytes=len(data), mark=None)
    assert run(transfer, data + b"stream", way) == (data, len(data))
    crc = int.from_bytes(rdb()[-8:], "little")
    assert transfer.outcome == SnapshotReceived(len(data), crc, False)


@pytest.mark.parametrize("way", ["whole", "bytewise"])
def test_too_large(way: str) -> None:
    transfer = RdbTransfer(size_bytes=None, mark=MARK, max_bytes=100)
    run(transfer, rdb(bytes(200)) + MARK, way)
    assert isinstance(transfer.outcome, LinkFailed)
    assert transfer.outcome.reason is FailureReason.TOO_LARGE
    fits = RdbTransfer(size_bytes=None, mark=MARK, max_bytes=218)
    run(fits, rdb(bytes(200)) + MARK, way)
    assert isinstance(fits.outcome, SnapshotReceived)


def test_length_or_mark() -> None:
    with pytest.raises(ValueError, match="mark"):
        RdbTransfer(size_bytes=None, mark=None)
    with pytest.raises(ValueError, match="mark"):
        RdbTransfer(size_bytes=20, mark=MARK)


def test_smallest_rdb() -> None:
    data = bytes.fromhex("524544495330303039ff9aac7abcfb0fad74")  # fact sheet 2.8
    transfer = marked()
    assert run(transfer, data + MARK) == (data, 58)
    assert isinstance(transfer.outcome, SnapshotReceived)


def test_hostile_marks_cost_linear_time() -> None:
    transfer = marked()
    data = rdb(MARK * 20_000)
    assert run(transfer, data + MARK)[0] == data


@pytest.mark.parametrize("way", ["whole", "bytewise", "8", "9", "10"])
@pytest.mark.parametrize("size_bytes", [None, 5000])
@pytest.mark.parametrize(
    "magic", [b"-ERR oh no", b"REDIS00x1", b"VALKEY08\xfa", b"redis0011", b"VALKEY-80", b"\0" * 9]
)
def test_what_is_no_rdb_fails_before_any_of_it_is_let_out(
    magic: bytes, size_bytes: int | None, way: str
) -> None:
    """It was stored and relayed up to its checksum, which a mark without one never came to."""
    transfer = RdbTransfer(size_bytes=size_bytes, mark=None if size_bytes else MARK)
    assert run(transfer, magic + b"rest" * 100, way)[0] == b""
    assert isinstance(transfer.outcome, LinkFailed)
    assert transfer.outcome.reason is FailureReason.PROTOCOL
    assert repr(magic[:9]) in transfer.outcome.message


@pytest.mark.parametrize("magic", [b"REDIS0006", b"REDIS0080", b"VALKEY080", b"VALKEY123"])
@pytest.mark.parametrize("size_bytes", [None, 5000])
def test_magics_of_both_vendors(magic: bytes, size_bytes: int | None) -> None:
    for way in map(str, range(20)):
        transfer = RdbTransfer(size_bytes=size_bytes, mark=None if size_bytes else MARK)
        out, used = run(transfer, magic + b"x" * 100, way)
        assert transfer.outcome is None
        assert used == 109
        assert out == (magic + b"x" * 100)[: len(out)]
        assert len(out) == (109 if size_bytes else 60)
