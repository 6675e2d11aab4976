"""How one command is printed."""

import base64
import json

from repltap.cli.command_text import as_json, as_line
from repltap.delivery.listing import StoredCommand
from repltap.position import Offset

TIME = 1_700_000_000_123_456_789


def stored(*args: bytes, db: int | None = 0) -> StoredCommand:
    return StoredCommand(Offset(1000), Offset(1027), db, list(args), TIME)


def test_lines() -> None:
    line = as_line(stored(b"set", b"k", b"\xff"))
    assert line == b'1700000000.123456 [0 1000-1027] "set" "k" "\\xff"\n'
    assert as_line(stored(b"PING", db=None)) == b'1700000000.123456 [- 1000-1027] "PING"\n'


def test_json() -> None:
    assert json.loads(as_json(stored(b"set", b"k", "ä".encode(), db=3))) == {
        "offset_start": 1000,
        "offset_end": 1027,
        "db": 3,
        "cmd": "SET",
        "args": ["k", "ä"],
        "ts_ms": TIME // 10**6,
    }


def test_json_of_bytes_and_of_an_unknown_database() -> None:
    document = json.loads(as_json(stored(b"SET", b"k", b"\xff", db=None)))
    assert "db" not in document
    assert document["enc"] == "base64"
    assert [base64.b64decode(arg) for arg in document["args"]] == [b"k", b"\xff"]
