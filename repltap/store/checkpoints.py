"""How far each sink has got: one small file per sink, replaced as a whole.

    checkpoints/<sink>.json    sink, place, state, saved_at; reset
    checkpoints/<sink>.lock, <sink>.given    beside it; see `lock_path` and `given`

`place` is what `repltap.delivery.place` writes. Here only this counts: in which history it is
(`history`, `replid`), and that it needs the stream from `offset` on. `state` is the sink's own;
`saved_at` Unix seconds. `reset` names a reset that no commit has followed yet: the sink goes on at
`place`, or begins anew where that is null, whatever its target holds. A file that can't be believed
is an error and never a new beginning: what was delivered already would be delivered again, or what
was not, never.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from repltap.errors import ConfigError, CorruptStoreError
from repltap.position import MAX_OFFSET, Offset, ReplId, parse_replid
from repltap.store.metadata import (
    fsync_dir,
    load_json,
    publish_json,
    storage_error,
)

MAX_STATE_BYTES = 64 << 10
"""What a sink may keep in its checkpoint, which is written about once a second."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""No dot and no slash: a name can't leave the directory or look like another file of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A sink's place, durable in its target.

    Attributes:
        sink: Its name: letters, digits, `_` and `-`, at most 64.
        place: Where it goes on, as JSON can hold it; None at a new beginning.
        state: What the sink wants to find again.
        saved_at: When it was saved, Unix seconds.
        reset: The reset that has made it, "" if a commit has. A place that the target holds does
            not count then, unless it was committed after that reset.
    """

    sink: str
    place: Mapping[str, object] | None
    state: Mapping[str, Any]  # Any: JSON
    saved_at: float
    reset: str = ""

    @property
    def history_number(self) -> int:
        """The number of the history's directory.

        Raises:
            ValueError: The place has none.
        """
        return _number(self.place, "history")

    @property
    def replid(self) -> ReplId:
        """The replid that names the bytes from `pin` on.

        Raises:
            ValueError: The place has none.
        """
        return parse_replid(str((self.place or {}).get("replid")).encode())

    @property
    def pin(self) -> Offset:
        """The first byte of that history that is still needed.

        Raises:
            ValueError: The place has none.
        """
        return Offset(_number(self.place, "offset"))


class Checkpoints:
    """The checkpoints of a data directory. Each sink's file has one writer.

    Args:
        path: Their directory; made when it does not exist.

    Raises:
        DataDirError: The directory can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise storage_error(exc, path) from exc

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace a sink's checkpoint; durable when it returns. Blocking.

        Raises:
            ConfigError: The sink's name can't be a file name.
            ValueError: It has no place and no reset, or the state is too large or no JSON.
            DiskFullError: No room; the one before is still there.
            DataDirError: It could not be written.
        """
        path = self.path_of(checkpoint.sink)
        _check(checkpoint)
        fields = {
            "sink": checkpoint.sink,
            "place": None if checkpoint.place is None else dict(checkpoint.place),
            "state": dict(checkpoint.state),
            "saved_at": checkpoint.saved_at,
        }
        if checkpoint.reset:
            fields["reset"] = checkpoint.reset
        publish_json(path, fields)

    def load(self, sink: str) -> Checkpoint | None:
        """Read a sink's checkpoint, None when it has none.

        Raises:
            ConfigError: The sink's name can't be a file name.
            CorruptStoreError: It can't be believed.
            DataDirError: It could not be read.
        """
        path = self.path_of(sink)
        try:
            fields = load_json(path)
        except FileNotFoundError:
            return None
        except CorruptStoreError as exc:
            raise _damaged(path, exc.message.removeprefix(f"{path}: "), sink) from exc
        try:
            if fields["sink"] != sink:
                raise ValueError(f"is of sink {fields['sink']!r}")
            place, state = fields["place"], fields["state"]
            reset = fields.get("reset", "")
            if not isinstance(place, dict | None) or not isinstance(state, dict):
                raise TypeError("place and state have to be objects")
            if not isinstance(reset, str):
                raise TypeError(f"reset is {reset!r}")
            found = Checkpoint(
                sink=sink,
                place=place,
                state=state,
                saved_at=float(cast("float", fields["saved_at"])),
                reset=reset,
            )
            _check(found)
        except (KeyError, TypeError, ValueError) as exc:
            raise _damaged(path, f"lacks a field or has a wrong one: {exc}", sink) from exc
        return found

    def all(self) -> tuple[Checkpoint, ...]:
        """Read all checkpoints, by name.

        Raises:
            CorruptStoreError: One can't be believed.
            DataDirError: One could not be read.
        """
        names = sorted(path.stem for path in self.path.glob("*.json"))
        loaded = (self.load(name) for name in names if _NAME.fullmatch(name))
        return tuple(checkpoint for checkpoint in loaded if checkpoint is not None)

    def remove(self, sink: str) -> None:
        """Forget a sink's checkpoint, if it has one; blocking.

        Raises:
            ConfigError: The sink's name can't be a file name.
            DataDirError: It could not be removed.
        """
        path = self.path_of(sink)
        try:
            path.unlink(missing_ok=True)
            fsync_dir(self.path)
        except OSError as exc:
            raise storage_error(exc, path) from exc

    def lock_path(self, sink: str) -> Path:
        """Tell which file whoever delivers to a sink holds the lock of.

        Raises:
            ConfigError: The sink's name can't be a file name.
        """
        return self.path_of(sink).with_suffix(".lock")

    def given_path(self, sink: str) -> Path:
        """Tell which file notes up to where a sink has been given records; see `given`.

        Raises:
            ConfigError: The sink's name can't be a file name.
        """
        return self.path_of(sink).with_suffix(".given")

    def path_of(self, sink: str) -> Path:
        """Tell which file a sink's checkpoint is.

        Raises:
            ConfigError: The sink's name can't be a file name.
        """
        if _NAME.fullmatch(sink) is None:
            raise ConfigError(
                f"sink name {sink!r} is not usable",
                hint="letters, digits, '_' and '-', at most 64, beginning with a letter or digit",
            )
        return self.path / f"{sink}.json"


def _check(checkpoint: Checkpoint) -> None:
    """Refuse what could not be used when it is needed."""
    if checkpoint.place is not None:
        _ = checkpoint.history_number, checkpoint.replid, checkpoint.pin
    elif not checkpoint.reset:
        raise ValueError("it has no place, and no reset has made it")
    try:
        size = len(json.dumps(dict(checkpoint.state)))
    except TypeError as exc:
        raise ValueError(f"the state is no JSON: {exc}") from exc
    if size > MAX_STATE_BYTES:
        raise ValueError(f"the state has {size} bytes, more than {MAX_STATE_BYTES}")


def _number(fields: Mapping[str, object] | None, name: str) -> int:
    value = (fields or {}).get(name)
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise ValueError(f"{name} is {value!r}")
    return value


def _damaged(path: Path, reason: str, sink: str) -> CorruptStoreError:
    return CorruptStoreError(
        reason,
        path=path,
        hint=f"restore it from a backup, or begin anew with `repltap sink reset {sink}`",
    )
