"""Where configured values come from: flags, the environment, a TOML file, password files.

Each source is read into values by `Option.key`. What they mean together is `repltap.config`'s. An
error names the flag, the variable, or the file with section and field; never a password.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from repltap.errors import ConfigError
from repltap.options import OPTIONS, SECTIONS, Option
from repltap.sink_config import SECTION as SINK_SECTION
from repltap.sink_config import SinkConfig, read_sinks
from repltap.values import UpstreamUrl


@dataclass(frozen=True, slots=True)
class Given:
    """What was configured.

    Attributes:
        values: What counts, by `Option.key`.
        layers: The same of each source, the strongest first.
        sinks: By name.
    """

    values: Mapping[str, Any]  # Any: as the options parse
    layers: tuple[Mapping[str, object], ...]
    sinks: tuple[SinkConfig, ...]

    def password(self, section: str) -> str | None:
        """Take the password from the first source that gives one, however that source gives it.

        Raises:
            ConfigError: It is given more than once there, or its file can't be read.
        """
        for layer in self.layers:
            given: list[str] = []
            if isinstance(word := layer.get(f"{section}_password"), str):
                given.append(word)
            if isinstance(file := layer.get(f"{section}_password_file"), Path):
                given.append(read_password(file))
            url = layer.get(section)
            if isinstance(url, UpstreamUrl) and url.password is not None:
                given.append(url.password)
            if len(given) > 1:
                raise ConfigError(f"{section}: the password is given more than once")
            if given:
                return given[0]
        return None


def read_sources(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> Given:
    """Read all sources.

    Args:
        flags: From the command line, by `Option.key`; None or absent means "not given". `sink` is
            what `--sink` said, each time.
        environ: The environment. Variables that are no option are ignored.
        file: A TOML file, or None.

    Raises:
        ConfigError: A value is wrong, or a file can't be read.
    """
    layers = [_from_flags(flags), _from_environment(environ)]
    table: object = None
    if file is not None:
        tree = _parsed(file)
        table = tree.pop(SINK_SECTION, None)
        layers.append(_from_tree(tree, file))
    specs = [str(spec) for spec in cast("Iterable[object]", flags.get("sink") or ())]
    sinks = read_sinks(specs, environ, table, file)
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values.update(layer)
    return Given(values, tuple(layers), sinks)


def _from_flags(flags: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for option in OPTIONS:
        raw = flags.get(option.key)
        if raw is None:
            continue
        value = _parse(option, raw, option.flag)
        if isinstance(value, UpstreamUrl) and value.password is not None:
            raise ConfigError(
                f"{option.flag}: a password on the command line is visible in the process list",
                hint="use REPLTAP_UPSTREAM_PASSWORD or --upstream-password-file",
            )
        found[option.key] = value
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        option.key: _parse(option, environ[option.variable], option.variable)
        for option in OPTIONS
        if environ.get(option.variable, "") != ""
    }


def _parsed(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{file}: can't be read: {exc.strerror}") from exc
    except ValueError as exc:  # not UTF-8, or not TOML
        raise ConfigError(f"{file}: not a TOML file: {exc}") from exc


def _from_tree(tree: Mapping[str, object], file: Path) -> dict[str, object]:
    by_place = {(option.section, option.name): option for option in OPTIONS}
    found: dict[str, object] = {}
    for section, table in tree.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{file}: [{section}]: no such section",
                hint=_near(section, (*SECTIONS, SINK_SECTION)),
            )
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {section}: must be a table", hint=f"write [{section}]")
        names = [option.name for option in OPTIONS if option.section == section]
        for name, raw in table.items():
            option = by_place.get((section, name))
            if option is None:
                raise ConfigError(
                    f"{file}: [{section}] {name}: no such option", hint=_near(name, names)
                )
            found[option.key] = _parse(option, raw, f"{file}: [{section}] {name}")
    return found


def _parse(option: Option, raw: object, origin: str) -> object:
    try:
        return option.parse(raw)
    except ValueError as exc:
        raise ConfigError(f"{origin}: {exc}") from None


def _near(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)


def read_password(file: Path) -> str:
    """Read a file that holds a password.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    try:
        word = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as exc:
        raise ConfigError(f"{file}: password file can't be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: password file is not UTF-8 text") from exc
    if not word or "\n" in word:
        raise ConfigError(f"{file}: must hold the password on one line, and nothing else")
    return word
