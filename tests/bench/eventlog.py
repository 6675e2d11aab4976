"""Records a second into the sink `log`, and out of it.

SETs of 64 bytes as JSON, decoded beforehand: what the sink itself takes, writing JSON included, and
what a reader takes. CPU seconds count, as in `decode`; a commit follows each hundred thousand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from repltap.delivery.json_form import JsonForm
from repltap.sink import AnyRecord, Record
from sinks.eventlog.reader import LogReader
from sinks.log import LogSink
from tests.bench.report import Row
from tests.bench.stage import Plan
from tests.delivery.wire import records_of
from tests.sinks.driver import StubContext
from tests.stored import command

_BATCH = 2_000
_GOAL = 100_000


class _Context(StubContext):
    """With the JSON of the product."""

    def __init__(self) -> None:
        super().__init__()
        self.json_lines = JsonForm().write  # type: ignore[method-assign]


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Write logs of one and of four partitions, with and without compression, and read them."""
    records: list[Record] = records_of(
        b"".join(
            command(b"SET", b"key:%012d" % (number * 7919 % 10**6), b"x" * 64)
            for number in range(_BATCH)
        )
    )
    for partitions, compression in ((1, "none"), (4, "none"), (1, "zstd")):
        shape = f"{partitions} partition{'s' * (partitions > 1)}, {compression}"
        written, read = [], []
        for repeat in range(plan.repeats):
            tell(f"{shape}, {repeat + 1}")
            with TemporaryDirectory(prefix="repltap-") as directory:
                path, count = Path(directory) / "log", plan.writes // _BATCH
                written.append(_write(path, list(records), count, partitions, compression))
                read.append(_read(path))
        total = plan.writes // _BATCH * _BATCH
        for name, seconds in (("written", written), ("read", read)):
            yield Row(
                group=f"{total:,} SETs of 64 bytes, decoded, as JSON in a log, one core",
                name=f"{name}, {shape}",
                unit="records per CPU second",
                relay=median(total / one for one in seconds),
                min_value=_GOAL,
            )


def _write(
    path: Path, records: list[AnyRecord], count: int, partitions: int, compression: str
) -> float:
    settings = {option.name: option.default for option in LogSink.options}
    sink = LogSink({**settings, "dir": path, "partitions": partitions, "compression": compression})
    began = time.process_time()
    sink.open(_Context())
    for number in range(1, count + 1):
        sink.write(records)
        if number % 50 == 0 or number == count:
            sink.commit(str(number))
    sink.close()
    return time.process_time() - began


def _read(path: Path) -> float:
    began = time.process_time()
    log = LogReader(path)
    for number in range(log.meta.partitions):
        with log.partition(number) as reader:
            offset = 0
            while records := reader.read(offset):
                offset = records[-1].offset + 1
    return time.process_time() - began
