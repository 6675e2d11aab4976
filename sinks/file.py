"""Records in files: rotated, packed, each record in them once.

Everything behind the last commit is undone by `open`: files are cut to the length that the state
has, and those are deleted of which the state knows nothing. Final names are given when a commit is
kept (`_file.folder`), so a finished file is never taken back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repltap.sink import (
    AnyRecord,
    Kind,
    Option,
    Record,
    RespForm,
    Sample,
    Sink,
    SinkContext,
    SnapshotRecord,
    choice,
    integer,
    seconds,
    size,
)
from sinks._file.compression import SUFFIXES
from sinks._file.counts import Counts
from sinks._file.folder import Folder
from sinks._file.names import Names, template
from sinks._file.output import Output
from sinks._file.state import Current, Made, State

_MAX_COMPLETE = 100
"""Files between two commits: their names have to fit into the state. Then they grow instead."""

_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"

_YEARS = 10 * 365 * 86400.0


class FileSink(Sink):
    """Writes records to files, rotated and packed if wanted; each is in them once.

    Args:
        settings: The values of `options`.
        clock: Unix seconds.

    Raises:
        ValueError: Files are to be deleted that are never finished.
    """

    options = (
        Option(
            name="path",
            parse=template,
            required=True,
            help="the file; with {sequence}, {time} or {offset} in its name one name for each",
        ),
        Option(
            name="format",
            parse=choice(("json", "resp")),
            default="json",
            help="json: a record a line; resp: commands that a server executes",
        ),
        Option(
            name="rotate_bytes",
            parse=size(1),
            help="begin another file when one is as large; not at all if not given",
        ),
        Option(
            name="rotate_seconds",
            parse=seconds(1, _YEARS),
            help="begin another file when one is as old; not at all if not given",
        ),
        Option(
            name="compression",
            parse=choice(tuple(SUFFIXES)),
            default="none",
            help="none, gzip or zstd",
        ),
        Option(
            name="keep_files",
            parse=integer(1, 10**9),
            help="how many finished files are kept; all if not given",
        ),
        Option(
            name="keep_bytes",
            parse=size(0),
            help="how large the finished files that are kept may be; any size if not given",
        ),
    )
    target = "path"
    exclusive = "path"
    whole_transactions = True  # the form can't go on within one
    exactly_once = True

    def __init__(
        self, settings: Mapping[str, Any], *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(settings)
        self._clock = clock
        self._resp = settings["format"] == "resp"
        self._rotate_bytes: int | None = settings["rotate_bytes"]
        self._rotate_seconds: float | None = settings["rotate_seconds"]
        self._rotated = bool(self._rotate_bytes or self._rotate_seconds)
        keeps = [name for name in ("keep_files", "keep_bytes") if settings[name] is not None]
        if keeps and not self._rotated:
            raise ValueError(f"{keeps[0]}: goes with rotate_bytes or rotate_seconds")
        self._made = Made(
            settings["path"].name, settings["format"], settings["compression"], self._rotated
        )
        self._counts = Counts()
        self._output: Output | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of files, as before `open`."""
        if self._output is not None:
            self._output.close()
        self._output = None  # the file in progress
        self._name = ""  # its final name
        self._began = 0.0
        self._form: RespForm | None = None
        self._cut = False  # the last record is not the last of its transaction
        self._complete: list[tuple[str, int]] = []  # not under their final names yet
        self._sequence = 0
        self._is_kept = False  # a commit has returned; what it says is kept at the next call

    def open(self, context: SinkContext) -> str | None:
        """See `Sink.open`."""
        self._forget()
        self._context = context
        path: Path = self.settings["path"]
        names = Names.of(
            path.name,
            sink=context.name,
            compression=self.settings["compression"],
            rotated=self._rotated,
        )
        self._folder = Folder(Path(os.path.abspath(path.parent)), names, self._counts)  # noqa: PTH100
        self._folder.require()
        state = self._read_state()
        self._undo(state)
        self._folder.remove_uncommitted(keep=self._name)
        self._sequence = max(state.sequence, self._folder.highest_sequence())
        if self._output is None and not names.numbered:
            self._folder.choose(0, 0, 0)  # that it is in the way is better said now than later
        self._folder.sync()
        if self._resp:
            self._form = context.resp_form()  # from now on snapshots have what RESTORE needs
        return None

    def _read_state(self) -> State:
        if not self._context.state:
            return State()
        try:
            return State.parse(self._context.state)
        except ValueError as exc:
            self._context.log.warning(
                "the state that was kept is of no use (%s): beginning with new files", exc
            )
            return State()

    def _undo(self, state: State) -> None:
        """Make the files what they were at the commit, and go on with the last one.

        Raises:
            SinkError: It can't be done.
        """
        current, made = state.current, state.made
        if made == self._made and state.directory == str(self._folder.path):
            self._folder.refuse_later(state.sequence)
        for name, length in state.complete:
            found = self._find(name, state)
            if found is not None and not self._folder.is_final(found):
                self._end(self._reopen(found, length), name)
        if current is None or made is None:
            return
        found = self._find(current.name, state)
        if found is None:
            self._context.log.warning("%s is gone: going on in another file", current.name)
            return
        if made.rotated and self._folder.is_final(found):
            # It was ended when there was nothing to write.
            self._folder.refuse_longer(found, current.length)
            return
        output = self._output = self._reopen(found, current.length)
        if current.cut and made.form == "resp":
            self._context.sent(output.write(_DISCARD) + output.end_piece())
        if made != self._made or found.parent != self._folder.path:
            self._end(output, current.name)
            self._output = None
            return
        self._name = current.name
        self._began = current.began
        self._publish()

    def _find(self, name: str, state: State) -> Path | None:
        """Look where files are made now, and where they were made then."""
        found = self._folder.find(name)
        if found is None and state.directory != str(self._folder.path):
            found = Folder(Path(state.directory), self._folder.names, self._counts).find(name)
        return found

    def _reopen(self, path: Path, length: int) -> Output:
        return Output.reopen(
            path, length, compression=self.settings["compression"], counts=self._counts
        )

    def _end(self, output: Output, name: str) -> None:
        """Finish a file of an earlier life."""
        try:
            output.sync()
            folder = self._folder
            if output.path.parent != folder.path:
                folder = Folder(output.path.parent, folder.names, self._counts)
            folder.move(output.path, name)
            folder.sync()
        finally:
            output.close()
        self._counts.finished += 1

    def write(self, records: Sequence[AnyRecord]) -> None:
        """See `Sink.write`."""
        self._settle()
        first, last = records[0], records[-1]
        if self._output is not None and self._is_due():
            self._complete_output()
        data = self._written(records)
        if data:
            if self._output is None:
                self._begin(first)
            assert self._output is not None
            self._context.sent(self._output.write(data))
        if isinstance(last, Record):
            self._cut = last.tx is not None and not last.tx.last
        elif last.kind is not Kind.HEARTBEAT:
            self._cut = False  # the form has ended what was open

    def _written(self, records: Sequence[AnyRecord]) -> bytes:
        if not self._resp:
            return self._context.json_lines(records)
        if self._form is None:
            self._form = self._context.resp_form()  # one a file: each begins with a SELECT
        return self._form.write(records)

    def _is_due(self) -> bool:
        """Tell whether the file in progress has its end; never within a transaction."""
        assert self._output is not None
        if self._cut or len(self._complete) >= _MAX_COMPLETE:
            return False
        if self._rotate_bytes and self._output.length >= self._rotate_bytes:
            return True
        age = self._clock() - self._began
        return self._rotate_seconds is not None and age >= self._rotate_seconds

    def _begin(self, first: AnyRecord) -> None:
        """Begin a file.

        Raises:
            SinkError: It can't be made.
        """
        offset = first.offset if isinstance(first, SnapshotRecord) else first.offset_start
        self._sequence, self._name = self._folder.choose(self._sequence, offset, first.ts_ms)
        self._output = Output.create(
            self._folder.path / (self._name + self._folder.names.new),
            compression=self.settings["compression"],
            counts=self._counts,
        )
        self._folder.added()
        self._began = self._clock()

    def _complete_output(self) -> None:
        """End the file in progress; it gets its final name when that is kept.

        Raises:
            SinkError: It can't be made durable.
        """
        assert self._output is not None
        self._context.sent(self._output.end_piece())
        self._output.sync()
        self._output.is_moved()  # raises if it is damaged; if moved, it is missed at its renaming
        self._complete.append((self._name, self._output.length))
        self._leave_output()

    def _leave_output(self) -> None:
        assert self._output is not None
        self._output.close()
        self._output = None
        self._name = ""
        self._form = None
        self._cut = False

    def commit(self, place: str) -> Mapping[str, Any] | None:  # noqa: ARG002  # it is in the state
        """See `Sink.commit`."""
        self._settle()
        current = None
        output = self._output
        if output is not None:
            self._context.sent(output.end_piece())
            output.sync()
            if output.is_moved():
                self._context.log.info("%s was moved: going on in another file", output.path)
                self._leave_output()
            else:
                current = Current(self._name, output.length, self._began, self._cut)
        self._folder.sync()
        self._is_kept = True
        return State(
            self._made, str(self._folder.path), self._sequence, list(self._complete), current
        ).as_json()

    def idle(self) -> None:
        """See `Sink.idle`."""
        self._settle()
        if self._output is not None and self._is_due():
            self._complete_output()
            self._finish_complete()

    def _settle(self) -> None:
        """Give files the names that the last commit lets them have.

        Raises:
            SinkError: They can't be renamed, or old ones not be deleted.
        """
        if not self._is_kept:
            return
        self._is_kept = False
        self._publish()
        self._finish_complete()

    def _publish(self) -> None:
        if self._output is not None:
            name = self._name + self._folder.names.live
            self._output.path = self._folder.move(self._output.path, name)

    def _finish_complete(self) -> None:
        while self._complete:
            name, _ = self._complete[0]
            found = self._folder.find(name)
            if found is None:
                self._context.log.warning("%s is gone", name)
            else:
                self._folder.move(found, name)
                self._counts.finished += 1
            del self._complete[0]
        self._folder.delete_old(self.settings["keep_files"], self.settings["keep_bytes"])
        self._folder.sync()

    def close(self) -> None:
        """See `Sink.close`."""
        self._forget()

    def samples(self) -> Sequence[Sample]:
        """See `Sink.samples`."""
        length = self._output.length if self._output else 0
        return self._counts.samples(self._context.name, length)
