"""The log that the sink `log` writes, as a target of the contract."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repltap.sink import Sink
from sinks.eventlog.reader import LogReader
from sinks.log import LogSink
from tests.sinks.contract import Target


def settings(directory: Path, **changes: Any) -> dict[str, Any]:
    found = {option.name: option.default for option in LogSink.options}
    return {**found, "dir": directory, **changes}


class LogTarget(Target):
    exactly_once = True
    keeps_place = True

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.directory = directory / "log"
        self.changes = changes

    def sink(self) -> Sink:
        return LogSink(settings(self.directory, **self.changes))

    def delivered(self, offset: int = 0) -> list[Any]:
        reader = LogReader(self.directory)
        found = []
        with reader.partition(0) as partition:
            while records := partition.read(offset):
                assert [record.offset for record in records] == list(
                    range(offset, offset + len(records))
                )
                found += [json.loads(record.value) for record in records]
                offset += len(records)
        return found

    @contextmanager
    def failing(self) -> Iterator[None]:
        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        write = os.write
        os.write = full
        try:
            yield
        finally:
            os.write = write
