"""How fast a journal takes what is appended: `python -m tests.store.bench_append [DIRECTORY]`.

Beside each size stands the bare `os.pwrite` of the same bytes to one file: the difference is what
the journal costs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from repltap.position import Offset
from repltap.store.budget import Budget
from repltap.store.journal import Journal
from repltap.store.options import StoreOptions

CASES = ((64, 200_000), (1024, 200_000), (16 << 10, 40_000), (256 << 10, 3_000))


def main() -> None:
    """Print microseconds per append and megabytes per second, for each size."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    for size, count in CASES:
        data = memoryview(bytearray(os.urandom(size)))
        with tempfile.TemporaryDirectory(dir=where) as directory:
            bare = _seconds_bare(Path(directory) / "bare", data, count)
            journal = Journal.create(
                Path(directory) / "journal", Offset(0), StoreOptions(), Budget(None)
            )
            now = time.time_ns()
            begun = time.perf_counter()
            for number in range(count):
                journal.append(data, now + number)
            taken = time.perf_counter() - begun
            assert journal.end == size * count
            journal.close()
        print(
            f"{size:>7} bytes: {taken / count * 1e6:8.2f} us an append, "
            f"{size * count / taken / 1e6:6.0f} MB/s; bare pwrite {bare / count * 1e6:8.2f} us"
        )


def _seconds_bare(path: Path, data: memoryview, count: int) -> float:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    begun = time.perf_counter()
    for number in range(count):
        os.pwrite(fd, data, number * len(data))
    taken = time.perf_counter() - begun
    os.close(fd)
    path.unlink()
    return taken


if __name__ == "__main__":
    main()
