"""What a sink is told: the settings that all have, and those of its own, read and checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from repltap.config import SinkConfig
from repltap.delivery.commands import CommandTable, builtin_table
from repltap.delivery.filters import KeyPatterns, RecordFilter, Selection
from repltap.delivery.options import OnGap, OptionReader, Start
from repltap.delivery.redaction import MAX_SECRET_BYTES, Action
from repltap.delivery.registry import find_sink
from repltap.errors import ConfigError
from repltap.sink import Sink, SnapshotMode


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionSettings:
    """What is done with values, and in which records.

    Attributes:
        action: What is done.
        secret: Keys the hash, b"" for none.
        keep_bytes: What CUT leaves.
        hash_keys: Keys are hashed, too.
        where: Which records, None for all.
    """

    action: Action
    secret: bytes = field(default=b"", repr=False)
    keep_bytes: int = 0
    hash_keys: bool = False
    where: Selection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """All that is configured of a sink.

    Attributes:
        sink: Its class; `sink(options)` makes one.
        name: As configured.
        type: As configured.
        origin: Where it was configured.
        options: The sink's own, by name.
        snapshot: When it is given a snapshot.
        start: Where it begins without one.
        include, exclude: Which records it is given.
        redaction: What it is not to see of them, None for nothing.
        max_value_bytes: Values are cut to this, None for no limit.
        commit_seconds, commit_bytes: A commit follows the first write after so long, or after so
            much of the stream.
        heartbeat_seconds: With nothing else to give it is given a notice this often, None for
            never.
        on_gap: What it does at a gap.
    """

    sink: type[Sink]
    name: str
    type: str
    origin: str
    options: Mapping[str, Any] = field(repr=False)  # Any: as the options parse
    snapshot: SnapshotMode
    start: Start = Start.EARLIEST
    include: Selection = field(default_factory=Selection)
    exclude: Selection = field(default_factory=Selection)
    redaction: RedactionSettings | None = None
    max_value_bytes: int | None = None
    commit_seconds: float = Sink.commit_seconds
    commit_bytes: int = Sink.commit_bytes
    heartbeat_seconds: float | None = None
    on_gap: OnGap = OnGap.CONTINUE


def read_settings(
    config: SinkConfig,
    sink: type[Sink],
    environ: Mapping[str, str],
    table: CommandTable | None = None,
) -> SinkSettings:
    """Read what was configured of a sink.

    Args:
        config: As it was given.
        sink: Its class.
        environ: The environment.
        table: What is known of commands, for categories; the built-in one if not given.

    Raises:
        ConfigError: A setting is unknown, missing or wrong, or some don't go together; names where
            it was given, and it.
    """
    values = OptionReader(config, sink, environ).read()
    try:
        snapshot = SnapshotMode(values["snapshot"]) if values["snapshot"] else sink.snapshots
        made = SinkSettings(
            name=config.name,
            type=config.type,
            origin=config.origin,
            sink=sink,
            options=MappingProxyType({option.name: values[option.name] for option in sink.options}),
            snapshot=snapshot,
            start=Start(values["start"]),
            include=_selection("include", values),
            exclude=_selection("exclude", values),
            redaction=_redaction(values),
            max_value_bytes=values["max_value_bytes"],
            commit_seconds=values["commit_seconds"] or sink.commit_seconds,
            commit_bytes=values["commit_bytes"] or sink.commit_bytes,
            heartbeat_seconds=values["heartbeat_seconds"],
            on_gap=OnGap(values["on_gap"]),
        )
    except ValueError as exc:
        raise ConfigError(f"{config.origin}: {exc}") from None
    _check_filters(made, table or builtin_table())
    try:
        sink(made.options)
    except ValueError as exc:
        raise ConfigError(f"{config.origin}: {exc}") from None
    return made


def read_all_settings(
    sinks: Iterable[SinkConfig], environ: Mapping[str, str]
) -> list[SinkSettings]:
    """Read what was configured of all sinks of a relay.

    Args:
        sinks: As they were given.
        environ: The environment.

    Raises:
        ConfigError: As `read_settings`; or two would write to the same file.
    """
    found = [read_settings(sink, find_sink(sink.type, sink.origin), environ) for sink in sinks]
    writers: dict[object, SinkSettings] = {}
    for made in found:
        name = made.sink.exclusive
        value = made.options.get(name)
        if value is None:
            continue
        # `..` and links are the file system's business: what begins otherwise is told apart there.
        key = value.absolute() if isinstance(value, Path) else value
        other = writers.setdefault(key, made)
        if other is not made:
            raise ConfigError(
                f"{made.origin}: {name}: {value} is that of the sink {other.name}, too",
                hint=f"give each its own {name}: they would overwrite each other's files",
            )
    return found


def unknown_commands(
    settings: Iterable[SinkSettings], table: CommandTable | None = None
) -> list[str]:
    """Find commands in filters that no server is known to have: a typo would match nothing.

    They are told and not refused: a module or a newer server may have them.

    Args:
        settings: Of all sinks.
        table: What is known of commands; the built-in one if not given.

    Returns:
        A sentence for each.
    """
    known = frozenset[str]().union(*(table or builtin_table()).categories.values())
    told = []
    for each in settings:
        for prefix, selection in _selections(each).items():
            for name in sorted(map(str.upper, selection.commands)):
                # Modules have names with a dot.
                many = "," in name
                if name in known or name.startswith("@") or ("." in name and not many):
                    continue
                near = difflib.get_close_matches(name, known, n=3)
                # Two letters exchanged are the likeliest slip: HSTE is HSET, not HSETEX.
                near.sort(key=lambda each: sorted(each) != sorted(name))
                hint = f": did you mean {near[0]}?" if near else ""
                if many:
                    hint = ": semicolons separate several"
                told.append(f"{each.origin}: {prefix}_command: {name} is no known command{hint}")
    return told


def _selections(settings: SinkSettings) -> dict[str, Selection]:
    redacted = (settings.redaction and settings.redaction.where) or Selection()
    return {"include": settings.include, "exclude": settings.exclude, "redact": redacted}


def _selection(prefix: str, values: Mapping[str, Any]) -> Selection:
    def patterns(name: str) -> tuple[bytes, ...]:
        given: tuple[str, ...] = values.get(f"{prefix}_{name}") or ()
        return tuple(one.encode("utf-8", "surrogateescape") for one in given)

    return Selection(
        dbs=frozenset(values[f"{prefix}_db"] or ()),
        commands=frozenset(values[f"{prefix}_command"] or ()),
        keys=KeyPatterns(patterns("key"), patterns("prefix"), patterns("regex")),
    )


def _redaction(values: Mapping[str, Any]) -> RedactionSettings | None:
    """Put together what is redacted.

    Raises:
        ValueError: A setting is of no effect without another.
    """
    where = _selection("redact", values)
    conditional = where != Selection()
    keep_bytes, word = values["redact_keep_bytes"], values["redact_secret"]
    if values["redact"] is None:
        names = [name for name in values if name.startswith("redact_") and values[name]]
        if names or keep_bytes is not None:
            raise ValueError(f"{(names or ['redact_keep_bytes'])[0]}: redact is missing")
        return None
    action = Action(values["redact"])
    if keep_bytes is not None and action is not Action.CUT:
        raise ValueError(f"redact_keep_bytes: goes with redact = cut, not {action.value}")
    if word is not None and action is not Action.HASH and not values["redact_hash_keys"]:
        raise ValueError("redact_secret: nothing is hashed")
    key = b"" if word is None else word.encode("utf-8", "surrogateescape")
    if len(key) > MAX_SECRET_BYTES:
        raise ValueError(f"redact_secret: is longer than {MAX_SECRET_BYTES} bytes")
    return RedactionSettings(
        action=action,
        secret=key,
        keep_bytes=keep_bytes or 0,
        hash_keys=values["redact_hash_keys"],
        where=where if conditional else None,
    )


def _check_filters(settings: SinkSettings, table: CommandTable) -> None:
    """Find what only shows when the patterns are compiled.

    Raises:
        ConfigError: A category is unknown, or a regular expression is none.
    """
    for prefix, selection in _selections(settings).items():
        for regex in selection.keys.regexes:
            try:
                re.compile(regex)
            except re.error as exc:
                raise ConfigError(
                    f"{settings.origin}: {prefix}_regex: {regex.decode('utf-8', 'replace')!r} is "
                    f"no regular expression: {exc}"
                ) from None
        try:
            RecordFilter(selection, Selection(), table)
        except ValueError as exc:
            (wrong,) = exc.args
            near = difflib.get_close_matches(wrong.rpartition("@")[2], table.categories, n=1)
            hint = f"did you mean @{near[0]}?" if near else ""
            raise ConfigError(f"{settings.origin}: {prefix}_command: {exc}", hint=hint) from None
