"""What a sink is given when it is opened."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from repltap.delivery._hot.json_lines import JsonLines
from repltap.delivery.progress import Progress
from repltap.delivery.report import Bell
from repltap.delivery.settings import SinkSettings
from repltap.sink import AnyRecord, Record, RespForm, SinkError

_PULSE_SECONDS = 1.0


class DeliveryContext:
    """The context of one sink, through all its openings.

    Args:
        settings: What is configured.
        source: What records call the upstream.
        bell: Tells when to stop.
        progress: What is counted.
        log: Of the sink.
    """

    def __init__(
        self,
        settings: SinkSettings,
        source: str,
        bell: Bell,
        progress: Progress,
        log: logging.Logger,
    ) -> None:
        self.name = settings.name
        self.source = source
        self.place: str | None = None
        self.state: Mapping[str, Any] = {}
        self.log = log
        self.payloads: Collection[str] = ()
        self._bell = bell
        self._progress = progress
        self._json = JsonLines()
        self._window = (b"", 0)

    def begin(self, place: str | None, state: Mapping[str, Any]) -> None:
        """Get ready for the next `open`."""
        self.place, self.state = place, state

    def prepare(
        self, records: Sequence[AnyRecord], window: bytes, window_start: int
    ) -> Sequence[AnyRecord]:
        """Leave out and redact what the sink is not to see; the rest is about to be written."""
        self._window = window, window_start
        return records

    def json_lines(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records as the envelope's JSON, one a line."""
        return self._json.write([record for record in records if isinstance(record, Record)])

    def resp_form(self, *, target: str | None = None) -> RespForm:  # noqa: ARG002
        """Begin an output of commands."""
        raise SinkError("not there yet", passes=False)

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the time that the sink is told to stop; tells whether it was."""
        until = time.monotonic() + seconds
        while not self._bell.stopping and (left := until - time.monotonic()) > 0:
            self._bell.wait(min(left, _PULSE_SECONDS))
        return self._bell.stopping

    def sent(self, size: int) -> None:
        """Count bytes that were put out."""
        self._progress.sent(size)

    def discarded(self, count: int, *, intentional: bool) -> None:
        """Count records that were left out."""
        self._progress.discard(count, intentional=intentional)
