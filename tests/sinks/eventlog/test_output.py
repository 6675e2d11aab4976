"""How records are printed."""

import json

from sinks.eventlog.batch import LogRecord, headers_of
from sinks.eventlog.output import as_json, as_text, as_value

HEADERS = headers_of([(b"id", b"x:5"), (b"kind", b"command")])
RECORD = LogRecord(7, 1738324800123, b"0:k", b'{"v":1}', HEADERS)


def test_values() -> None:
    assert as_value(0, RECORD) == b'{"v":1}\n'
    assert as_value(0, RECORD._replace(value=b"*1\r\n$4\r\nPING\r\n")) == b"*1\r\n$4\r\nPING\r\n"
    assert as_value(0, RECORD._replace(value=b"")) == b""


def test_json() -> None:
    document = {
        "partition": 2,
        "offset": 7,
        "ts_ms": 1738324800123,
        "headers": {"id": "x:5", "kind": "command"},
        "key": "0:k",
        "value": '{"v":1}',
    }
    assert json.loads(as_json(2, RECORD)) == document
    assert json.loads(as_json(2, RECORD._replace(key=None)))["key"] is None
    binary = json.loads(as_json(2, RECORD._replace(key=b"0:\xff")))
    assert (binary["key"], binary["value"], binary["enc"]) == ("MDr/", "eyJ2IjoxfQ==", "base64")


def test_text() -> None:
    line = as_text(2, RECORD).decode()
    assert line.startswith("2:7 2025-")
    assert ".123" in line
    assert line.endswith(""" '0:k' id=x:5 kind=command {"v":1}\n""")
    other = RECORD._replace(key=None, value=b"*1\r\n$1\r\n\xff\r\n")
    line = as_text(2, other).decode()
    assert " - id=x:5 " in line
    assert line.count("\n") == 1
