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
from repltap.secret_files import read_password, read_passwords
from repltap.sink_config import SECTION as SINK_SECTION
from repltap.sink_config import SinkConfig, read_sinks
from repltap.user_config import SECTION as USER_SECTION
from repltap.user_config import UserConfig, read_users
from repltap.values import UpstreamUrl


@dataclass(frozen=True, slots=True)
class Given:
    """What was configured.

    Attributes:
        values: What counts, by `Option.key`.
        layers: The same of each source, the strongest first.
        sinks: By name.
        users: Those that are declared, by name.
        file: Where the last layer is from, if it is a file's.
    """

    values: Mapping[str, Any]  # Any: as the options parse
    layers: tuple[Mapping[str, object], ...]
    sinks: tuple[SinkConfig, ...]
    users: tuple[UserConfig, ...] = ()
    file: Path | None = None

    def password(self, section: str, name: str = "password") -> str | None:
        """Take the password from the first source that gives one, however that source gives it.

        Raises:
            ConfigError: It is given more than once there, or its file can't be read.
        """
        found = self._first(section, name)
        if found is None:
            return None
        word, file, _ = found
        return word if file is None else read_password(file, f"{section}: {name}_file")

    def passwords(self, section: str, name: str = "password") -> tuple[str, ...]:
        """Take them likewise, where a file may hold several of which any will do."""
        found = self._first(section, name)
        if found is None:
            return ()
        word, file, _ = found
        return (word,) if file is None else read_passwords(file, f"{section}: {name}_file")

    def password_place(self, section: str) -> str:
        """Say where the password is given, for who has to change it; "" for nowhere."""
        found = self._first(section, "password")
        return "" if found is None else found[2]

    def _first(self, section: str, name: str) -> tuple[str, Path | None, str] | None:
        """Find the password, or the file with it, and where that is said."""
        for at, layer in enumerate(self.layers):
            given: list[tuple[str, Path | None, str]] = []
            if isinstance(word := layer.get(f"{section}_{name}"), str):
                given.append((word, None, self._place(at, section, name)))
            if isinstance(file := layer.get(f"{section}_{name}_file"), Path):
                given.append(("", file, f"the file {file}"))
            url = layer.get(section)
            if name == "password" and isinstance(url, UpstreamUrl) and url.password is not None:
                given.append((url.password, None, self._place(at, section, "url")))
            if len(given) > 1:
                raise ConfigError(f"{section}: the {name} is given more than once")
            if given:
                return given[0]
        return None

    def _place(self, layer: int, section: str, name: str) -> str:
        wanted = f"{section}_{name}"  # "upstream_sentinel" is a part of section "upstream"
        option = next(each for each in OPTIONS if f"{each.section}_{each.name}" == wanted)
        return (option.flag, option.variable, f"{self.file}: [{section}] {name}")[layer]


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
    table = users = None
    if file is not None:
        tree = _parsed(file)
        table, users = tree.pop(SINK_SECTION, None), tree.pop(USER_SECTION, None)
        layers.append(_from_tree(tree, file))
    specs = [str(spec) for spec in cast("Iterable[object]", flags.get("sink") or ())]
    sinks = read_sinks(specs, environ, table, file)
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values.update(layer)
    return Given(values, tuple(layers), sinks, read_users(users, file), file)


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
        said = str(exc)
    except RecursionError:
        said = "something is nested a thousand times"
    # Not inside the handler: a UnicodeDecodeError holds the whole file, passwords included.
    raise ConfigError(f"{file}: not a TOML file: {said}")


def _from_tree(tree: Mapping[str, object], file: Path) -> dict[str, object]:
    by_place = {(option.section, option.name): option for option in OPTIONS}
    found: dict[str, object] = {}
    for section, table in tree.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{file}: [{section}]: no such section",
                hint=_near(section, (*SECTIONS, SINK_SECTION, USER_SECTION)),
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
