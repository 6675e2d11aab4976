"""The named users of the port, from the TOML file and the environment.

    [user.NAME]
    rights = ["replicate"]              of replicate, status, administer
    password_file = "/run/secrets/x"    or password, or REPLTAP_USER_NAME_PASSWORD[_FILE]

Users are declared in the file; variables only give the passwords of those that are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repltap.access import DEFAULT_USER, Right, User, digest
from repltap.errors import ConfigError
from repltap.options import ENVIRONMENT_PREFIX
from repltap.secret_files import read_passwords
from repltap.values import path, secret

SECTION = "user"
MAX_USERS = 64
"""They tell people and programs apart, not single replicas; each login looks through them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FIELDS = ("rights", "password", "password_file")
_HINT = f'write [{SECTION}.NAME] and rights = ["replicate"] below it'
_RIGHTS = ", ".join(right.value for right in Right)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """A user as it was declared; its password has not been looked for.

    Attributes:
        name: Letters, digits, `_` and `-`, at most 64.
        rights: At least one.
        password, password_file: What the file says.
        origin: Where it was declared, for errors.
    """

    name: str
    rights: frozenset[Right]
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    origin: str

    @property
    def variable(self) -> str:
        """The variable with its password; with `_FILE` behind it, that with the file's name."""
        return password_variable(self.name)

    def log_in_with(self, environ: Mapping[str, str]) -> User:
        """Find its passwords: a variable goes before the file.

        Raises:
            ConfigError: There is none, there are two, or a file can't be read.
        """
        word = environ.get(self.variable) or None
        named = environ.get(f"{self.variable}_FILE") or None
        place = self.variable
        file = path(named) if named else None
        if word is None and file is None:
            word, file, place = self.password, self.password_file, self.origin
        if word is not None and file is not None:
            raise ConfigError(f"{place}: the password is given more than once")
        if word is None and file is None:
            raise ConfigError(
                f"{self.origin}: the user has no password",
                hint=f"give password_file, or {self.variable}",
            )
        option = f"user {self.name}: password_file"
        words = (word,) if word is not None else read_passwords(file, option) if file else ()
        return User(self.name, self.rights, tuple(map(digest, words)))


def password_variable(name: str) -> str:
    """Tell which environment variable has the password of a user."""
    return f"{ENVIRONMENT_PREFIX}USER_{name}_PASSWORD".upper().replace("-", "_")


def read_users(table: object, file: Path | None) -> tuple[UserConfig, ...]:
    """Find out which users are declared.

    Args:
        table: What the file has under `user`, None for nothing.
        file: Its name, for errors.

    Returns:
        The users, in the order of their names.

    Raises:
        ConfigError: A table is none, or two users can't be told apart in variables.
    """
    if table is None:
        return ()
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {SECTION}: must be a table", hint=_HINT)
    if len(table) > MAX_USERS:
        raise ConfigError(f"{file}: {len(table)} users: at most {MAX_USERS} can be")
    found = [_user(name, table[name], file) for name in sorted(table)]
    seen: dict[str, str] = {}
    for user in found:
        other = seen.setdefault(user.variable, user.name)
        if other != user.name:
            raise ConfigError(
                f"{file}: users {other} and {user.name}: both have the variable {user.variable}",
                hint="call one of them something else",
            )
    return tuple(found)


def _user(name: str, given: object, file: Path | None) -> UserConfig:
    origin = f"{file}: [{SECTION}.{name}]"
    if not isinstance(given, dict):
        raise ConfigError(f"{file}: [{SECTION}] {name}: must be a table", hint=_HINT)
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{origin}: no name for a user: letters, digits, _ and -, at most 64 of them, "
            "beginning with a letter or digit"
        )
    if name == DEFAULT_USER:
        raise ConfigError(
            f"{origin}: the default user is not declared",
            hint="its password is listen.password, and with it it may do everything",
        )
    for each in given:
        if each not in _FIELDS:
            raise ConfigError(
                f"{origin} {each}: no such option", hint=f"known: {', '.join(_FIELDS)}"
            )
    try:
        word = None if "password" not in given else str(secret(given["password"]))
    except ValueError as exc:
        raise ConfigError(f"{origin} password: {exc}") from None
    try:
        file_name = None if "password_file" not in given else path(given["password_file"])
    except ValueError as exc:
        raise ConfigError(f"{origin} password_file: {exc}") from None
    return UserConfig(
        name=name,
        rights=_rights(given.get("rights"), origin),
        password=word,
        password_file=file_name,
        origin=origin,
    )


def _rights(given: object, origin: str) -> frozenset[Right]:
    hint = f"of {_RIGHTS}"
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{origin} rights: must be a list with at least one right", hint=hint)
    known = {right.value: right for right in Right}
    for each in given:
        if not isinstance(each, str) or each not in known:
            raise ConfigError(f"{origin} rights: {str(each)[:40]!r} is no right", hint=hint)
    return frozenset(known[each] for each in given)
