"""Which words are keys."""

from __future__ import annotations

import pytest

from repltap.delivery._hot.commands import (
    LINK,
    MAX_ONLY_KEY,
    ORDINARY,
    SELECT,
    CommandInfo,
    KeySpec,
)
from tests.delivery.wire import TABLE


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("SET k v", "k"),
        ("DEL a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("MSETEX 2 a 1 b 2 PXAT 9", "a b"),
        ("RENAME a b", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("PFMERGE d", "d"),
        ("PFMERGE d a b", "d a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("EVAL code 2 a b c", "a b"),
        ("EVAL code 0 a", ""),
        ("FCALL f 1 a b", "a"),
        ("XADD s 1-1 f v", "s"),
        ("XREADGROUP GROUP g c COUNT 3 STREAMS a b > >", "a b"),
        ("XREAD STREAMS streams 0", "streams"),
        ("XGROUP CREATE s g 0", "s"),
        ("XGROUP HELP", ""),
        ("OBJECT FREQ k", "k"),
        ("SORT l BY w_* LIMIT 0 5 GET STORE STORE d", "l d"),
        ("SORT l STORE d STORE e", "l e"),
        ("SORT l", "l"),
        ("SORT l STORE", "l"),
        ("SORT l STORE store STORE", "l store"),
        ("GEORADIUS g 1 2 3 km STORE d", "g d"),
        ("GEORADIUS g 1 2 3 km STORE d STOREDIST e STORE f", "g f"),
        ("GEORADIUS g 1 2 3 km COUNT 3 ANY STORE store", "g store"),
        ("GEORADIUS g 1 2 3 km STORE", "g"),
        ("GEORADIUSBYMEMBER g STORE 3 km ASC STOREDIST e STORE f", "g f"),
        ("GEORADIUSBYMEMBER g m 3 km STOREDIST d", "g d"),
        ("MIGRATE h 1 k 0 5", "k"),
        ("BLMPOP 0 2 a b LEFT", "a b"),
        ("LCS a b", "a b"),
        ("SPUBLISH channel text", ""),
        ("FLUSHALL", ""),
        ("FUNCTION LOAD code", ""),
        ("NOBODYKNOWS a b", ""),
        # Malformed: no keys rather than wrong ones.
        ("SET", ""),
        ("EVAL code x a", ""),
        ("EVAL code 3 a", ""),
        ("EVAL code", ""),
        ("XREADGROUP GROUP g c", ""),
    ],
)
def test_keys(command: str, keys: str) -> None:
    words = [word.encode() for word in command.split()]
    info = TABLE.find(words[0].decode())
    assert " ".join(words[at].decode() for at in info.key_positions(words)) == keys
    if 0 < info.only_key < len(words):
        assert info.key_positions(words) == (info.only_key,)


def test_migrate_with_many_keys() -> None:
    words = [b"MIGRATE", b"h", b"1", b"", b"0", b"5", b"KEYS", b"a", b"b"]
    assert TABLE.find("MIGRATE").key_positions(words) == (7, 8)


def test_a_keyword_is_found_from_either_end() -> None:
    spec = KeySpec(b"KEYS", 1, -1, 0, -1, 1, 0)
    assert spec.positions([b"X", b"keys", b"a", b"b"]) == [2, 3]
    spec = KeySpec(b"KEYS", -2, -1, 0, -1, 1, 0)
    assert spec.positions([b"X", b"keys", b"KEYS", b"b"]) == [3]
    assert spec.positions([b"KEYS", b"b"]) == []


def test_a_single_key_far_behind() -> None:
    """A module's command can have its only key anywhere."""
    info = CommandInfo("X.Y", [KeySpec(b"", 9, -1, 0, 0, 1, 0)])
    words = [b"%d" % number for number in range(10)]
    assert info.key_positions(words) == (9,)
    assert info.only_key < MAX_ONLY_KEY


def test_what_frames_others() -> None:
    roles = [TABLE.find(name).role for name in ("SELECT", "PING", "REPLCONF", "SET", "NOBODYKNOWS")]
    assert roles == [SELECT, LINK, LINK, ORDINARY, ORDINARY]
