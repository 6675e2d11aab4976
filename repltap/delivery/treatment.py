"""What a sink is given of the records: which, and what is left of their values."""

from __future__ import annotations

from collections.abc import Callable

from repltap.delivery.commands import CommandTable
from repltap.delivery.filters import RecordFilter, Selection
from repltap.delivery.redaction import Redaction, SizeLimit
from repltap.delivery.settings import RedactionSettings, SinkSettings
from repltap.delivery.snapshot_changes import SnapshotLimit, SnapshotRedaction
from repltap.sink import Record, SnapshotRecord


class Treatment:
    """Filters, redacts and cuts, in this order, as a sink's settings say.

    Args:
        settings: Of the sink.
        table: What is known of commands.

    Attributes:
        accepts: Which commands are wanted, for `RecordStream`; None for all.
        changes: Whether records may differ from what the master sent.
        takes_all: Neither that, nor is anything left out.
    """

    def __init__(self, settings: SinkSettings, table: CommandTable) -> None:
        none = Selection()
        chosen = settings.include != none or settings.exclude != none
        self._filter = RecordFilter(settings.include, settings.exclude, table) if chosen else None
        self.accepts: Callable[[Record], bool] | None = self._filter
        self._commands: list[Callable[[Record], Record]] = []
        self._snapshots: list[Callable[[SnapshotRecord], SnapshotRecord | None]] = []
        if settings.redaction is not None:
            self._redact(settings.redaction, table)
        if settings.max_value_bytes is not None:
            self._commands.append(SizeLimit(settings.max_value_bytes))
            self._snapshots.append(SnapshotLimit(settings.max_value_bytes))
        self.changes = bool(self._commands)
        self.takes_all = not chosen and not self.changes

    def _redact(self, settings: RedactionSettings, table: CommandTable) -> None:
        where = None
        if settings.where is not None:
            where = RecordFilter(settings.where, Selection(), table)
        redaction = Redaction(
            settings.action,
            secret=settings.secret,
            keep_bytes=settings.keep_bytes,
            hash_keys=settings.hash_keys,
            applies=where,
        )
        self._commands.append(redaction)
        self._snapshots.append(SnapshotRedaction(redaction, where.snapshot if where else None))

    def commands(self, records: list[Record]) -> list[Record]:
        """Change what `accepts` has let pass."""
        for change in self._commands:
            records = [change(record) for record in records]
        return records

    def snapshot(self, record: SnapshotRecord) -> SnapshotRecord | None:
        """Give what a sink is to see of a record of a snapshot; None for nothing.

        It has to see every part of a key, in order, also those that the sink was given before.
        """
        if self._filter is not None and not self._filter.snapshot(record):
            return None
        found: SnapshotRecord | None = record
        for change in self._snapshots:
            if found is None:
                return None
            found = change(found)
        return found
