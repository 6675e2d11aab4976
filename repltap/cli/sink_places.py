"""`repltap sink ls` and `repltap sink reset`: where sinks are, and where they go on."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from repltap.cli.human import NOTHING, human_age, human_size
from repltap.cli.options import json_flag, sink_flag, table_options
from repltap.cli.output import show, show_json
from repltap.cli.sections import Cell, Section
from repltap.config import TapConfig, load_tap
from repltap.delivery.histories import at_offset, earliest, latest, stored_histories
from repltap.delivery.place import Place
from repltap.errors import (
    ConfigError,
    CorruptStoreError,
    DataDirError,
    DataDirInUseError,
    NotRetainedError,
    StoreError,
)
from repltap.position import Offset
from repltap.store.checkpoints import Checkpoint, Checkpoints
from repltap.store.metadata import storage_error
from repltap.store.reader import HistoryReader, StoreReader, lock_owner
from repltap.store.store import CHECKPOINTS_NAME

_COLUMNS = ("sink", "type", "process", "history", "offset", "behind", "saved")
_RIGHT = frozenset((2, 3, 4, 5, 6))
_EXAMPLE = "earliest, latest or an offset"
_RESET_BYTES = 8  # enough that no two resets of a sink have one name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A sink that is configured, or has a checkpoint.

    Attributes:
        name: Of the sink.
        type: As configured, "" where it isn't.
        process: Who delivers to it now, None for nobody that can be seen.
        checkpoint: Where it is, None where it has not begun.
        behind_bytes: What is stored behind that, and kept for it.
        fault: What is wrong with its checkpoint, "" for nothing.
    """

    name: str
    type: str
    process: int | None
    checkpoint: Checkpoint | None
    behind_bytes: int | None
    fault: str = ""


@click.command(name="ls")
@table_options("data_dir", "upstream", "upstream_name")
@sink_flag
@json_flag
def list_sinks(file: Path | None, as_json: bool, **flags: object) -> int | None:
    """List the sinks: where they are, and what is kept for them.

    Those that are configured or have a checkpoint. It reads files only, beside a running relay or
    without one; how sinks are doing just now is in `repltap status`.

    \b
    repltap sink ls --config repltap.toml
    repltap sink ls --data-dir ./data --json
    """
    config = load_tap(flags, os.environ, file)
    found = list(_sinks(config))
    if as_json:
        show_json({"data_dir": str(config.data_dir), "sinks": [_document(each) for each in found]})
    elif found:
        now = time.time()
        show([Section("Sinks", _COLUMNS, tuple(_row(each, now) for each in found), _RIGHT)])
    else:
        StoreReader(config.data_dir)  # a directory of another name must not look like no sinks
        click.echo("no sink is configured, and none has a checkpoint")
    faults = [each.fault for each in found if each.fault]
    for fault in faults:
        click.echo(f"repltap: {fault}", err=True)
    return CorruptStoreError.exit_code if faults else None


