"""A seeded load of writes: every data type and every way into the stream that a version has."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

import hiredis

from tests.servers.client import Argument, Client
from tests.servers.find import Feature
from tests.servers.waiting import PATIENCE_SECONDS

_Command = tuple[Argument, ...]
_Step = Callable[[random.Random], list[_Command]]

_DATABASES = (0, 3, 9)
# Errors that a random order of commands may earn.
_EXPECTED_ERRORS = ("BUSYGROUP", "NOGROUP")
# Those of a server that is not, or no longer, the master; some are quoted by the error of a script.
_NOT_MASTER = re.compile(r"\b(READONLY|LOADING|MASTERDOWN|UNBLOCKED|EXECABORT)\b")


class NotMasterError(ConnectionError):
    """Whom the load writes to is not the master just now."""


class Writable(Protocol):
    """Whoever can be written to: a node, or whichever is the master."""

    def client(self) -> Client:
        """Open a connection."""


def _key(rng: random.Random, kind: str) -> str:
    return f"{kind}:{rng.randrange(40)}"


def _word(rng: random.Random) -> str:
    return f"w{rng.randrange(200)}"


def _strings(rng: random.Random) -> list[_Command]:
    key = _key(rng, "string")
    return [
        ("SET", key, "value " * rng.randrange(1, 30)),
        ("APPEND", key, _word(rng)),
        ("SETRANGE", key, rng.randrange(100), "patch"),
        ("MSET", _key(rng, "string"), rng.randrange(10**9), _key(rng, "string"), "\x00\xff\r\n"),
        ("GETDEL", _key(rng, "string")),
        ("COPY", key, _key(rng, "copy"), "REPLACE"),
    ]


def _integers(rng: random.Random) -> list[_Command]:
    key = _key(rng, "int")
    return [
        ("INCR", key),
        ("INCRBY", key, -rng.randrange(10**6)),
        ("INCRBYFLOAT", _key(rng, "float"), "0.5"),
        ("SET", _key(rng, "int"), rng.randrange(2**40)),
    ]


def _big_values(rng: random.Random) -> list[_Command]:
    if rng.random() < 0.8:
        return [("SET", _key(rng, "big"), "z" * rng.randrange(4_000))]
    return [("SET", _key(rng, "big"), rng.randbytes(rng.randrange(20_000, 120_000)))]


def _lists(rng: random.Random) -> list[_Command]:
    key = _key(rng, "list")
    return [
        ("RPUSH", key, *(rng.randrange(10**6) for _ in range(rng.randrange(1, 20)))),
        ("LPUSH", key, _word(rng), "long " * 30),
        ("LMOVE", key, _key(rng, "list"), "LEFT", "RIGHT"),
        ("LREM", key, 1, _word(rng)),
        ("BLPOP", key, 1),
        ("LTRIM", key, 0, 300),
    ]


def _sets(rng: random.Random) -> list[_Command]:
    return [
        ("SADD", _key(rng, "intset"), *(rng.randrange(500) for _ in range(6))),
        ("SADD", _key(rng, "set"), *(_word(rng) for _ in range(rng.randrange(1, 30)))),
        ("SPOP", _key(rng, "set"), 2),
        ("SMOVE", _key(rng, "set"), _key(rng, "set"), _word(rng)),
        ("SUNIONSTORE", _key(rng, "set"), _key(rng, "set"), _key(rng, "set")),
    ]


def _sorted_sets(rng: random.Random) -> list[_Command]:
    key = _key(rng, "zset")
    return [
        ("ZADD", key, *(x for _ in range(9) for x in (rng.randrange(-999, 999) / 4, _word(rng)))),
        ("ZADD", key, "-inf", "lowest", "+inf", "highest"),
        ("ZINCRBY", key, "1.5", _word(rng)),
        ("ZPOPMIN", _key(rng, "zset"), 2),
        ("ZRANGESTORE", _key(rng, "zset"), key, 0, 40),
        ("ZREMRANGEBYRANK", key, 150, -1),
    ]


def _hashes(rng: random.Random) -> list[_Command]:
    key = _key(rng, "hash")
    return [
        ("HSET", key, *(_word(rng) for _ in range(2 * rng.randrange(1, 20)))),
        ("HSET", key, "long", "field " * 50),
        ("HINCRBY", key, "count", rng.randrange(100)),
        ("HINCRBYFLOAT", key, "ratio", "0.25"),
        ("HDEL", key, _word(rng)),
    ]


def _streams(rng: random.Random) -> list[_Command]:
    key = _key(rng, "stream")
    return [
        ("XADD", key, "MAXLEN", "~", 500, "*", "field", _word(rng), "n", rng.randrange(999)),
        ("XGROUP", "CREATE", key, "group", "0", "MKSTREAM"),
        ("XREADGROUP", "GROUP", "group", _word(rng)[:2], "COUNT", 3, "STREAMS", key, ">"),
        ("XACK", key, "group", "1-1"),
        ("XAUTOCLAIM", key, "group", "thief", 0, "0", "COUNT", 2),
        ("XTRIM", key, "MAXLEN", 400),
    ]


def _others(rng: random.Random) -> list[_Command]:
    return [
        ("PFADD", _key(rng, "hll"), *(_word(rng) for _ in range(5))),
        ("PFMERGE", _key(rng, "hll"), _key(rng, "hll")),
        ("SETBIT", _key(rng, "bitmap"), rng.randrange(5_000), rng.randrange(2)),
        ("BITFIELD", _key(rng, "bitmap"), "SET", "u8", "#3", rng.randrange(256)),
        ("BITOP", "XOR", _key(rng, "bitmap"), _key(rng, "bitmap"), _key(rng, "bitmap")),
        ("GEOADD", _key(rng, "geo"), rng.randrange(-170, 170), rng.randrange(-80, 80), _word(rng)),
        ("PUBLISH", "channel", _word(rng)),
    ]


def _expiries(rng: random.Random) -> list[_Command]:
    return [
        ("SET", _key(rng, "brief"), "gone soon", "PX", rng.randrange(20, 2_000)),
        ("SET", _key(rng, "kept"), "stays", "EX", 10_000),
        ("PEXPIRE", _key(rng, "kept"), 5_000_000),
        ("GETEX", _key(rng, "kept"), "PERSIST"),
        ("EXPIRE", _key(rng, "brief"), -1),
        ("HSET", "brief:hash", "f", "v"),
        ("PEXPIRE", "brief:hash", rng.randrange(1, 400)),
    ]


def _transactions(rng: random.Random) -> list[_Command]:
    inside = [_strings(rng)[0], _integers(rng)[0], _sets(rng)[0], ("SELECT", 3), _lists(rng)[0]]
    return [("MULTI",), *inside[: rng.randrange(1, 6)], ("EXEC",), ("MULTI",), ("EXEC",)]


def _scripts(rng: random.Random) -> list[_Command]:
    one = "return redis.call('incr', KEYS[1])"
    many = "for i = 1, 5 do redis.call('rpush', KEYS[1], i) end return redis.call('del', KEYS[2])"
    return [
        ("EVAL", one, 1, _key(rng, "int")),
        ("EVAL", many, 2, _key(rng, "list"), _key(rng, "string")),
    ]


def _keyspace(rng: random.Random) -> list[_Command]:
    key = _key(rng, "string")
    commands: list[_Command] = [("SET", key, "x"), ("RENAME", key, _key(rng, "string"))]
    commands += [("DEL", _key(rng, "big")), ("UNLINK", _key(rng, "list"))]
    commands += [("MOVE", _key(rng, "set"), rng.choice(_DATABASES[1:]))]
    if rng.random() < 0.1:
        commands.append(("SWAPDB", 3, 9))
    if rng.random() < 0.1:
        # ASYNC: at a plain FLUSHDB a replica of Redis 8.2 blocks its link to the master, and when
        # the link breaks just then it forgets its history (`freeClient`, CLIENT_BLOCKED).
        commands += [("SELECT", 12), ("SET", "a", "b"), ("FLUSHDB", "ASYNC")]
    # MOVE into the database that is selected is an error: start from 0.
    return [("SELECT", 0), *commands]


def _functions(rng: random.Random) -> list[_Command]:
    n = rng.randrange(3)
    code = (
        f"#!lua name=library{n}\nredis.register_function('f{n}', function(keys, args)"
        " redis.call('set', keys[1], args[1]) return redis.call('sadd', keys[2], args[1]) end)"
    )
    call: _Command = ("FCALL", f"f{n}", 2, _key(rng, "string"), _key(rng, "set"), _word(rng))
    commands: list[_Command] = [("FUNCTION", "LOAD", "REPLACE", code), call]
    if rng.random() < 0.2:
        commands.append(("FUNCTION", "DELETE", f"library{n}"))
    return commands


def _hash_ttls(rng: random.Random) -> list[_Command]:
    key = _key(rng, "hash-ttl")
    return [
        ("HSET", key, *(_word(rng) for _ in range(2 * rng.randrange(1, 90)))),
        ("HSETEX", key, "EX", 5_000, "FIELDS", 1, _word(rng), "later"),
        ("HPEXPIRE", key, rng.randrange(30, 2_000), "FIELDS", 2, _word(rng), _word(rng)),
        ("HEXPIRE", key, 4_000, "FIELDS", 1, _word(rng)),
        ("HPERSIST", key, "FIELDS", 1, _word(rng)),
        ("HGETEX", key, "EX", 3_000, "FIELDS", 1, _word(rng)),
    ]


_COMMON: tuple[_Step, ...] = (
    _strings,
    _integers,
    _big_values,
    _lists,
    _sets,
    _sorted_sets,
    _hashes,
    _streams,
    _others,
    _expiries,
    _transactions,
    _scripts,
    _keyspace,
)
_SPECIAL: dict[Feature, _Step] = {Feature.FUNCTIONS: _functions, Feature.HASH_TTL: _hash_ttls}


class Load:
    """Writes to a node, in a thread (`with`) or at once (`write`).

    The commands depend on the seed and the features only.

    Args:
        node: Whom to write to.
        features: What the servers in the test have in common.
        pause_seconds: Between two steps of the thread.
    """

    def __init__(
        self,
        node: Writable,
        *,
        features: Iterable[Feature] = (),
        seed: int = 1,
        pause_seconds: float = 0.002,
    ) -> None:
        self._node = node
        self._rng = random.Random(seed)
        self._steps = [*_COMMON, *(_SPECIAL[f] for f in _SPECIAL if f in set(features))]
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._failure: BaseException | None = None
        self.written = 0

    def write(self, steps: int) -> None:
        """Write this many steps now; at least one of each kind when there are enough."""
        with self._node.client() as client:
            for number in range(steps):
                self._write_step(client, self._steps[number % len(self._steps)])

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(2 * PATIENCE_SECONDS)
        if error is not None:
            return
        assert not self._thread.is_alive(), "the load still waits for an answer"
        if self._failure is not None:
            raise AssertionError(
                f"the load failed after {self.written} commands"
            ) from self._failure

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._node.client() as client:
                    while not self._stopping.is_set():
                        self._write_step(client, self._rng.choice(self._steps))
                        time.sleep(self._pause_seconds)
            except OSError:  # the node is down, frozen or no master: the test's doing
                time.sleep(0.02)
            except AssertionError as exc:
                self._failure = exc
                return

    def _write_step(self, client: Client, step: _Step) -> None:
        commands = [("SELECT", self._rng.choice(_DATABASES)), *step(self._rng)]
        for command, reply in zip(commands, client.pipeline(commands), strict=True):
            if not isinstance(reply, hiredis.ReplyError) or str(reply).startswith(_EXPECTED_ERRORS):
                continue
            if _NOT_MASTER.search(str(reply)):
                raise NotMasterError(str(reply))
            raise AssertionError(f"{command!r:.200}: {reply}")
        self.written += len(commands)
