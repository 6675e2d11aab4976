"""Files that hold a password, or several of which any will do."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from repltap.errors import ConfigError

MAX_PASSWORDS = 4
"""Of one user: the old and the new while they are rotated, and room for a change of mind."""

_MAX_FILE_BYTES = 16 << 10
"""A password is far shorter; a file that is longer is another one, named by mistake."""

_WAIT_SECONDS = 5.0
"""For who writes to a pipe, as in `--http-token-file <(pass show relay)`; a file never waits."""


def read_password(file: Path, option: str = "") -> str:
    """Read a file that holds a password.

    Args:
        file: A regular file, or a pipe that somebody writes to: that is waited for, but not long.
        option: That names the file, for errors; "" where the file alone says enough.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    where = f"{option} {file}".lstrip()
    words = _lines(file, where)
    if len(words) != 1 or not words[0]:
        raise ConfigError(f"{where}: must hold the password on one line, and nothing else")
    return words[0]


def read_passwords(file: Path, option: str = "") -> tuple[str, ...]:
    """Read a file that holds passwords, one on a line.

    Args:
        file: As for `read_password`.
        option: Likewise.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    where = f"{option} {file}".lstrip()
    words = _lines(file, where)
    if not all(words) or len(words) > MAX_PASSWORDS:
        raise ConfigError(
            f"{where}: must hold a password on each line, at most {MAX_PASSWORDS}, and nothing else"
        )
    return tuple(words)


def check_tokens(tokens: Iterable[str], where: str) -> None:
    """Refuse what no client could send as `Authorization: Bearer TOKEN`.

    RFC 9110, 5.5: a field's value has no CR, LF or NUL, and begins and ends without whitespace.

    Raises:
        ConfigError: It is such a token, which is not shown; `where` says from where.
    """
    for token in tokens:
        if token != token.strip() or any(each < " " or each == "\x7f" for each in token):
            raise ConfigError(
                f"{where}: a token begins or ends with whitespace, or has a line break or another "
                "control character in it: no client can send that",
                hint="openssl rand -hex 32 makes one",
            )


def read_bounded(file: Path, limit: int, where: str) -> bytes:
    """Read a small file; what is no file, such as a pipe, can't hold up the start.

    Args:
        file: Which.
        limit: Bytes to read at most.
        where: For errors: the option and the file.

    Raises:
        ConfigError: Nobody writes to the pipe, or not to its end in time.
        OSError: It can't be read.
    """
    # Without O_NONBLOCK, opening a FIFO waits for one who writes to it.
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            with os.fdopen(fd, "rb", closefd=False) as opened:
                return opened.read(limit)
        return _read_pipe(fd, limit, where)
    finally:
        os.close(fd)


def _read_pipe(fd: int, limit: int, where: str) -> bytes:
    fifo = stat.S_ISFIFO(os.fstat(fd).st_mode)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + _WAIT_SECONDS
    raw, hung_up = b"", False
    while len(raw) < limit:
        try:
            data: bytes | None = os.read(fd, limit - len(raw))
        except BlockingIOError:
            data = None
        if data:
            raw += data
            continue
        # A FIFO that nobody has opened yet reads as one at its end.
        if data == b"" and (raw or hung_up or not fifo):
            break
        left = deadline - time.monotonic()
        events = poll.poll(left * 1000) if left > 0 else []
        if not events:
            raise ConfigError(
                f"{where} is no file, and nobody wrote to it, to its end, in {_WAIT_SECONDS:g} s",
                hint="name a regular file, or a pipe that somebody writes to and closes",
            )
        hung_up = bool(events[0][1] & select.POLLHUP)
    return raw


def _lines(file: Path, where: str) -> list[str]:
    try:
        raw = read_bounded(file, _MAX_FILE_BYTES + 1, where)
    except OSError as exc:
        raise ConfigError(f"{where}: password file can't be read: {exc.strerror}") from exc
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{where}: too long for a password file")
    try:
        text: str | None = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        # Not inside the handler: the UnicodeDecodeError holds the bytes.
        raise ConfigError(f"{where}: password file is not UTF-8 text")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
