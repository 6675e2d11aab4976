"""A sink for tests of what surrounds sinks: a file of JSON lines, and faults on demand."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from repltap.sink import (
    AnyRecord,
    Option,
    Sample,
    Sink,
    SinkContext,
    SinkError,
    SinkErrorKind,
    path,
    secret,
)

TYPE = f"{__name__}:Jotter"


class Jotter(Sink):
    """Appends to a file; what was not committed is cut off again.

    Beside it, `<path>.fault` says what goes wrong at each write while it exists: `crash`, `exit`,
    `hang` or `away`.
    """

    options = (
        Option(name="path", parse=path, help="The file.", required=True),
        Option(name="password", parse=secret, help="Of no use.", secret=True),
    )
    target = "path"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._path: Path = settings["path"]
        self._fault = self._path.with_suffix(self._path.suffix + ".fault")
        self._file: BinaryIO | None = None
        self._context: SinkContext | None = None
        self._written = 0

    def open(self, context: SinkContext) -> str | None:
        """Cut off what was not committed."""
        self._context = context
        self._file = open(self._path, "ab")  # noqa: SIM115
        self._file.truncate(int(context.state.get("size", 0)))
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        """Append, or fail as told."""
        assert self._file is not None
        assert self._context is not None
        self._misbehave()
        lines = self._context.json_lines(records)
        self._file.write(lines)
        self._context.sent(len(lines))
        self._written += len(records)

    def commit(self, place: str) -> Mapping[str, Any] | None:
        """Force it to the disk."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"size": os.fstat(self._file.fileno()).st_size}

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def samples(self) -> Sequence[Sample]:
        """Count what was written."""
        return [Sample("jotted_total", "Records.", {"kind": "all"}, float(self._written))]

    def _misbehave(self) -> None:
        try:
            fault = self._fault.read_text()
        except FileNotFoundError:
            return
        if fault == "crash":
            raise RuntimeError("told to crash")
        if fault == "exit":
            os._exit(3)
        if fault == "hang":
            time.sleep(3600)
        raise SinkError("told to be away", kind=SinkErrorKind.AWAY)
