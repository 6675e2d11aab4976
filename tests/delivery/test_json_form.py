"""Records of every kind as JSON lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from repltap.delivery.json_form import JsonForm
from repltap.rdb.entries import (
    Fields,
    Members,
    ModuleValue,
    Scores,
    StreamConsumer,
    StreamEntries,
    StreamGroup,
    StreamSummary,
)
from repltap.sink import AnyRecord, Kind, Notice
from tests.delivery.snapshots import OFFSET, key, library
from tests.delivery.wire import TIME_MS, records_of
from tests.stored import REPLID, command

HEAD = {
    "v": 1,
    "id": f"{REPLID}:{OFFSET}:0",
    "kind": "snapshot",
    "source": "master",
    "replid": REPLID,
    "offset_start": OFFSET,
    "offset_end": OFFSET,
}


def line(record: AnyRecord) -> dict[str, Any]:
    (one,) = JsonForm().write([record]).splitlines(keepends=True)
    assert one.endswith(b"}\n")
    return dict(json.loads(one))


@pytest.mark.parametrize(
    ("kind", "value", "fields"),
    [
        ("string", b"v", {"value": "v"}),
        ("list", Members([b"a", b"b"]), {"value": ["a", "b"]}),
        ("set", Members([b"a"]), {"value": ["a"]}),
        (
            "zset",
            Scores([(b"m", 1.5), (b"n", float("-inf"))]),
            {"value": [["m", 1.5], ["n", "-inf"]]},
        ),
        (
            "hash",
            Fields([(b"f", b"v", None), (b"g", b"w", 7)]),
            {"value": {"f": "v", "g": "w"}, "field_expire_at_ms": {"g": 7}},
        ),
        (
            "stream",
            StreamEntries([((1, 2), [b"f", b"v"])]),
            {"value": {"entries": [{"id": "1-2", "fields": ["f", "v"]}]}},
        ),
        (
            "stream",
            StreamSummary(1, (1, 2), (1, 2), (0, 0), 1, 1),
            {
                "value": {
                    "summary": {
                        "length": 1,
                        "last_id": "1-2",
                        "first_id": "1-2",
                        "max_deleted_id": "0-0",
                        "entries_added": 1,
                    }
                }
            },
        ),
        (
            "stream",
            StreamGroup(b"g", (1, 2), 1, {(1, 2): (9, 1)}, [StreamConsumer(b"c", 8, 9, [(1, 2)])]),
            {
                "value": {
                    "group": {
                        "name": "g",
                        "last_id": "1-2",
                        "entries_read": 1,
                        "pending": [{"id": "1-2", "delivered_at_ms": 9, "deliveries": 1}],
                        "consumers": [
                            {"name": "c", "seen_at_ms": 8, "active_at_ms": 9, "pending": ["1-2"]}
                        ],
                    }
                }
            },
        ),
        (
            "module",
            ModuleValue("ReJSON-RL", 3, 10),
            {"value": {"module": "ReJSON-RL", "encoding_version": 3, "size_bytes": 10}},
        ),
    ],
)
def test_values(kind: str, value: object, fields: dict[str, object]) -> None:
    expected = {**HEAD, "db": 0, "keys": ["k"], "type": kind, "ts_ms": TIME_MS, **fields}
    assert line(key(value, kind)) == expected
    binary = line(key(value, kind, name=b"\xff"))
    assert (binary["enc"], binary["keys"]) == ("base64", ["/w=="])


def test_a_string_is_the_same_either_way() -> None:
    """The quick way of most strings, and the one of those that something is said about."""
    for value in (b"v", b"\xff", b'"\\\n\0', "ключ".encode(), b""):
        for expire in (None, 17):
            quick = line(key(value, expire_at_ms=expire, name=b"k\n"))
            other = line(key(value, expire_at_ms=expire, name=b"k\n", idle_seconds=3))
            assert other.pop("idle_seconds") == 3
            assert quick == other
            assert list(quick)[:8] == list(other)[:8]


def test_a_library() -> None:
    made = line(library(b"#!lua name=x\n"))
    assert made == {**HEAD, "type": "function", "value": "#!lua name=x\n", "ts_ms": TIME_MS}


def test_attributes() -> None:
    made = line(
        key(b"v", expire_at_ms=9, frequency=4, part=2, last=False)._replace(size=100, redacted=True)
    )
    assert made["part"] == {"index": 2, "last": False}
    assert (made["truncated"], made["size"], made["redacted"]) == (True, 100, True)
    assert (made["expire_at_ms"], made["frequency"]) == (9, 4)
    gone = line(key(None)._replace(entry=(), redacted=True, part=3))
    assert "value" not in gone
    assert gone["part"] == {"index": 3, "last": True}


def test_notices() -> None:
    notice = Notice(Kind.HISTORY, "the id", "m", REPLID, 5, 9, 12, {"reason": "failover", "n": 1})
    expected = {
        "v": 1,
        "id": "the id",
        "kind": "history",
        "source": "m",
        "replid": REPLID,
        "offset_start": 5,
        "offset_end": 9,
        "ts_ms": 12,
        "details": {"reason": "failover", "n": 1},
    }
    assert line(notice) == expected
    del expected["details"]
    assert line(notice._replace(details={})) == expected


def test_commands() -> None:
    raw = command(b"SET", b"k", b"v") + command(b"DEL", b"k")
    records = records_of(raw)
    form = JsonForm()
    written = form.write(records)
    assert [json.loads(one)["cmd"] for one in written.splitlines()] == ["SET", "DEL"]
    assert form.write(tuple(records)) == written
    assert form.write([]) == b""
