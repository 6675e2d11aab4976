"""Sinks for tests of what is around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repltap.sink import AnyRecord, Sink, SinkContext


class ListSink(Sink):
    """Keeps what it is given."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.records: list[AnyRecord] = []

    def open(self, context: SinkContext) -> str | None:
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        self.records.extend(records)

    def commit(self, place: str) -> Mapping[str, Any] | None:
        return None

    def close(self) -> None:
        pass
