"""The JSON form."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery._hot.json_lines import JsonLines
from tests.delivery.wire import COMMANDS, EXEC, MULTI, TIME_MS, records_of
from tests.stored import OTHER, REPLID, SET, command


def lines(raw: bytes) -> list[dict[str, object]]:
    text = JsonLines().write(records_of(raw))
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_line() -> None:
    assert lines(command(b"mset", "ключ".encode(), b'"\\\n', b"b", b"2")) == [
        {
            "v": 1,
            "id": f"{REPLID}:1051",
            "kind": "command",
            "source": "master",
            "replid": REPLID,
            "offset_start": 1000,
            "offset_end": 1051,
            "db": 0,
            "cmd": "MSET",
            "args": ["ключ", '"\\\n', "b", "2"],
            "keys": ["ключ", "b"],
            "ts_ms": TIME_MS,
        }
    ]


def test_what_is_not_known_is_absent() -> None:
    (line,) = lines(command(b"SELECT", b"x") + SET)
    assert "db" not in line
    for db in (1, 63, 64, 1234):
        (line,) = lines(command(b"SELECT", b"%d" % db) + SET)
        assert line["db"] == db


def test_a_value_that_is_no_text_turns_all_into_base64() -> None:
    (line,) = lines(command(b"SET", b"k", b"\xff"))
    assert line["enc"] == "base64"
    assert line["args"] == ["aw==", "/w=="]
    assert line["keys"] == ["aw=="]
    assert line["cmd"] == "SET"


def test_transactions_and_what_was_changed() -> None:
    first, last = lines(MULTI + SET + SET + EXEC)
    assert first["tx"] == {"id": 1000, "index": 0, "last": False}
    assert last["tx"] == {"id": 1000, "index": 1, "last": True}
    (record,) = records_of(SET)
    line = json.loads(JsonLines().write([record._replace(size=99, redacted=True)]))
    assert (line["truncated"], line["size"], line["redacted"]) == (True, 99, True)


def test_names_and_sources_are_escaped() -> None:
    (record,) = records_of(command(b'"\x01', b"a"))
    named = record._replace(source='a "b"')
    written = JsonLines().write([named, named._replace(replid=OTHER), record])
    first, second, third = (json.loads(line) for line in written.splitlines())
    assert (first["source"], first["cmd"]) == ('a "b"', '"\x01')
    assert (second["replid"], second["id"]) == (OTHER, f"{OTHER}:{record.offset_end}")
    assert (third["source"], third["replid"]) == ("master", REPLID)


def test_names_take_bounded_memory() -> None:
    writer = JsonLines()
    for n in range(3000):
        writer.write(records_of(command(b"X%d" % n)))
    assert len(records_of(SET)) == len(writer.write(records_of(SET)).splitlines())


@given(st.lists(COMMANDS, max_size=5))
def test_nothing_is_lost_in_it(commands: list[list[bytes]]) -> None:
    written = lines(b"".join(command(*words) for words in commands))
    for line, words in zip(written, commands, strict=True):
        args = line["args"]
        assert isinstance(args, list)
        if line.get("enc") == "base64":
            assert [base64.b64decode(arg) for arg in args] == words[1:]
        else:
            assert [arg.encode() for arg in args] == words[1:]
