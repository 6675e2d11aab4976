"""Printing records as they are read, and remembering for the group what has been printed."""

from __future__ import annotations

import signal
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
import orjson

from sinks.eventlog.batch import LogRecord
from sinks.eventlog.groups import Consumer, Group
from sinks.eventlog.reader import LogReader, PartitionReader

_POLL_SECONDS = 0.1
_COMMIT_SECONDS = 0.5
"""A commit is two fsyncs; one for each batch would be most of the work."""

_MANY = 1 << 30

Format = Callable[[int, LogRecord], bytes]


def as_value(_partition: int, record: LogRecord) -> bytes:
    """The value alone; commands end by themselves, and a notice may be none."""
    value = record.value
    return value if not value or value.endswith(b"\n") else value + b"\n"


def as_json(partition: int, record: LogRecord) -> bytes:
    """All of it, one line; `enc` says base64 where key or value are no text."""
    document: dict[str, object] = {
        "partition": partition,
        "offset": record.offset,
        "ts_ms": record.ts_ms,
        "headers": {name.decode(): value.decode() for name, value in record.headers},
    }
    try:
        key = None if record.key is None else record.key.decode()
        value = record.value.decode()
    except UnicodeDecodeError:
        key = None if record.key is None else b64encode(record.key).decode()
        value = b64encode(record.value).decode()
        document["enc"] = "base64"
    return orjson.dumps({**document, "key": key, "value": value}) + b"\n"


def as_text(partition: int, record: LogRecord) -> bytes:
    """One line for people."""
    moment = datetime.fromtimestamp(record.ts_ms / 1000).astimezone()
    headers = " ".join(f"{name.decode()}={value.decode()}" for name, value in record.headers)
    key = "-" if record.key is None else repr(record.key)[1:]
    line = f"{partition}:{record.offset} {moment.isoformat(' ', 'milliseconds')} {key} {headers}"
    value = record.value if record.value.isascii() else repr(record.value)[2:-1].encode()
    return line.encode() + b" " + value.replace(b"\r\n", b" ").rstrip() + b"\n"


FORMATS: Mapping[str, Format] = {"value": as_value, "full": as_text, "json": as_json}


def print_log(
    log: LogReader,
    partitions: Sequence[int],
    start: Callable[[PartitionReader], int],
    *,
    group: Group | None,
    reset: str | None,
    follow: bool,
    limit: int | None,
    write: Format,
) -> None:
    """Print records to stdout until there are no more, or for ever.

    Args:
        log: What is read.
        partitions: Which of them.
        start: Finds where to begin, if there is no group or it has not read the partition yet.
        group: Whose member this is, None for nobody's.
        reset: As for `Consumer`.
        follow: Go on with what comes in, and with partitions that become free.
        limit: How many records, None for all.
        write: The form.

    Raises:
        BrokenPipeError: Nobody reads stdout any more.
        OffsetOutOfRangeError, CorruptLogError, LogError: As for `Consumer.poll`.
    """
    with Consumer(log, list(partitions), start, group=group, reset=reset) as consumer:
        if not follow and not consumer.partitions:
            click.echo("every partition is being read by other members of the group", err=True)
            return
        _print(consumer, follow=follow, left=limit or _MANY, write=write)
        if not follow and consumer.missing and limit is None:
            others = ", ".join(map(str, consumer.missing))
            click.echo(f"read by other members of the group: partition {others}", err=True)


class _Stop:
    """A wish to end: SIGTERM or ctrl-C, once; the second time it is obeyed at once."""

    def __init__(self) -> None:
        self.wished = False
        self._before: dict[int, Any] = {}  # Any: what `signal` returns

    def __enter__(self) -> _Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._wish)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _wish(self, *_: object) -> None:
        self.wished = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _print(consumer: Consumer, *, follow: bool, left: int, write: Format) -> None:
    out = sys.stdout.buffer
    committed_at = time.monotonic()
    with _Stop() as stop:
        try:
            while left and not stop.wished:
                found = consumer.poll(left)
                if found is None:
                    consumer.commit()
                    if not follow:
                        break
                    time.sleep(_POLL_SECONDS)
                    consumer.claim()
                    continue
                partition, records = found
                out.write(b"".join([write(partition, record) for record in records]))
                out.flush()
                consumer.done()
                left -= len(records)
                if time.monotonic() - committed_at >= _COMMIT_SECONDS:
                    consumer.commit()
                    committed_at = time.monotonic()
        finally:
            # Also after an error: what was flushed need not be printed again.
            consumer.commit()
