import json
from pathlib import Path
from typing import Any

import pytest

from repltap.rdb._hot.source import Limits
from repltap.rdb.write_json import JsonWriter
from tests.rdb.build import items, key, rdb, string, strings

FIXTURES = sorted((Path(__file__).parent / "data").glob("full-*.rdb"))


def lines(data: bytes, **options: Any) -> list[dict[str, Any]]:
    writer = JsonWriter()
    return [
        json.loads(line)
        for item in items(data, **options)
        for line in writer.write(item).split(b"\n")
        if line
    ]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_files_of_real_servers(path: Path) -> None:
    first, *found, end = lines(path.read_bytes())
    assert first["kind"] == "snapshot_begin"
    assert end == {"v": 1, "kind": "snapshot_end", "size_bytes": path.stat().st_size}
    keys = {one["keys"][0]: one for one in found if "keys" in one}
    assert keys["t"] == {
        "v": 1, "kind": "snapshot", "db": 3, "keys": ["t"], "type": "string", "value": "v",
        "expire_at_ms": 4_000_000_000_000,
    }  # fmt: skip
    assert keys["zz"]["value"] == [["lo", "-inf"], ["m", 1.5]]
    assert keys["h"]["value"] == {"f": "v", "g": "2"}
    assert keys["l"]["value"] == ["a", "1", "x" * 70]
    if "hx" in keys:
        assert keys["hx"]["value"] == {"f": "v", "g": "w"}
        assert keys["hx"]["field_expire_at_ms"] == {"f": 4_000_000_000_000}
    entries, summary, group = [one["value"] for one in found if one.get("keys") == ["st"]][:3]
    assert entries == {
        "entries": [{"id": "1-1", "fields": ["a", "b"]}, {"id": "2-0", "fields": ["a", "c"]}]
    }
    assert (summary["summary"]["length"], summary["summary"]["last_id"]) == (2, "2-0")
    assert [one["id"] for one in group["group"]["pending"]] == ["1-1"]
    assert [(one["name"], one["pending"]) for one in group["group"]["consumers"]] == [
        ("c1", ["1-1"])
    ]


def test_base64_is_for_the_whole_record() -> None:
    body = key(0, b"k\xff", string(b"v")) + key(4, b"h", b"\x01" + strings(b"f", b"\xff"))
    # The same through the quick way, which needs more behind it.
    for data in (rdb(body), rdb(body + key(0, b"long", string(b"x" * 60_000)))):
        text, hashed = lines(data)[1:3]
        assert (text["keys"], text["value"], text["enc"]) == (["a/8="], "dg==", "base64")
        assert (hashed["keys"], hashed["value"], hashed["enc"]) == (
            ["aA=="],
            {"Zg==": "/w=="},
            "base64",
        )


def test_parts_and_attributes() -> None:
    body = (
        b"\xf8\x09"
        + key(1, b"l", b"\x02" + strings(b"x", b"y"))
        + b"\xf9\x07"
        + key(0, b"k", b"\xc0\x05")
    )
    one, other, text = lines(rdb(body), limits=Limits(part_items=1))[1:4]
    assert (one["value"], one["part"]) == (["x"], {"index": 0, "last": False})
    assert (other["value"], other["part"]) == (["y"], {"index": 1, "last": True})
    assert (one["idle_seconds"], text["frequency"], text["value"]) == (9, 7, "5")
    assert "part" not in text


def test_what_is_no_key() -> None:
    module_id = (5 << 10 | 1).to_bytes(8, "big")
    body = (
        b"\xfa" + strings(b"redis-ver", b"7.0") + b"\xf7\x81" + module_id + b"\x02\x01\x00"
        + b"\xf5" + string(b"#!lua") + b"\xfe\x00\xfb\x01\x00\xf4\x01\x01\x00"
        + key(7, b"m", b"\x81" + module_id + b"\x00")
    )  # fmt: skip
    aux, module_aux, library, module = lines(rdb(body))[1:-1]
    assert (aux["type"], aux["name"], aux["value"]) == ("aux", "redis-ver", "7.0")
    assert (library["type"], library["value"]) == ("function", "#!lua")
    assert module_aux["type"] == "module_aux"
    assert module["value"] == {"module": "AAAAAAAAF", "encoding_version": 1, "size_bytes": 10}
    body = b"\xf3" + string(b"j") + b"\x01\x05\x07"
    assert lines(rdb(body, b"VALKEY080"))[1]["value"] == ["j", [[5, 7]]]


def test_idempotency() -> None:
    stream = b"\x00\x00\x01\x00\x01\x00\x00\x00\x01\x00\x05\x06\x01\x01p\x01\x01i\x09\x01\x02\x03"
    found = lines(rdb(key(26, b"st", stream), b"REDIS0013"))
    assert found[2]["value"]["idempotency"]["producers"] == {"p": [["i", "9-1"]]}
