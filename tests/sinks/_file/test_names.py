"""Templates, the names made of them, and what a name tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from sinks._file.names import Names, template

TIME_MS = 1_738_324_800_000


def names(name: str, *, rotated: bool = True, compression: str = "none") -> Names:
    return Names.of(template(name).name, sink="s", compression=compression, rotated=rotated)


@pytest.mark.parametrize(
    ("name", "compression", "rotated", "expected"),
    [
        ("audit.jsonl", "none", False, "audit.jsonl"),
        ("audit.jsonl", "zstd", False, "audit.jsonl.zst"),
        ("audit.jsonl.gz", "gzip", False, "audit.jsonl.gz"),
        ("audit.jsonl", "none", True, "audit-00000007-20250131T120000Z.jsonl"),
        ("audit.jsonl.gz", "gzip", True, "audit-00000007-20250131T120000Z.jsonl.gz"),
        ("audit", "none", True, "audit-00000007-20250131T120000Z"),
        (".audit", "none", True, ".audit-00000007-20250131T120000Z"),
        ("a.b.log", "none", True, "a.b-00000007-20250131T120000Z.log"),
        ("{sequence}.log", "none", True, "00000007.log"),
        ("a-{offset}.log", "none", True, "a-1234-00000007.log"),
        ("a.{time}", "none", True, "a.20250131T120000Z-00000007"),
        ("a-{time}", "none", False, "a-20250131T120000Z-00000007"),
        ("a{b}.log", "none", True, None),
    ],
)
def test_names(name: str, compression: str, rotated: bool, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError):
            template(name)
        return
    made = names(name, compression=compression, rotated=rotated)
    assert made.name(7, 1234, TIME_MS) == expected
    number = 7 if made.numbered else 0
    for suffix in ("", ".part", ".s.new"):
        assert made.sequence_of(expected + suffix) == number
    for other in (f"x{expected}", f"{expected}x", f"{expected}.other.new", f"{expected}.s.new.x"):
        assert made.sequence_of(other) is None


def test_they_sort_in_the_order_to_read_them() -> None:
    made = names("a.log")
    written = [made.name(number, 10**19 - number, TIME_MS) for number in range(1, 200)]
    assert sorted(written) == written


@pytest.mark.parametrize("raw", ["", "a/", "/", "d-{time}/a", "a-{date}", "{time}{time}", 3])
def test_what_is_no_template(raw: object) -> None:
    with pytest.raises(ValueError):
        template(raw)


def test_what_is_one() -> None:
    assert template("~/a-{sequence}.log") == Path.home() / "a-{sequence}.log"
    assert template("a{}b").name == "a{}b"
