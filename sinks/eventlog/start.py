"""Where a reader begins, as a person says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import click

from sinks.eventlog.reader import PartitionReader

_UNIX = re.compile(r"@([0-9]{1,11})(?:\.([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Start:
    """An end of the log, an offset, or a time in Unix milliseconds."""

    word: str | None = None
    offset: int | None = None
    ts_ms: int | None = None

    def resolve(self, reader: PartitionReader) -> int:
        """Find the offset that is meant in a partition.

        Raises:
            CorruptLogError, LogError: The log can't be read.
        """
        if self.offset is not None:
            return self.offset
        if self.ts_ms is not None:
            return reader.offset_at(self.ts_ms)
        return reader.earliest() if self.word == "earliest" else reader.latest()


def parse_start(_ctx: click.Context | None, param: click.Parameter | None, text: str) -> Start:
    """Read `earliest`, `latest`, an offset, `@` and Unix seconds, or a date and time in ISO 8601.

    Raises:
        click.BadParameter: It is none of them.
    """
    if text in ("earliest", "latest"):
        return Start(word=text)
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return Start(offset=int(text))
    if match := _UNIX.fullmatch(text):
        return Start(ts_ms=int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0")[:3]))
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither earliest nor latest, nor an offset, nor a time such as "
            "2025-01-31T12:00:00, 2025-01-31T12:00:00Z or @1738324800",
            param=param,
        ) from None
    return Start(ts_ms=int(moment.timestamp() * 1000))
