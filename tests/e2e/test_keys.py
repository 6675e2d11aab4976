"""Which words of a command are keys, by COMMAND GETKEYS of real servers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import hiredis
import pytest

from repltap.delivery.commands import builtin_table
from tests.servers.lab import Lab

pytestmark = pytest.mark.relay_only

TABLE = builtin_table()
WORDS = [
    "STORE",
    "STOREDIST",
    "store",
    "KEYS",
    "keys",
    "STREAMS",
    "streams",
    "LIMIT",
    "GET",
    "BY",
    "WEIGHTS",
    "AGGREGATE",
    "ASC",
    "ALPHA",
    "COPY",
    "REPLACE",
    "DB",
    "AUTH",
    "GROUP",
    "g",
    "c",
    "COUNT",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "10",
    "a",
    "b",
    "k:1",
    "xxxxx",
    "*",
    "WITHDIST",
    "m",
    "km",
    "NOACK",
    "ID",
    "FIELDS",
    "EX",
    "NX",
    "MINID",
    "MAXLEN",
    "~",
    "99999999999",
]

# What GETKEYS says of arguments that the command itself refuses: a destination that looks like an
# option, KEYS of MIGRATE behind a key. MIGRATE comes to replicas as DEL.
REFUSED = {"sort", "georadius", "georadiusbymember", "migrate"}


def commands(told: list[list[object]], rng: random.Random) -> Iterator[list[str]]:
    """Draw arguments for every command that writes."""
    for entry in told:
        name, arity, flags = entry[:3]
        assert isinstance(name, bytes)
        assert isinstance(arity, int)
        assert isinstance(flags, list)
        if b"write" not in flags and name not in (b"eval", b"evalsha", b"fcall", b"publish"):
            continue
        if name.decode() in REFUSED:
            continue
        for _ in range(150):
            count = abs(arity) - 1 + (rng.choice((0, 0, 1, 2, 3, 5, 8)) if arity < 0 else 0)
            args = rng.choices(WORDS, k=count)
            if name == b"xreadgroup":
                args[0] = "GROUP"
            if name == b"xgroup" and args:
                args[0] = rng.choice(("CREATE", "SETID", "DESTROY"))
            spelled = rng.choice((str.upper, str.lower, str.title))(name.decode())
            yield [spelled, *args]


@pytest.mark.parametrize(
    "program", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]
)
def test_any_arguments(lab: Lab, program: str) -> None:
    compared = 0
    with lab.master(program).client() as client:
        drawn = list(commands(client.call("COMMAND"), random.Random(program)))
        replies = client.pipeline([("COMMAND", "GETKEYS", *words) for words in drawn])
    for words, reply in zip(drawn, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError):
            continue  # malformed
        encoded = [word.encode() for word in words]
        positions = TABLE.find(words[0].upper()).key_positions(encoded)
        assert {encoded[at] for at in positions} == set(reply), words
        compared += 1
    assert compared > 5000
