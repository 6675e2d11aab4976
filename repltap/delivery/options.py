"""The options of a sink: those that all have, and how the value of one is found.

They come as text (`--sink`, a variable) or as TOML values, in a `SinkConfig`. A variable
REPLTAP_SINK_<NAME>_<OPTION> sets an option, too: it goes before the file, `--sink` before it. The
value of a secret, and a password in a URL, is in no error and on no command line.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from typing import Any

from repltap.config import SinkConfig, read_password
from repltap.delivery.redaction import Action
from repltap.errors import ConfigError
from repltap.sink import Option, Sink, SnapshotMode
from repltap.sinkspec import TARGET, sink_variable
from repltap.values import (
    boolean,
    choice,
    integer,
    integers,
    path,
    seconds,
    secret,
    size,
    without_secrets,
    words,
)

_MAX_DB = (1 << 31) - 1
_COMMAND_LINE = "--sink"  # how the origin of what was given there begins
_NOT_GIVEN = object()


class Start(enum.Enum):
    """Where a sink begins that has no place yet and is given no snapshot."""

    EARLIEST = "earliest"  # with the first byte that is stored
    LATEST = "latest"  # with what comes in from now on


class OnGap(enum.Enum):
    """What a sink does where bytes were let go that it has not been given."""

    CONTINUE = "continue"  # a notice, a snapshot by its mode, and what is stored
    STOP = "stop"  # it fails, until somebody resets it


def _choices(kind: type[enum.Enum]) -> list[str]:
    return [one.value for one in kind]


def _conditions(prefix: str, what: str) -> list[Option]:
    return [
        Option(name=f"{prefix}_db", parse=integers(0, _MAX_DB), help=f"{what} these databases."),
        Option(name=f"{prefix}_key", parse=words, help=f"{what} keys like these, as KEYS does."),
        Option(name=f"{prefix}_prefix", parse=words, help=f"{what} keys that begin so."),
        Option(name=f"{prefix}_regex", parse=words, help=f"{what} keys that match these."),
        Option(
            name=f"{prefix}_command", parse=words, help=f"{what} these commands, or @categories."
        ),
    ]


COMMON: tuple[Option, ...] = (
    Option(
        name="snapshot",
        parse=choice(_choices(SnapshotMode)),
        help="When it is given a snapshot: never, initial, when_needed, always.",
    ),
    Option(
        name="start",
        parse=choice(_choices(Start)),
        default=Start.EARLIEST.value,
        help="Where it begins without a snapshot: earliest or latest.",
    ),
    *_conditions("include", "Only"),
    *_conditions("exclude", "Not"),
    Option(
        name="redact", parse=choice(_choices(Action)), help="Values are hashed, cut or removed."
    ),
    Option(name="redact_keep_bytes", parse=integer(0, 1 << 30), help="What cut leaves of a value."),
    Option(name="redact_hash_keys", parse=boolean, help="Keys are hashed, too.", default=False),
    Option(name="redact_secret", parse=secret, help="Keys the hash.", secret=True),
    *_conditions("redact", "Redact only"),
    Option(name="max_value_bytes", parse=size(1), help="Longer values are cut."),
    Option(
        name="commit_seconds",
        parse=seconds(0.001, 3600),
        help="A commit follows the first write after so long; 1 for most sinks.",
    ),
    Option(
        name="commit_bytes",
        parse=size(1),
        help="A commit follows so much of the stream; 64mb for most sinks.",
    ),
    Option(
        name="heartbeat_seconds",
        parse=seconds(0.1, 86400),
        help="A notice this often while nothing else comes.",
    ),
    Option(
        name="on_gap",
        parse=choice(_choices(OnGap)),
        default=OnGap.CONTINUE.value,
        help="Where bytes are lost: continue or stop.",
    ),
)
"""The settings that every sink has."""


class OptionReader:
    """Finds the value of each option of a sink in what was given.

    Args:
        config: As it was given.
        sink: Its class.
        environ: The environment.

    Raises:
        ConfigError: The class has an option twice, or one of those of all sinks.
    """

    def __init__(self, config: SinkConfig, sink: type[Sink], environ: Mapping[str, str]) -> None:
        self._config = config
        self._sink = sink
        self._environ = environ
        self._options = {option.name: option for option in COMMON}
        for option in sink.options:
            if option.name in self._options:
                raise ConfigError(
                    f"{config.origin}: type: the sink {config.type!r} has an option "
                    f"{option.name!r}, which is one of all sinks, or twice its own"
                )
            self._options[option.name] = option
        self._files = {f"{o.name}_file": o for o in self._options.values() if o.secret}

    def read(self) -> dict[str, Any]:  # Any: as the options parse
        """Read all; what is not given has its default.

        Raises:
            ConfigError: A setting is unknown, missing or wrong; names where it was given, and it.
        """
        given = self._given()
        values: dict[str, Any] = {}
        for option in self._options.values():
            found = self._find(option, given)
            if found is _NOT_GIVEN and option.required:
                raise ConfigError(
                    f"{self._config.origin}: {option.name} is missing: {option.help.rstrip('.')}",
                    hint=self._how(option),
                )
            values[option.name] = option.default if found is _NOT_GIVEN else found
        return values

    def _given(self) -> dict[str, object]:
        origin = self._config.origin
        given = dict(self._config.settings)
        if TARGET in given:
            target = given.pop(TARGET)
            if not self._sink.target:
                raise ConfigError(
                    f"{origin}: {self._config.type} takes no target", hint="use name=value"
                )
            if self._sink.target in given:
                raise ConfigError(f"{origin}: {self._sink.target} is given twice")
            given[self._sink.target] = target
        known = [*self._options, *self._files]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
                raise ConfigError(f"{origin}: {name}: no such setting", hint=hint)
        return given

    def _find(self, option: Option, given: Mapping[str, object]) -> object:
        """Find what was given for an option, from the strongest source that gives it."""
        origin = self._config.origin
        command_line = origin.startswith(_COMMAND_LINE)
        configured = self._configured(option, given, command_line=command_line)
        variable = sink_variable(self._config.name, option.name)
        raw = self._environ.get(variable, "")
        if raw and not (command_line and configured is not _NOT_GIVEN):
            return self._parse(option, raw, variable)
        return configured

    def _configured(
        self, option: Option, given: Mapping[str, object], *, command_line: bool
    ) -> object:
        origin = f"{self._config.origin}: {option.name}"
        file = f"{option.name}_file"
        from_file = option.secret and file in given
        if option.name not in given:
            return self._from_file(option, given[file]) if from_file else _NOT_GIVEN
        raw = given[option.name]
        if isinstance(raw, Mapping) and not option.table:
            raise ConfigError(f"{origin}: a table can't be given for it: {option.help}")
        if from_file:
            raise ConfigError(f"{origin} is given twice: {file} too")
        if command_line and (option.secret or _has_password(raw)):
            # The raw text must not be quoted here.
            raise ConfigError(
                f"{origin}: a password on the command line is visible in the process list",
                hint=self._how(option),
            )
        return self._parse(option, raw, origin)

    def _from_file(self, option: Option, raw: object) -> object:
        origin = f"{self._config.origin}: {option.name}_file"
        try:
            file = path(raw)
        except ValueError as exc:
            raise ConfigError(f"{origin}: {exc}") from None
        return self._parse(option, read_password(file, origin), origin)

    def _parse(self, option: Option, raw: object, origin: str) -> object:
        try:
            return option.parse(raw)
        except ValueError as exc:
            said = str(exc)
            if option.secret and str(raw) in said:
                said = "it is not valid"
            elif isinstance(raw, str):
                shown = without_secrets(raw)
                said = said.replace(repr(raw), repr(shown)).replace(raw, shown)
            raise ConfigError(f"{origin}: {said}") from None

    def _how(self, option: Option) -> str:
        """Say how an option can be given."""
        variable = sink_variable(self._config.name, option.name)
        return f"{option.name}_file=FILE, or {variable}" if option.secret else f"or {variable}"


def _has_password(raw: object) -> bool:
    return isinstance(raw, str) and re.search(r"://[^/@\s]*:[^@\s]+@", raw) is not None
