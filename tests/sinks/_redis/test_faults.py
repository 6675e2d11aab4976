"""What errors of a target mean."""

from __future__ import annotations

import pytest

from repltap.sink import SinkErrorKind
from sinks._redis.faults import meaning, refused, shown


@pytest.mark.parametrize(
    ("text", "kind", "passes"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", SinkErrorKind.FULL, True),
        ("MISCONF Redis is configured to save RDB snapshots, but", SinkErrorKind.FULL, True),
        ("READONLY You can't write against a read only replica.", SinkErrorKind.AWAY, True),
        ("LOADING Redis is loading the dataset in memory", SinkErrorKind.AWAY, True),
        ("MASTERDOWN Link with MASTER is down", SinkErrorKind.AWAY, True),
        ("ERR max number of clients reached", SinkErrorKind.AWAY, True),
        ("NOAUTH Authentication required.", SinkErrorKind.REFUSED, False),
        ("WRONGPASS invalid username-password pair", SinkErrorKind.REFUSED, False),
        ("NOPERM this user has no permissions to run", SinkErrorKind.REFUSED, False),
        ("MOVED 3999 127.0.0.1:6381", SinkErrorKind.UNSUPPORTED, False),
        ("ERR unknown command 'HSETEX', with args", SinkErrorKind.UNSUPPORTED, False),
        ("ERR Unknown subcommand or wrong number of", SinkErrorKind.UNSUPPORTED, False),
        ("ERR DUMP payload version or checksum are wrong", SinkErrorKind.UNSUPPORTED, False),
        ("ERR no such key", SinkErrorKind.OTHER, False),
    ],
)
def test_kinds(text: str, kind: SinkErrorKind, passes: bool) -> None:
    assert meaning(text)[:2] == (kind, passes)
    assert meaning(f"EXECABORT Transaction discarded because of: {text}")[:2] == (kind, passes)


@pytest.mark.parametrize(
    "text",
    [
        "ERR unknown command 'SETX', with args beginning with: 'key' 'hunter2' ",
        "ERR unknown command `SETX`, with args beginning with: `key`, `hunter2`, ",
        "ERR no such thing as 'hunter2' in 'SETX'",
        'ERR no such thing as "hunter2"',
    ],
)
def test_no_value_is_shown(text: str) -> None:
    error = str(refused("host:1", text, "SETX", what=" at offset 7"))
    assert "hunter2" not in error
    assert error.startswith("host:1 refuses SETX at offset 7: ERR ")


def test_the_name_of_the_command_is_shown() -> None:
    text = "ERR wrong number of arguments for 'get' command"
    assert shown(text, "GET") == text
    assert "get" not in shown(text, "SET")
