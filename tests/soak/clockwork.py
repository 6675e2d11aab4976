"""Runs repltap under a wall clock that can be moved while it runs.

`python -m tests.soak.clockwork FILE run ...` is `repltap run ...`, but `time.time` and
`time.time_ns` add the seconds that FILE holds (a little-endian double, mapped, so that a change is
seen at once). `time.monotonic`, and with it the event loop, are what they are: as for a process
whose machine has its clock set. What is written in C and asks the kernel for the wall clock by
itself is not deceived (file times are not, for one). Only functions of Python's `time` module are
replaced, before repltap is imported; nothing else differs from the real command line.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

_SHIFT = struct.Struct("<d")


def set_shift(file: Path, seconds: float) -> None:
    """Move the wall clock of whoever runs under this file."""
    if not file.exists():
        file.write_bytes(bytes(_SHIFT.size))
    with file.open("r+b") as opened:
        opened.write(_SHIFT.pack(seconds))


def _main() -> int:
    file = Path(sys.argv.pop(1))
    if not file.exists():
        set_shift(file, 0.0)
    with file.open("rb") as opened:
        shift = mmap.mmap(opened.fileno(), _SHIFT.size, prot=mmap.PROT_READ)
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + _SHIFT.unpack_from(shift)[0]
    time.time_ns = lambda: real_ns() + int(_SHIFT.unpack_from(shift)[0] * 1e9)

    from repltap.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
