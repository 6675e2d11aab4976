"""Invariant: whole = any pieces = byte by byte; what is malformed is a RemoteProtocolError with an
offset; encode(decode(x)) is x for what is accepted; from any state the rest comes out the same.

`python -m tests.delivery.fuzz [SECONDS] [SEED]` makes streams such as masters send, with values
that look like the protocol, damages most of them, and decodes each in several ways: decoder,
tracker and both forms. It ends with 1 at the first fault, which it keeps as `stream-fault.bin`.
"""

from __future__ import annotations

import json
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from repltap.delivery._hot.decoder import Entry, StreamDecoder
from repltap.delivery._hot.json_lines import JsonLines
from repltap.delivery._hot.resp_form import RespForm, encode
from repltap.delivery.commands import builtin_table
from repltap.delivery.stream import RecordStream, StreamLimits, StreamState
from repltap.errors import RemoteProtocolError
from repltap.sink import Record
from tests.stored import REPLID, command

MEMORY_BYTES = 1 << 30
START = 1000
TABLE = builtin_table()
NAMES = (b"SET", b"set", b"MSET", b"DEL", b"XADD", b"EVAL", b"PUBLISH", b"Zz")
FRAMES = (b"MULTI", b"EXEC", b"DISCARD", b"PING")
VALUES = (b"", b"\r", b"\n", b"\r\n", b"$1\r\na\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"\xff\0", b"2")
HEADERS = (
    b"*0\r\n",
    b"*-1\r\n",
    b"*3\r\n",
    b"$-1\r\n",
    b"*01\r\n",
    b"$999999999999\r\n",
    b"+O\r\n",
)
BETWEEN = re.compile(rb"(?:\n|\r\n|\*0\r\n|\*-[1-9][0-9]*\r\n)*")


def main(seconds: float, seed: int) -> int:
    """Run until the time is over; return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = stream(rng)
        if rng.randrange(5):
            data = damaged(rng, data)
        try:
            seen[check(data, rng)] += 1
        except BaseException as exc:
            Path("stream-fault.bin").write_bytes(data)
            print(f"run {seen.total()} of seed {seed}: {exc!r}; kept as stream-fault.bin")
            raise
    print(f"seed {seed}: {seen.total()} runs, no fault; {dict(seen)}")
    return 0


def stream(rng: random.Random) -> bytes:
    """Make commands as a master sends them, and sometimes in an order that none does."""
    parts = []
    for _ in range(rng.randrange(12)):
        match rng.randrange(10):
            case 0:
                parts.append(command(b"SELECT", rng.choice((b"0", b"1", b"15", b"x", b"-1"))))
            case 1 | 2:
                parts.append(command(rng.choice(FRAMES)))
            case 3:
                parts.append(command(b"REPLCONF", b"GETACK", b"*"))
            case 4:
                parts.append(rng.choice((b"\n", b"\r\n", b"*0\r\n", b"*-1\r\n")))
            case 5 if rng.randrange(20) == 0:  # more words than the decoder's quick way takes
                parts.append(command(b"DEL", *[b"k"] * rng.choice((62, 63, 64, 100))))
            case _:
                count = rng.choice((0, 1, 2, 2, 2, 3, 5, 12))
                words = [_value(rng) for _ in range(count)]
                parts.append(command(rng.choice(NAMES), *words))
    return b"".join(parts)


def _value(rng: random.Random) -> bytes:
    if rng.randrange(3) == 0:
        return rng.choice(VALUES)
    if rng.randrange(200) == 0:
        return rng.randbytes(rng.choice((4095, 4096)))  # where the decoder's quick way ends
    return rng.randbytes(rng.choice((0, 1, 3, 9, 10, 64, 100)))


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Damage some bytes."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = rng.randbytes(1)
            case 1:
                out[at : at + 1] = rng.choice((b"*", b"$", b"\r", b"\n", b"0", b"9", b"-"))
            case 2:
                del out[at : at + rng.randrange(1, 20)]
            case 3:
                out[at:at] = rng.choice((*VALUES, *HEADERS))
            case 4:
                start = rng.randrange(len(out) + 1)
                out[at:at] = out[start : start + rng.randrange(60)]
            case _:
                del out[at:]
    return bytes(out)


def check(data: bytes, rng: random.Random) -> str:
    """Decode it in every way; return what came of it."""
    ways = [[data], [data[i : i + 1] for i in range(len(data))], list(cut(rng, data))]
    decoded = [decode(pieces) for pieces in ways]
    entries, error, offset = decoded[0]
    assert all(one == decoded[0] for one in decoded), "the way it comes makes a difference"
    if error:
        named = [int(at) for at in re.findall(r"offset (\d+)", error)]
        assert named, error
        assert START <= min(named) <= max(named) <= START + len(data), error
    check_bytes(data, entries, offset)
    limits = StreamLimits(hold_bytes=rng.choice((1, 2000, 1 << 20)))
    whole = records(ways[0], limits)
    assert all(records(pieces, limits) == whole for pieces in ways[1:])
    check_resume(data, list(cut(rng, data)), whole, limits)
    return "refused" if error else "decoded" if offset == START + len(data) else "torn"


def cut(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Cut it anywhere."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    for start, end in pairwise([0, *places, len(data)]):
        yield data[start:end]


def decode(pieces: list[bytes]) -> tuple[list[Entry], str, int]:
    """Decode it; give the commands, the error, and how far they go."""
    decoder = StreamDecoder(START)
    entries: list[Entry] = []
    try:
        for piece in [*pieces, b""]:
            entries += decoder.feed(piece)
    except RemoteProtocolError as exc:
        return entries, str(exc), entries[-1][1] if entries else START
    return entries, "", decoder.offset


def check_bytes(data: bytes, entries: list[Entry], offset: int) -> None:
    """Compare what was decoded with the bytes: nothing is passed over but what is no command."""
    at = 0
    for start, end, words in entries:
        assert BETWEEN.fullmatch(data, at, start - START), "something was passed over"
        assert data[start - START : end - START] == encode(words)
        at = end - START
    assert BETWEEN.fullmatch(data, at, offset - START), "something was passed over at the end"


def records(pieces: list[bytes], limits: StreamLimits) -> list[Record]:
    """Decode it to records and write them in both forms."""
    tap = _tap(StreamState(START, 0), limits)
    found: list[Record] = []
    resp = RespForm(0)
    lines = b""
    written = b""
    try:
        for piece in [*pieces, b""]:
            some = tap.feed(piece, REPLID, 0)
            found += some
            written += resp.write(some, *tap.window)
            lines += JsonLines().write(some)
    except RemoteProtocolError:
        pass
    assert [json.loads(line)["offset_end"] for line in lines.splitlines()] == [
        record.offset_end for record in found
    ]
    assert written == RespForm(0).write(found, b"", 0), "copied bytes are not the encoded ones"
    return found


def check_resume(
    data: bytes, pieces: list[bytes], whole: list[Record], limits: StreamLimits
) -> None:
    """Stop after each piece, and go on from the state in another process, as it were."""
    state = StreamState(START, 0)
    found: list[Record] = []
    end = 0
    try:
        for piece in [*pieces, b""]:
            end += len(piece)
            tap = _tap(StreamState.from_dict(state.as_dict()), limits)
            found += tap.feed(data[state.offset - START : end], REPLID, 0)
            tap.feed(b"", REPLID, 0)
            state = tap.state()
    except RemoteProtocolError:
        pass
    assert found == whole, "going on from a state gives something else"


def _tap(state: StreamState, limits: StreamLimits) -> RecordStream:
    return RecordStream(state, TABLE, source="master", limits=limits)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    duration = float(arguments[0]) if arguments else 600.0
    start = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    sys.exit(main(duration, start))
