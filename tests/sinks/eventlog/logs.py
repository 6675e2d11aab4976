"""Logs for tests: made quickly, and read plainly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sinks.eventlog.batch import LogRecord, headers_of
from sinks.eventlog.reader import LogReader
from sinks.eventlog.writer import LogWriter, WriterSettings

LOG = logging.getLogger("repltap.sink.test")


def open_log(
    directory: Path, *, clock: Callable[[], float] | None = None, **changes: Any
) -> LogWriter:
    """Open a log for writing; segments of 1 KiB, so that a few records make several."""
    settings = WriterSettings(**{"segment_bytes": 1024, **changes})
    return LogWriter(directory, settings, LOG, **({} if clock is None else {"clock": clock}))


def add(writer: LogWriter, numbers: Iterable[int], *, partition: int = 0, ts: int = 1000) -> None:
    """Add records whose value is their number, a batch each; their time is `ts` + number."""
    for number in numbers:
        key = None if number % 5 == 0 else b"0:k%d" % (number % 7)
        headers = headers_of([(b"id", b"x:%d" % number), (b"kind", b"command")])
        writer.add(partition, ts + number, key, value_of(number), headers)
        writer.flush()


def value_of(number: int) -> bytes:
    return b"%d" % number + b"." * (number % 90)


def make_log(directory: Path, count: int, **changes: Any) -> None:
    """Write a committed log of so many records."""
    writer = open_log(directory, **changes)
    add(writer, range(count))
    writer.make_commit("end")
    writer.close()


def read_all(directory: Path, partition: int = 0, start: int | None = None) -> list[LogRecord]:
    """Read everything that is committed."""
    found: list[LogRecord] = []
    with LogReader(directory).partition(partition) as reader:
        offset = reader.earliest() if start is None else start
        while records := reader.read(offset):
            found += records
            offset = records[-1].offset + 1
    return found


def numbers_of(records: Iterable[LogRecord]) -> list[int]:
    """The numbers of records that `add` has written, each checked to be whole."""
    found = []
    for record in records:
        number = int(record.value.split(b".")[0])
        assert record.value == value_of(number)
        assert dict(record.headers)[b"id"] == b"x:%d" % number
        found.append(number)
    return found
