"""Files that hold a password, or several of which any will do."""

from __future__ import annotations

from pathlib import Path

from repltap.errors import ConfigError

MAX_PASSWORDS = 4
"""Of one user: the old and the new while they are rotated, and room for a change of mind."""

_MAX_FILE_BYTES = 16 << 10
"""A password is far shorter; a file that is longer is another one, named by mistake."""


def read_password(file: Path) -> str:
    """Read a file that holds a password.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    words = _lines(file)
    if len(words) != 1 or not words[0]:
        raise ConfigError(f"{file}: must hold the password on one line, and nothing else")
    return words[0]


def read_passwords(file: Path) -> tuple[str, ...]:
    """Read a file that holds passwords, one on a line.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    words = _lines(file)
    if not all(words) or len(words) > MAX_PASSWORDS:
        raise ConfigError(
            f"{file}: must hold a password on each line, at most {MAX_PASSWORDS}, and nothing else"
        )
    return tuple(words)


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{file}: password file can't be read: {exc.strerror}") from exc
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{file}: too long for a password file")
    try:
        text: str | None = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        # Not inside the handler: the UnicodeDecodeError holds the bytes.
        raise ConfigError(f"{file}: password file is not UTF-8 text")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
