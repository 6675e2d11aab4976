"""Which records pass."""

from __future__ import annotations

import re

import pytest

from repltap.delivery.filters import KeyPatterns, RecordFilter, Selection, databases
from tests.delivery.wire import TABLE, records_of
from tests.stored import command

NOTHING = Selection()


def passes(
    line: str, include: Selection = NOTHING, exclude: Selection = NOTHING, db: int = 0
) -> bool:
    raw = command(b"SELECT", b"%d" % db) + command(*(word.encode() for word in line.split()))
    (record,) = records_of(raw)
    return RecordFilter(include, exclude, TABLE)(record)


def of_keys(*globs: str) -> Selection:
    return Selection(keys=KeyPatterns(globs=tuple(glob.encode() for glob in globs)))


def of_dbs(*dbs: int) -> Selection:
    return Selection(dbs=frozenset(dbs))


def of_commands(*names: str) -> Selection:
    return Selection(commands=frozenset(names))


@pytest.mark.parametrize(
    ("line", "db", "included", "excluded"),
    [
        ("SET k v", 3, True, False),
        ("SET k v", 0, False, True),
        ("MOVE k 3", 0, True, True),
        ("MOVE k 1", 0, False, True),
        ("COPY a b DB 3 REPLACE", 0, True, True),
        ("COPY a b", 0, False, True),
        ("SWAPDB 3 1", 0, True, True),
        ("SWAPDB 0 1", 3, False, True),
        ("FLUSHALL", 0, True, True),
        ("FLUSHDB", 0, False, True),
        ("FLUSHDB", 3, True, False),
        ("PUBLISH c m", 0, True, True),
        ("FUNCTION FLUSH", 3, True, True),
    ],
)
def test_databases(line: str, db: int, included: bool, excluded: bool) -> None:
    assert passes(line, of_dbs(3), db=db) is included
    assert passes(line, NOTHING, of_dbs(3), db=db) is excluded


def test_a_database_that_is_not_known_is_not_left_out() -> None:
    (record,) = records_of(command(b"SELECT", b"x") + command(b"SET", b"k", b"v"))
    assert databases(record) is None
    assert RecordFilter(of_dbs(3), NOTHING, TABLE)(record)


@pytest.mark.parametrize(
    ("line", "included", "excluded"),
    [
        ("SET user:1 v", True, False),
        ("SET order:1 user:1", False, True),
        ("MSET user:1 v order:1 v", True, True),
        ("DEL user:1 user:2", True, False),
        ("FLUSHALL", True, True),
        ("FLUSHDB", True, True),
        ("SWAPDB 0 1", True, True),
        ("NOBODYKNOWS user:1", True, True),
        ("PUBLISH user:1 m", False, True),
        ("FUNCTION FLUSH", False, True),
    ],
)
def test_keys(line: str, included: bool, excluded: bool) -> None:
    assert passes(line, of_keys("user:*")) is included
    assert passes(line, NOTHING, of_keys("user:*")) is excluded


def test_prefixes_and_regular_expressions() -> None:
    patterns = KeyPatterns(prefixes=(b"a:", b"b:"), regexes=(rb":\d+$",))
    wanted = Selection(keys=patterns)
    shown = [key for key in ("a:x", "b:", "c:x", "c:12", "c:12x") if passes(f"SET {key} v", wanted)]
    assert shown == ["a:x", "b:", "c:12"]


def test_commands_and_categories() -> None:
    assert passes("set k v", of_commands("SET"))
    assert passes("SET k v", of_commands("set"))
    assert not passes("DEL k", of_commands("SET"))
    assert passes("DEL k", of_commands("@write"))
    assert not passes("PUBLISH c m", of_commands("@Write"))
    assert not passes("FLUSHALL", NOTHING, of_commands("@dangerous"))
    assert passes("SADD k v", of_commands("@set", "DEL"))
    assert not passes("LPUSH k v", of_commands("@set", "DEL"))


def test_each_kind_has_to_hold() -> None:
    both = Selection(
        dbs=frozenset({3}), commands=frozenset({"SET"}), keys=KeyPatterns(globs=(b"u*",))
    )
    assert passes("SET u v", both, db=3)
    assert not passes("SET u v", both, db=0)
    assert not passes("DEL u", both, db=3)
    assert not passes("SET k v", both, db=3)
    assert not passes("SET u v", both, of_commands("SET"), db=3)


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no category @nonsense"):
        RecordFilter(of_commands("@nonsense"), NOTHING, TABLE)
    with pytest.raises(re.error):
        RecordFilter(Selection(keys=KeyPatterns(regexes=(b"(",))), NOTHING, TABLE)
