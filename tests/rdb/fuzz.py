"""Invariant: any bytes give items or an RdbError, in bounded memory; anything else is a fault.

`python -m tests.rdb.fuzz [SECONDS] [SEED]` damages the files in `data/`, and those that it is given
as further arguments, in every way that a disk, a network or an enemy does, reads them and writes
them in every form. It ends with 1 at the first fault, which it keeps as `rdb-fault.bin`.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from repltap.errors import RdbError
from repltap.rdb._hot.source import Limits
from repltap.rdb.reader import RdbReader
from repltap.rdb.write_json import JsonWriter
from repltap.rdb.write_resp import PAYLOADS, RespWriter
from tests.rdb.build import length, reading

# As an enemy would want it held: enough for what is there, far below what lengths can say.
LIMITS = Limits(string_bytes=64 << 20, part_items=50, part_bytes=1 << 16, payload_bytes=64 << 20)
MEMORY_BYTES = 1 << 30

_BOUNDARIES = (0, 1, 63, 64, 127, 128, 192, 195, 200, 247, 252, 253, 254, 255)


def main(seconds: float, seed: int, more: list[str]) -> int:
    """Run until the time is over; return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    rng = random.Random(seed)
    files = sorted((Path(__file__).parent / "data").glob("*.rdb")) + [Path(one) for one in more]
    originals = [file.read_bytes() for file in files]
    seen: Counter[str] = Counter()
    end = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < end:
        data = damaged(rng, rng.choice(originals), originals)
        try:
            seen[read(data, rng)] += 1
        except BaseException as exc:
            Path("rdb-fault.bin").write_bytes(data)
            print(f"run {runs} of seed {seed}: {exc!r}; kept as rdb-fault.bin")
            raise
        runs += 1
    print(f"seed {seed}: {runs} runs, no fault; {dict(seen)}")
    return 0


def damaged(rng: random.Random, data: bytes, originals: list[bytes]) -> bytes:
    """Damage some bytes."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(9, max(10, len(out)))
        match rng.randrange(8):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                out[at : at + 1] = bytes([rng.choice(_BOUNDARIES)])
            case 2:
                out[at : at + 1] = length(1 << rng.randrange(64))
            case 3:
                del out[at : at + rng.randrange(1, 20)]
            case 4:
                out[at:at] = rng.randbytes(rng.randrange(1, 12))
            case 5:
                other = rng.choice(originals)
                start = rng.randrange(len(other))
                out[at:at] = other[start : start + rng.randrange(200)]
            case 6:
                out[at : at + 4] = rng.randrange(1 << 32).to_bytes(4, rng.choice(("little", "big")))
            case _:
                # A type for another: the same bytes, read as what they are not.
                out[at : at + 1] = bytes([rng.randrange(34)])
    if rng.randrange(4) == 0:
        del out[rng.randrange(len(out)) :]
    else:
        out[-8:] = bytes(8)  # no checksum
    if rng.randrange(20) == 0:
        out[:9] = rng.choice((b"VALKEY080", b"REDIS0014", b"REDIS0003"))
    return bytes(out)


def read(data: bytes, rng: random.Random) -> str:
    """Read it, in one of the ways, and return what came of it."""
    step = rng.choice((None, None, 1, 57))
    options = rng.choice(({}, {"values": False}, {"wanted": lambda db, key, kind: len(key) & 1}))
    payloads = rng.choice(((), PAYLOADS, {"list", "hash", "stream", "string"}))
    writers = () if "values" in options else (JsonWriter(), RespWriter())
    if "module" not in payloads:
        writers = writers[:1]
    try:
        # Small parts, so that small files have values that come in them.
        limits = LIMITS._replace(part_bytes=rng.choice((1, 20, 1 << 16)))
        reader = RdbReader(reading(data, step), limits=limits, payloads=payloads, **options)
        for item in reader:
            for writer in writers:
                writer.write(item)
    except RdbError as exc:
        if not 0 <= exc.offset <= len(data):
            raise AssertionError("an offset that is none") from exc
        return type(exc).__name__
    return "read"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    duration = float(arguments[0]) if arguments else 600.0
    start = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    sys.exit(main(duration, start, arguments[2:]))
