import io
import json
import sys
from pathlib import Path

import pytest

from repltap.cli.main import main
from tests.rdb.build import key, rdb, string, strings

DATA = Path(__file__).parent.parent / "rdb" / "data"
SECOND = DATA / "full-r82.rdb"

Captured = pytest.CaptureFixture[bytes]


def test_json(capfdbinary: Captured) -> None:
    assert main(["snapshot", "cat", str(SECOND), "--key", "h*", "--db", "3", "--type", "hash"]) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["keys"] for line in lines if "keys" in line] == [["hx"], ["hy"], ["h"]]
    assert main(["snapshot", "cat", str(SECOND), "--db", "0", "--format", "keys"]) == 0
    assert capfdbinary.readouterr().out == b""


def test_keys(capfdbinary: Captured) -> None:
    assert main(["snapshot", "cat", str(SECOND), "--format", "keys"]) == 0
    names = capfdbinary.readouterr().out.split()
    assert sorted(names) == [
        b"h",
        b"hx",
        b"hy",
        b"k",
        b"l",
        b"n",
        b"si",
        b"ss",
        b"st",
        b"t",
        b"z",
        b"zz",
    ]


def test_who_asks_for_keys_gets_keys(capfdbinary: Captured) -> None:
    for form, rest in (("json", [b"snapshot_begin", b"snapshot_end"]), ("resp", [])):
        words = ["snapshot", "cat", str(SECOND), "--format", form]
        assert main(words) == 0
        assert b"#!lua" in capfdbinary.readouterr().out
        assert main([*words, "--key", "nothing"]) == 0
        found = capfdbinary.readouterr().out
        if form == "json":
            assert [json.loads(line)["kind"].encode() for line in found.splitlines()] == rest
        else:
            assert found.count(b"*") == found.count(b"*2\r\n$6\r\nSELECT\r\n")
    old = ["--format", "resp", "--target", "redis-6.2", "--type", "list"]
    assert main(["snapshot", "cat", str(SECOND), *old]) == 0  # no function to refuse
    assert b"$5\r\nRPUSH\r\n" in capfdbinary.readouterr().out


def test_names_are_lines(tmp_path: Path, capfdbinary: Captured) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(rdb(b"".join(key(0, name, string(b"")) for name in (b"a b", b"c\nd", b""))))
    assert main(["snapshot", "cat", str(path), "--format", "keys"]) == 0
    assert capfdbinary.readouterr().out == b'a b\n"c\\nd"\n""\n'


def test_without_a_file(capfdbinary: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPLTAP_DATA_DIR", raising=False)
    assert main(["snapshot", "cat"]) == 2
    assert b"name an RDB file, - for stdin, or" in capfdbinary.readouterr().err


def test_commands(capfdbinary: Captured) -> None:
    assert main(["snapshot", "cat", str(SECOND), "--format", "resp"]) == 0
    found = capfdbinary.readouterr()
    assert b"$10\r\nHPEXPIREAT\r\n" in found.out
    assert found.err == b""
    assert main(["snapshot", "cat", str(SECOND), "--format", "restore"]) == 0
    assert capfdbinary.readouterr().out.count(b"$7\r\nRESTORE\r\n") == 12


def test_a_target_that_lacks_a_command(capfdbinary: Captured) -> None:
    words = ["snapshot", "cat", str(SECOND), "--format", "resp", "--target"]
    assert main([*words, "redis-6.2"]) == 1
    assert b"redis-6.2 does not know functions" in capfdbinary.readouterr().err
    assert main([*words, "dbase-3"]) == 2
    assert main(["snapshot", "cat", str(SECOND), "--target", "redis-7.0"]) == 2


def test_stdin_and_what_is_left_out(
    tmp_path: Path, capfdbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rdb(b"\xf3\x01abcd\x00" + key(0, b"k", string(b"v"))) + b"*1\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["snapshot", "cat", "-", "--format", "resp"]) == 0
    found = capfdbinary.readouterr()
    assert b"$1\r\nk\r\n" in found.out
    assert b"left out: metadata of modules on keys (1)" in found.err
    assert b"left out: bytes behind the end" in found.err


def test_damage_comes_after_what_is_right(tmp_path: Path, capfdbinary: Captured) -> None:
    path = tmp_path / "dump.rdb"
    body = key(0, b"good", string(b"v")) + key(16, b"bad", strings(b"junk"))
    path.write_bytes(rdb(body))
    assert main(["snapshot", "cat", str(path)]) == 5
    found = capfdbinary.readouterr()
    assert b'"keys":["good"]' in found.out
    message = f"repltap: error: {path}: at byte 22 of key b'bad': a listpack, at byte 0 of it: "
    assert found.err.decode().startswith(message)


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "cat", "--help"]) == 0
    assert "repltap snapshot cat dump.rdb" in capsys.readouterr().out