@click.command()
@click.argument("name")
@click.option("--to", "target", metavar="PLACE", help=f"Where it goes on: {_EXAMPLE}.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@table_options("data_dir")
def reset(name: str, target: str | None, file: Path | None, *, yes: bool, **flags: object) -> None:
    """Let the sink NAME begin anew, or go on elsewhere.

    What is delivered already is delivered again, or what is not never is: both as you say. A place
    that a sink keeps in its target (redis, log, kafka with transactions) does not count any more;
    nothing else in the target is changed. It is refused while something delivers to the sink.

    \b
    repltap sink reset audit --data-dir ./data
    repltap sink reset audit --data-dir ./data --to latest --yes
    """
    config = load_tap(flags, os.environ, file)
    path = config.data_dir / CHECKPOINTS_NAME
    stored = _stored(path)
    if stored is None:
        raise DataDirError("is not a data directory of repltap", path=config.data_dir)
    checkpoints = Checkpoints(path)
    lock = checkpoints.lock_path(name)
    # One that is configured may have a place in its target and none here.
    known = stored | {sink.name for sink in config.sinks}
    if target is None and name not in known:
        raise ConfigError(
            f"no sink {name!r} is known here",
            hint=f"known: {', '.join(sorted(known)) or 'none'}; --config FILE if it has it",
        )
    place = None if target is None else _place(config.data_dir, target)
    with _locked(lock, name):
        try:
            before = checkpoints.load(name)
        except CorruptStoreError:
            before = None
        what = "forgets where it is" if place is None else f"goes on at offset {place.offset}"
        if not yes:
            placed = before is not None and before.place is not None
            at = f"is at offset {before.pin}" if before and placed else "has no checkpoint"
            click.confirm(f"{name} {at}. It {what}: go on?", abort=True)
        # Where it goes on elsewhere, what the sink keeps is about a target that nobody has changed.
        state = before.state if before is not None and place is not None else {}
        made = Checkpoint(
            sink=name,
            place=None if place is None else place.as_dict(),
            state=state,
            saved_at=time.time(),
            reset=secrets.token_hex(_RESET_BYTES),
        )
        checkpoints.save(made)
    click.echo(f"{name} {what}")


def _sinks(config: TapConfig) -> Iterator[_Found]:
    types = {sink.name: sink.type for sink in config.sinks}
    path = config.data_dir / CHECKPOINTS_NAME
    stored = _stored(path)
    histories = () if stored is None else stored_histories(config.data_dir)
    for name in sorted(types.keys() | (stored or ())):
        checkpoint, fault = None, ""
        process = None
        try:
            if stored is not None:
                checkpoints = Checkpoints(path)
                process = lock_owner(checkpoints.lock_path(name))
                checkpoint = checkpoints.load(name)
        except ConfigError:
            continue  # a file of another name
        except StoreError as failure:
            fault = str(failure)
        if name not in types and checkpoint is not None and checkpoint.place is None:
            continue  # it was reset, and is no more
        yield _Found(
            name=name,
            type=types.get(name, ""),
            process=process,
            checkpoint=checkpoint,
            behind_bytes=_behind(histories, checkpoint),
            fault=fault,
        )


def _stored(path: Path) -> set[str] | None:
    """Name the sinks that have a checkpoint; None where there is no directory for any.

    Raises:
        StoreError: It can't be read: that is not the same as nothing in it.
    """
    try:
        files = list(path.iterdir())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise storage_error(exc, path) from exc
    return {file.stem for file in files if file.suffix == ".json"}


def _behind(histories: tuple[HistoryReader, ...], checkpoint: Checkpoint | None) -> int | None:
    """Add up what is stored behind a checkpoint."""
    if checkpoint is None or checkpoint.place is None:
        return None
    total = 0
    for history in histories:
        if history.number < checkpoint.history_number:
            continue
        try:
            view = history.journal()
            end, start = view.end(), view.start
        except NotRetainedError:
            continue  # removed just then
        if history.number == checkpoint.history_number:
            start = max(start, checkpoint.pin)
        total += max(0, end - start)
    return total


def _document(sink: _Found) -> Mapping[str, object]:
    checkpoint = sink.checkpoint
    return {
        "name": sink.name,
        "type": sink.type or None,
        "configured": bool(sink.type),
        "process": sink.process,
        "place": None if checkpoint is None or not checkpoint.place else dict(checkpoint.place),
        "saved_at": None if checkpoint is None else checkpoint.saved_at,
        "reset": checkpoint is not None and bool(checkpoint.reset),
        "pinned_bytes": sink.behind_bytes,
        "fault": sink.fault or None,
    }


def _row(sink: _Found, now: float) -> tuple[Cell, ...]:
    checkpoint = sink.checkpoint
    if checkpoint is None or checkpoint.place is None:
        rest = (Cell(NOTHING),) * 4
    else:
        rest = (
            Cell(str(checkpoint.history_number)),
            Cell(str(checkpoint.pin)),
            Cell(human_size(sink.behind_bytes)),
            Cell(f"{human_age(now - checkpoint.saved_at)} ago"),
        )
    return (
        Cell(sink.name, "bad" if sink.fault else ""),
        _type(sink),
        Cell(NOTHING if sink.process is None else str(sink.process)),
        *rest,
    )


def _type(sink: _Found) -> Cell:
    if sink.type:
        return Cell(sink.type)
    # Who delivers to it has it configured, with a flag or in a file that was not named here.
    return Cell("not configured", "warn") if sink.process is None else Cell(NOTHING)


def _place(data_dir: Path, target: str) -> Place:
    """Read what `--to` says.

    Raises:
        ConfigError: It is none of what it can be, or nothing is there.
        StoreError: What is stored can't be read.
    """
    histories = stored_histories(data_dir)
    if not histories:
        raise NotRetainedError("nothing is stored yet", path=data_dir)
    if target == "earliest":
        found = earliest(histories[0])
    elif target == "latest":
        found = latest(histories[-1])
    elif target.isascii() and target.isdigit() and len(target) <= 18:
        found = _at(histories, Offset(int(target)))
    else:
        raise ConfigError(f"--to {target!r} is none of {_EXAMPLE}")
    if found is None:
        raise NotRetainedError(f"no command begins there that is stored: {target}", path=data_dir)
    return found


def _at(histories: tuple[HistoryReader, ...], offset: Offset) -> Place | None:
    for history in reversed(histories):
        view = history.journal()
        if view.start <= offset <= view.end():
            return at_offset(history, offset)
    held = histories[-1].journal()
    raise NotRetainedError(
        f"offset {offset} is not stored: the newest history has {held.start} to {held.end()}",
        path=histories[-1].path,
    )


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold a sink's lock, so that nobody delivers to it meanwhile."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise storage_error(exc, path) from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataDirInUseError(
            f"a process delivers to the sink {name}",
            path=path,
            hint="take it out of the relay's configuration, or stop the relay, first",
        ) from None
    finally:
        os.close(fd)
