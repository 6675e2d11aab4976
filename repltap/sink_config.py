"""Which sinks there are, from `--sink`, the environment and the TOML file.

    --sink SPEC, as often as there are sinks     see `repltap.sinkspec`
    REPLTAP_SINK                                 such specs, white space between them
    [sink.NAME]                                  with `type` and the settings

A sink that two sources name is the stronger one's alone, as flag goes before environment before
file; others are added up. What settings mean, and which there are, is not known here:
`repltap.delivery.settings` reads them, and the variables that set single ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repltap.errors import ConfigError
from repltap.options import ENVIRONMENT_PREFIX
from repltap.sinkspec import parse_spec, sink_name, sink_variable

VARIABLE = ENVIRONMENT_PREFIX + "SINK"
SECTION = "sink"

MAX_SINKS = 32
"""Each is a process of some 40 MB; a machine that has room for more has room for a second relay."""

_FLAG = "--sink"
_EXAMPLE = f"for example {_FLAG} file:./audit.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """A sink as it was configured; `repltap.delivery.settings` knows what the settings mean.

    Attributes:
        name: Letters, digits, `_` and `-`, at most 64.
        type: The entry point that makes it.
        settings: By name, as text or TOML values, tables among them; of a spec as
            `repltap.sinkspec` gives them.
        origin: Where it was configured, for errors: `repltap.toml: [sink.audit]`, `--sink audit`.
    """

    name: str
    type: str
    settings: Mapping[str, object] = field(repr=False)  # passwords may be among them
    origin: str


def read_sinks(
    specs: Iterable[str], environ: Mapping[str, str], table: object, file: Path | None
) -> tuple[SinkConfig, ...]:
    """Find out which sinks are configured.

    Args:
        specs: What `--sink` says, each time.
        environ: The environment.
        table: What the file has under `sink`, None for nothing.
        file: Its name, for errors.

    Returns:
        The sinks, in the order of their names.

    Raises:
        ConfigError: A spec or a table is none, a sink is there twice in one source, or two can't
            be told apart in variables.
    """
    found: dict[str, SinkConfig] = {}
    for layer in (
        _from_table(table, file),
        [_from_spec(spec, VARIABLE) for spec in environ.get(VARIABLE, "").split()],
        [_from_spec(spec, _FLAG) for spec in specs],
    ):
        names = [sink.name for sink in layer]
        for sink in layer:
            if names.count(sink.name) > 1:
                raise ConfigError(
                    f"{sink.origin}: there are two sinks of this name",
                    hint="call one of them otherwise by sink=NAME in its spec",
                )
            found[sink.name] = sink
    if len(found) > MAX_SINKS:
        raise ConfigError(f"{len(found)} sinks are configured: at most {MAX_SINKS} can be")
    _tell_apart(found)
    return tuple(found[name] for name in sorted(found))


def _from_spec(spec: str, source: str) -> SinkConfig:
    try:
        said = parse_spec(spec)
    except ValueError as exc:
        raise ConfigError(f"{source}: {exc}", hint=_EXAMPLE) from None
    return SinkConfig(
        name=said.name, type=said.type, settings=said.settings, origin=f"{source} {said.name}"
    )


def _from_table(table: object, file: Path | None) -> list[SinkConfig]:
    if table is None:
        return []
    hint = f'write [{SECTION}.NAME] and type = "..." below it'
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {SECTION}: must be a table", hint=hint)
    found = []
    for name, given in table.items():
        origin = f"{file}: [{SECTION}.{name}]"
        if not isinstance(given, dict):
            raise ConfigError(f"{file}: [{SECTION}] {name}: must be a table", hint=hint)
        try:
            sink_name(name)
        except ValueError as exc:
            raise ConfigError(f"{origin}: {exc}") from None
        settings = dict(given)
        kind = settings.pop("type", None)
        if not isinstance(kind, str) or not kind:
            raise ConfigError(f"{origin} type: must name a type of sink", hint='type = "file"')
        for setting, value in settings.items():
            _check_value(value, f"{origin} {setting}")
        found.append(SinkConfig(name=name, type=kind, settings=settings, origin=origin))
    return found


def _check_value(value: object, where: str) -> None:
    """Refuse what no setting can be: a date, or a list in a list. Which takes what is not known.

    Raises:
        ConfigError: It is such a thing, or a table has one; names where.
    """
    if isinstance(value, dict):
        for name, each in value.items():
            _check_value(each, f"{where}.{name}")
        return
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):
        raise ConfigError(f"{where}: must be text, a number, true or false, or a list of these")


def _tell_apart(sinks: Iterable[str]) -> None:
    """Refuse names that would share their variables."""
    seen: dict[str, str] = {}
    for name in sinks:
        prefix = sink_variable(name, "")
        other = seen.setdefault(prefix, name)
        if other != name:
            raise ConfigError(
                f"sinks {other} and {name}: both have variables {prefix}...",
                hint="call one of them something else",
            )
