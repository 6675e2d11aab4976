"""What a sink is given when it is opened: forms, counting, waiting; and what it is not to see."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from repltap.delivery.commands import CommandTable, builtin_table
from repltap.delivery.filters import command_names
from repltap.delivery.json_form import JsonForm
from repltap.delivery.place import reset_of
from repltap.delivery.report import Bell
from repltap.delivery.resp_output import (
    PAYLOADS,
    RespOutput,
    SnapshotOrigin,
    Surroundings,
    Window,
)
from repltap.delivery.settings import SinkSettings
from repltap.delivery.treatment import Treatment
from repltap.errors import SinkError
from repltap.rdb.target import Target
from repltap.sink import AnyRecord, Record, SnapshotRecord


class Counts(Protocol):
    """Where a sink's counting goes."""

    def sent(self, size: int) -> None:
        """Count bytes that were put out."""

    def discard(self, count: int, *, intentional: bool) -> None:
        """Count records that were left out."""


class DeliveryContext:
    """Implements `repltap.sink.SinkContext`: one for all openings of a sink.

    Args:
        settings: Of the sink.
        source: What records call the upstream.
        bell: Tells when to stop.
        counts: Where the sink's counting goes.
        log: Of the sink.
        table: What is known of commands; the built-in one if not given.

    Attributes:
        payloads: Which values a snapshot's reader has to give in serialized form, and up to how
            many bytes (`RdbReader(payloads=...)`). To be asked when a snapshot begins: an output of
            commands, which is what needs them, may be begun by `open`.
    """

    def __init__(
        self,
        settings: SinkSettings,
        source: str,
        bell: Bell,
        counts: Counts,
        log: logging.Logger,
        table: CommandTable | None = None,
    ) -> None:
        table = table or builtin_table()
        self.name = settings.name
        self.source = source
        self.place: str | None = None
        self.state: Mapping[str, Any] = {}  # Any: JSON
        self.reset = False
        self.log = log
        self.payloads: Mapping[str, int] = {}
        self._bell = bell
        self._counts = counts
        self._reset = ""
        self._treatment = Treatment(settings, table)
        self._json = JsonForm()
        self._window = Window()
        self._origin = SnapshotOrigin()
        self._emptied = emptied_databases(settings, table)

    def begin(self, place: str | None, state: Mapping[str, Any], reset: str = "") -> None:
        """Get ready for the next `open`.

        Args:
            place: Where the records will go on, None at the very first start.
            state: What the last `commit` returned.
            reset: The reset that no commit has followed yet, "" for none.
        """
        self.place, self.state = place, state
        self.reset, self._reset = bool(reset), reset
        self.payloads = {}
        self._window.replid = ""

    def begin_snapshot(self, rdb_format: str, aux: Mapping[str, str]) -> None:
        """Look at what a snapshot says of itself: before it begins, and before it goes on.

        Args:
            rdb_format: Its magic and version, such as REDIS0011.
            aux: The fields at its beginning.
        """
        self._origin.learn(rdb_format, aux)

    def pass_over(self, record: SnapshotRecord) -> None:
        """Look at a record that is not given again; only parts of a key need to be shown."""
        self._treatment.snapshot(record)

    def prepare(
        self, records: Sequence[AnyRecord], window: bytes, window_start: int
    ) -> Sequence[AnyRecord]:
        """Leave out and redact what the sink is not to see; the rest is about to be written.

        Args:
            records: Of one class; commands are filtered already (`Treatment.accepts`).
            window: What commands were decoded from, in one piece.
            window_start: The offset of its first byte.
        """
        if not records:
            return records
        first = records[0]
        if isinstance(first, Record):
            # Records that are changed are not what they were decoded from.
            copied = not self._treatment.changes
            self._window.replid = first.replid if copied else ""
            self._window.data, self._window.start = window, window_start
            return self._treatment.commands(cast("list[Record]", records))
        if isinstance(first, SnapshotRecord) and not self._treatment.takes_all:
            treated = map(self._treatment.snapshot, cast("Sequence[SnapshotRecord]", records))
            return [record for record in treated if record is not None]
        return records

    def counts(self, place: str) -> bool:
        """Tell whether a place that the target holds counts: not if it is from before a reset."""
        return not self._reset or reset_of(place) == self._reset

    def json_lines(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records as the envelope's JSON, one a line."""
        return self._json.write(records)

    def resp_form(self, *, target: str | None = None) -> RespOutput:
        """Begin an output of commands.

        Args:
            target: The server they are for, such as `redis-6.2`; None for the master's own kind.

        Raises:
            SinkError: It is the name of no server.
        """
        try:
            server = None if target is None else Target.parse(target)
        except ValueError as exc:
            raise SinkError(str(exc), passes=False) from None
        self.payloads = PAYLOADS
        around = Surroundings(
            window=self._window,
            origin=self._origin,
            emptied=self._emptied,
            discarded=lambda count: self.discarded(count, intentional=True),
            log=self.log,
        )
        return RespOutput(around, server)

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the time that the sink is told to stop; tells whether it was."""
        end = time.monotonic() + seconds
        while not self._bell.stopping and (left := end - time.monotonic()) > 0:
            self._bell.wait(left)
        return self._bell.stopping

    def sent(self, size: int) -> None:
        """Count bytes that were put out."""
        self._counts.sent(size)

    def discarded(self, count: int, *, intentional: bool) -> None:
        """Count records that were left out; `intentional` if the configuration says so."""
        self._counts.discard(count, intentional=intentional)


def emptied_databases(settings: SinkSettings, table: CommandTable) -> Sequence[int] | None:
    """Tell which databases of a target a snapshot replaces.

    Returns:
        Their numbers; None for all of them, with the functions.
    """
    include, exclude = settings.include, settings.exclude
    if include.keys or exclude.keys:
        return ()
    chosen = command_names(include.commands, table)
    banned = command_names(exclude.commands, table)

    def passes(name: str) -> bool:
        return name not in banned and (not chosen or name in chosen)

    if not include.dbs and not exclude.dbs:
        return None if passes("FLUSHALL") else ()
    return sorted(include.dbs - exclude.dbs) if passes("FLUSHDB") else ()
