"""`repltap journal cat`: print a part of the stored stream."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import click

from repltap.cli.command_text import as_json, as_line
from repltap.cli.output import progress, stdout_closed
from repltap.delivery.listing import CommandListing, StoredCommand
from repltap.errors import ConfigError, CorruptStoreError, NotRetainedError
from repltap.excerpt import command_end, command_start, database_at
from repltap.position import MAX_OFFSET, Offset
from repltap.store.history import load_metadata
from repltap.store.reader import Block, HistoryReader, JournalReader

_POLL_SECONDS = 0.1
"""The index that says what may be read grows every 50 ms under load."""

_FORMATS = {"text": as_line, "json": as_json}
_UNIX = re.compile(r"@([0-9]{1,11})(?:\.([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to begin or to end: an offset, or a time in Unix nanoseconds."""

    offset: Offset | None = None
    time_ns: int | None = None

    def __str__(self) -> str:
        """For errors, in a form that is read again."""
        if self.time_ns is None:
            return str(self.offset)
        return datetime.fromtimestamp(self.time_ns / 1e9).astimezone().isoformat()


def parse_place(
    _ctx: click.Context | None, param: click.Parameter | None, text: str | None
) -> Place:
    """Read an offset, `@` and Unix seconds, or a date and time as ISO 8601 writes it.

    Raises:
        click.BadParameter: It is none of them.
    """
    if text is None:
        return Place()
    if text.isascii() and text.isdigit() and int(text) <= MAX_OFFSET:
        return Place(offset=Offset(int(text)))
    if match := _UNIX.fullmatch(text):
        return Place(time_ns=int(match[1]) * 10**9 + int((match[2] or "0").ljust(9, "0")))
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither an offset, nor a time such as 2025-01-31T12:00:00, "
            "2025-01-31T12:00:00Z or @1738324800",
            param=param,
        ) from None
    return Place(time_ns=int(moment.timestamp() * 10**6) * 1000)


