"""How far each sink has got: one small file per sink, replaced as a whole.

    checkpoints/<sink>.json    history number, replid, offset, selected database, open transaction

A checkpoint says that everything below `offset` has been delivered and need not be delivered again.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from repltap.errors import ConfigError
from repltap.position import Offset, ReplId, parse_replid
from repltap.store.metadata import (
    corrupt_metadata,
    fsync_dir,
    load_json,
    publish_json,
    storage_error,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""No dot and no slash: a name can't leave the directory or look like another file of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A sink's place in the stream.

    Attributes:
        sink: Its name: letters, digits, `_` and `-`, at most 64.
        history_number: The history's directory number.
        replid: The history's replid when this was saved.
        offset: Everything below has been delivered.
        db: The database selected at `offset`.
        tx: Offset of the MULTI that is open at `offset`, None outside a transaction.
    """

    sink: str
    history_number: int
    replid: ReplId
    offset: Offset
    db: int
    tx: int | None = None


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
            DiskFullError: No room; the one before is still there.
            DataDirError: It could not be written.
        """
        publish_json(self._file(checkpoint.sink), asdict(checkpoint))

    def load(self, sink: str) -> Checkpoint | None:
        """Read a sink's checkpoint, None when it has none.

        Raises:
            ConfigError: The sink's name can't be a file name.
            CorruptStoreError: It can't be believed.
            DataDirError: It could not be read.
        """
        path = self._file(sink)
        try:
            fields = load_json(path)
        except FileNotFoundError:
            return None
        try:
            tx = fields["tx"]
            return Checkpoint(
                sink=sink,
                history_number=int(cast("int", fields["history_number"])),
                replid=parse_replid(str(fields["replid"]).encode()),
                offset=Offset(int(cast("int", fields["offset"]))),
                db=int(cast("int", fields["db"])),
                tx=None if tx is None else int(cast("int", tx)),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise corrupt_metadata(path, f"lacks a field or has a wrong one: {exc}") from exc

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
        path = self._file(sink)
        try:
            path.unlink(missing_ok=True)
            fsync_dir(self.path)
        except OSError as exc:
            raise storage_error(exc, path) from exc

    def _file(self, sink: str) -> Path:
        if _NAME.fullmatch(sink) is None:
            raise ConfigError(
                f"sink name {sink!r} is not usable",
                hint="letters, digits, '_' and '-', at most 64, beginning with a letter or digit",
            )
        return self.path / f"{sink}.json"
