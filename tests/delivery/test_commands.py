"""The table of commands, built in and from a master's answer."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery.commands import builtin_table, read_command_reply
from tests.delivery.wire import TABLE


def key_spec(begin: list[Any], find: list[Any], *flags: bytes) -> list[Any]:
    """A key specification as a master writes it."""
    parts = [b"flags", list(flags)]
    for name, (kind, fields) in ((b"begin_search", begin), (b"find_keys", find)):
        parts += [name, [b"type", kind, b"spec", fields]]
    return parts


def entry(name: bytes, categories: list[bytes], *specs: list[Any]) -> list[Any]:
    """A command as a master since 7.0 describes it."""
    return [name, -2, [], 1, 1, 1, categories, [], list(specs)]


INDEX_2 = [b"index", [b"index", 2]]
RANGE = [b"range", [b"lastkey", -1, b"keystep", 2, b"limit", 0]]
KEYWORD = [b"keyword", [b"keyword", b"of", b"startfrom", 1]]
KEYNUM = [b"keynum", [b"keynumidx", 0, b"firstkey", 1, b"keystep", 1]]


def keys(table: Any, *words: bytes) -> list[bytes]:
    info = table.find(words[0].decode().upper())
    return [words[at] for at in info.key_positions(list(words))]


def test_a_module_is_known_from_what_the_master_says() -> None:
    reply = [
        entry(b"mod.set", [b"@write", b"@mod"], key_spec(INDEX_2, RANGE)),
        entry(b"mod.n", [b"@read"], key_spec(KEYWORD, KEYNUM)),
        [*entry(b"mod.c", []), [entry(b"mod.c|x", [b"@write"], key_spec(INDEX_2, KEYNUM))]],
        entry(b"mod.p", [b"@pubsub"], key_spec(INDEX_2, RANGE, b"not_key")),
    ]
    table = builtin_table().extended(reply)
    assert keys(table, b"mod.set", b"x", b"a", b"1", b"b", b"2") == [b"a", b"b"]
    assert keys(table, b"MOD.N", b"z", b"OF", b"1", b"a", b"b") == [b"a"]
    assert keys(table, b"mod.c", b"x", b"1", b"a") == [b"a"]
    assert keys(table, b"mod.p", b"x", b"a") == []
    assert keys(table, b"SET", b"a", b"1") == [b"a"]
    assert "MOD.SET" in table.categories["mod"]
    assert {"MOD.SET", "MOD.C", "SET"} <= table.categories["write"]


def test_an_old_master_says_less_than_what_is_built_in() -> None:
    """6.2 gives ranges only, and none for commands whose keys move."""
    reply = [
        [b"eval", -3, [b"noscript", b"movablekeys"], 0, 0, 0, [b"@scripting"]],
        [b"mod.del", -2, [b"write"], 1, -1, 1, [b"@write"]],
        [b"mod.two", -3, [b"write"], 2, 3, 1, [b"@write"]],
        [b"mod.odd", -3, [b"movablekeys"], 1, 1, 1, []],
    ]
    table = builtin_table().extended(reply)
    assert keys(table, b"EVAL", b"code", b"1", b"a") == [b"a"]
    assert keys(table, b"mod.del", b"a", b"b") == [b"a", b"b"]
    assert keys(table, b"mod.two", b"x", b"a", b"b", b"c") == [b"a", b"b"]
    assert keys(table, b"mod.odd", b"a") == []


_REPLY = st.recursive(
    st.none() | st.integers() | st.binary(max_size=5) | st.just([b"type", b"index"]),
    lambda inner: st.lists(inner, max_size=10),
    max_leaves=40,
)


@given(_REPLY)
def test_a_malformed_answer_is_passed_over(reply: Any) -> None:
    read_command_reply(reply)
    table = builtin_table().extended([[b"x", -1, [], 1, 1, 1, [b"@y"], [], [reply]], reply])
    assert keys(table, b"SET", b"a", b"1") == [b"a"]
    table.find("X")


def test_categories() -> None:
    assert {"SET", "DEL", "XGROUP", "HSETEX"} <= TABLE.categories["write"]
    assert "GET" not in TABLE.categories["write"]
    assert "FLUSHALL" in TABLE.categories["dangerous"]


def test_what_the_stream_makes_up_takes_no_memory() -> None:
    table = builtin_table()
    assert table.find("NOBODYKNOWS") is not table.find("NOBODYKNOWS")
    assert table.find("SET") is table.find("SET")