class Excerpt:
    """What is to be printed of one history.

    Args:
        history: Which.
        begin, end: From where to where.
        raw: The bytes, not the commands.
        follow: Go on with what comes in.

    Raises:
        ConfigError: It would end before it begins.
        NotRetainedError: The journal does not hold an offset.
    """

    def __init__(
        self, history: HistoryReader, begin: Place, end: Place, *, raw: bool, follow: bool
    ) -> None:
        self._history = history
        self._metadata = history.metadata
        self._follow = follow
        self._floating = begin == Place()  # from wherever the journal begins
        view = history.journal()
        self.start = _resolve(view, begin, view.start)
        self.end = _resolve(view, end, MAX_OFFSET if follow else view.end())
        if _is_reversed(begin, end, self.start, self.end):
            raise ConfigError(
                f"--to {end} is before --from {begin}: there is nothing between them",
                hint="exchange them?",
            )
        if raw:
            self._align_times(view, begin, end)

    def raw(self) -> Iterator[bytes]:
        """Read the bytes of the range.

        Raises:
            StoreError: As for `JournalReader.blocks`.
        """
        _, blocks = self._begin(lambda: None)
        for block in blocks:
            yield block.data

    def commands(self) -> Iterator[tuple[int, list[StoredCommand]]]:
        """Read the commands of the range, with the number of bytes that have been read for them.

        Raises:
            RemoteProtocolError: There is something else in the stream.
            StoreError: As for `JournalReader.blocks`.
        """
        db, blocks = self._begin(self._align)
        listing = CommandListing(self.start, db)
        for block in blocks:
            yield len(block.data), list(listing.feed(block))

    def _begin(self, prepare: Callable[[], int | None]) -> tuple[int | None, Iterator[Block]]:
        """Get hold of the first block, before a relay trims it."""
        while True:
            try:
                db = prepare()
                blocks = self._blocks()
                first = next(blocks, None)
            except NotRetainedError:
                if not self._floating:
                    raise
                self.start = max(self.start, self._history.journal().start)
            else:
                return db, chain([first] if first else [], blocks)

    def _blocks(self) -> Iterator[Block]:
        position = self.start
        doubted: Offset | None = None
        while True:
            view = self._history.journal()
            self._require_same(view, position)
            try:
                for block in view.blocks(position, Offset(min(self.end, view.end()))):
                    position = Offset(block.offset + len(block.data))
                    yield block
            except (CorruptStoreError, NotRetainedError):
                # So looks what a failover has cut off meanwhile, in a view from before: look again.
                if doubted == position:
                    raise
                doubted = position
                continue
            if not self._follow or position >= self.end:
                return
            sys.stdout.flush()
            time.sleep(_POLL_SECONDS)

    def _align(self) -> int | None:
        """Begin with a whole command, waiting for one where that is needed.

        Returns:
            The database that is selected there, None where that is not known.
        """
        while True:
            view = self._history.journal()
            end = Offset(min(self.end, view.end()))
            found = command_start(self._metadata, view, self.start, end)
            if found is not None:
                self._move(found)
                return database_at(self._metadata, view, found)
            if not self._follow:
                self._move(end)
                return None
            time.sleep(_POLL_SECONDS)

    def _align_times(self, view: JournalReader, begin: Place, end: Place) -> None:
        """An offset is meant to the byte; at a time, whole commands are."""
        known = view.end()
        if begin.time_ns is not None and self.start < known:
            self.start = command_start(self._metadata, view, self.start, known) or self.start
        if end.time_ns is not None and self.start < self.end <= known:
            self.end = max(self.start, command_end(view, self.end))

    def _move(self, start: Offset) -> None:
        if start != self.start:
            click.echo(f"offset {self.start} is inside a command: beginning at {start}", err=True)
        self.start = start

    def _require_same(self, view: JournalReader, position: Offset) -> None:
        """Notice that a failover has taken back what was printed."""
        kept = view.end()
        try:
            said = load_metadata(self._history.path).history
        except FileNotFoundError as exc:
            raise NotRetainedError("the history has ended", path=self._history.path) from exc
        names = (said.replid, *(before.replid for before in said.predecessors))
        for name, before in zip(names, said.predecessors, strict=False):
            if name == self._metadata.history.replid:
                break
            kept = min(kept, before.until)
        if kept < position and position > self.start:
            raise NotRetainedError(
                f"a failover has taken back what came after offset {kept}",
                path=self._history.path,
                hint="the history goes on there under another replid",
            )


def print_excerpt(excerpt: Excerpt, shown: str) -> int | None:
    """Print it to stdout.

    Args:
        excerpt: What.
        shown: `raw`, `text` or `json`.

    Returns:
        The exit code.
    """
    try:
        total = None if excerpt.end == MAX_OFFSET else excerpt.end - excerpt.start
        quiet = sys.stdout.isatty() or total is None
        if quiet:
            _print(excerpt, shown, lambda _: None)
        else:
            with progress("reading", total) as meter:
                _print(excerpt, shown, meter.advance)
        sys.stdout.flush()
    except BrokenPipeError:
        return stdout_closed()
    return None


def _print(excerpt: Excerpt, shown: str, advance: Callable[[int], None]) -> None:
    write = sys.stdout.buffer.write
    if shown == "raw":
        for data in excerpt.raw():
            write(data)
            advance(len(data))
        return
    render = _FORMATS[shown]
    for size, commands in excerpt.commands():
        for command in commands:
            write(render(command))
        advance(size)


def _is_reversed(begin: Place, end: Place, start: Offset, stop: Offset) -> bool:
    if Place() in (begin, end):
        return False
    if begin.time_ns is not None and end.time_ns is not None:
        # Of times before or after the journal nothing would be left to compare.
        return end.time_ns < begin.time_ns
    return stop < start


def _resolve(view: JournalReader, place: Place, default: Offset) -> Offset:
    if place.time_ns is not None:
        return view.offset_at(place.time_ns)
    if place.offset is None:
        return default
    end = view.end()
    if not view.start <= place.offset <= end:
        raise NotRetainedError(
            f"offset {place.offset} is not held: the journal has {view.start} to {end}",
            path=view.path,
        )
    return place.offset
