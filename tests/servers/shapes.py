"""Keys of every type in every encoding, just below and just above what makes a server change it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.servers.client import Argument, Client
from tests.servers.find import Feature, Flavour

Command = tuple[Argument, ...]

FAR_MS = 4_000_000_000_000
"""A time that does not come while a test runs (2096)."""

_INTEGERS = (
    0, 1, 12, 13, 63, 64, 127, 128, -1, -64, -127, -128, -129, 255, 256, 4095, 4096, -4096, -4097,
    8191, 32767, 32768, -32768, -32769, 8388607, 8388608, -8388608, -8388609, 2**31 - 1, 2**31,
    -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), 10**18,
)  # fmt: skip
_LENGTHS = (
    0,
    1,
    11,
    20,
    21,
    44,
    45,
    62,
    63,
    64,
    65,
    125,
    126,
    127,
    128,
    250,
    251,
    4095,
    4096,
    16377,
    16378,
    16379,
    16382,
    16383,
    16384,
    70000,
)

_LIBRARY = "#!lua name=shapes\nredis.register_function('shape', function(k, a) return 1 end)"


def fill(client: Client, flavour: Flavour) -> None:
    """Write every shape that this version knows."""
    commands = [*_strings(), *_lists(), *_sets(), *_hashes(), *_sorted_sets(), *_streams(flavour)]
    if Feature.HASH_TTL in flavour.features:
        commands += _expiring_fields()
    if Feature.FUNCTIONS in flavour.features:
        commands.append(("FUNCTION", "LOAD", "REPLACE", _LIBRARY))
    commands += [("SELECT", 9), ("SET", "other database", 1), ("SELECT", 0)]
    for reply in client.pipeline(commands):
        if isinstance(reply, Exception):
            raise reply


def _blob(size: int) -> bytes:
    """Return bytes that don't compress."""
    return random.Random(size).randbytes(size)


def _strings() -> Iterator[Command]:
    for number in _INTEGERS:
        yield ("SET", f"string:int:{number}", number)
    for size in _LENGTHS:
        yield ("SET", f"string:noise:{size}", _blob(size))
        yield ("SET", f"string:packed:{size}", b"ab" * (size // 2))
    for text in ("007", "+1", "-0", " 1", "1.5", "99999999999999999999", "-", "\xff\xfe", ""):
        yield ("SET", f"string:text:{text}", text)
    yield ("SET", "string:expires", "x", "PX", 10**12)
    yield ("SET", b"string:\x00\xff\r\n key" + _blob(300), "x")
    yield ("SET", "", "the empty key")
    yield ("SET", "string:large", _blob(1 << 20) + b"x" * (3 << 20))


def _lists() -> Iterator[Command]:
    yield ("RPUSH", "list:one", "x")
    yield ("RPUSH", "list:integers", *_INTEGERS)
    yield ("RPUSH", "list:lengths", *(_blob(size) for size in _LENGTHS))
    yield ("RPUSH", "list:nodes", *(b"%d" % number * 20 for number in range(2000)))
    yield ("RPUSH", "list:packed", *(b"same " * 40 for _ in range(300)))
    yield ("RPUSH", "list:huge element", "a", _blob(1 << 20), "b")
    yield ("PEXPIRE", "list:one", 10**12)


def _sets() -> Iterator[Command]:
    for width, top in ((16, 2**15), (32, 2**31), (64, 2**63)):
        yield ("SADD", f"set:integers:{width}", -top, top - 1, 0, 5)
    for count in (511, 512, 513):
        yield ("SADD", f"set:integers:{count}", *range(count))
    for count in (1, 127, 128, 129):
        yield ("SADD", f"set:words:{count}", *(f"word {number}" for number in range(count)))
    for size in (63, 64, 65):
        yield ("SADD", f"set:word of {size}", _blob(size), "x", 17)
    yield ("SADD", "set:lengths", *(_blob(size) for size in _LENGTHS))
    yield ("SADD", "set:large", *(f"member {number}" for number in range(20_000)))


def _hashes() -> Iterator[Command]:
    for count in (1, 127, 128, 129, 511, 512, 513):
        yield ("HSET", f"hash:{count}", *_pairs(count))
    for size in (63, 64, 65):
        yield ("HSET", f"hash:value of {size}", "f", _blob(size), "g", "x")
        yield ("HSET", f"hash:field of {size}", _blob(size), "v")
    yield ("HSET", "hash:integers", *(x for n in _INTEGERS for x in (n, -n)))
    yield ("HSET", "hash:lengths", *(x for n in _LENGTHS for x in (f"f{n}", _blob(n))))
    yield ("HSET", "hash:large", *_pairs(10_000))


def _sorted_sets() -> Iterator[Command]:
    for count in (1, 127, 128, 129):
        pairs = ((number / 7, f"m{number}") for number in range(count))
        yield ("ZADD", f"zset:{count}", *(x for pair in pairs for x in pair))
    scores: tuple[Argument, ...] = (
        "inf", "-inf", 0, "-0.0", 1.5, -1.5, "1e300", "-1e-300", 2**53, 0.1, 3.0, "17179869184.25",
    )  # fmt: skip
    for name, extra in (("small", "x"), ("large", "x" * 65)):
        words = [w for n, score in enumerate(scores) for w in (score, f"m{n}")]
        yield ("ZADD", f"zset:scores:{name}", *words, 7, extra)
    yield ("ZADD", "zset:integers", *(x for n in _INTEGERS for x in (n % 1000, n)))


def _streams(flavour: Flavour) -> Iterator[Command]:
    yield ("XADD", "stream:one", "1-1", "f", "v")
    for number in range(1, 260):
        fields = ("a", number, "b", "x" * number) if number % 3 else ("c", number)
        yield ("XADD", "stream:many", f"{number * 1000}-{number % 5}", *fields)
    yield ("XDEL", "stream:many", "7000-2", "100000-0", "259000-4")
    yield ("XADD", "stream:large ids", f"{2**64 - 2}-{2**64 - 2}", "f", _blob(5000))
    yield ("XADD", "stream:large ids", f"{2**64 - 1}-{2**64 - 1}", "f", "last")
    yield ("XADD", "stream:wrapped", "1-0", "f", "v")
    yield ("XADD", "stream:wrapped", f"1-{2**64 - 1}", "f", "v")
    yield ("XADD", "stream:wrapped", f"{2**64 - 1}-3", "f", "v")
    yield ("XADD", "stream:empty", "5-5", "f", "v")
    yield ("XDEL", "stream:empty", "5-5")
    yield ("XGROUP", "CREATE", "stream:only groups", "g", "$", "MKSTREAM")
    yield ("XADD", "stream:trimmed", "1-1", "f", "v")
    yield ("XADD", "stream:trimmed", "2-1", "f", "w")
    yield ("XTRIM", "stream:trimmed", "MAXLEN", "1")
    yield ("XGROUP", "CREATE", "stream:many", "first", "0")
    yield ("XGROUP", "CREATE", "stream:many", "second", "50000-0")
    yield ("XGROUP", "CREATE", "stream:many", "idle", "$")
    yield ("XGROUP", "CREATECONSUMER", "stream:many", "idle", "nobody")
    yield ("XREADGROUP", "GROUP", "first", "ann", "COUNT", 30, "STREAMS", "stream:many", ">")
    yield ("XREADGROUP", "GROUP", "first", "bob", "COUNT", 5, "STREAMS", "stream:many", ">")
    yield ("XREADGROUP", "GROUP", "first", "ann", "COUNT", 9, "STREAMS", "stream:many", "1000-0")
    yield ("XREADGROUP", "GROUP", "second", "cid", "STREAMS", "stream:many", ">")
    yield ("XACK", "stream:many", "first", "1000-1", "31000-1")
    yield ("PEXPIREAT", "stream:one", FAR_MS)


def _expiring_fields() -> Iterator[Command]:
    for name, count in (("small", 5), ("large", 600)):
        key = f"hash:expiring:{name}"
        yield ("HSET", key, *_pairs(count))
        yield ("HPEXPIREAT", key, FAR_MS, "FIELDS", 1, "f1")
        yield ("HPEXPIREAT", key, FAR_MS + 12345, "FIELDS", 2, "f0", "f2")
    yield ("HSET", "hash:expiring:all", "a", 1)
    yield ("HPEXPIREAT", "hash:expiring:all", FAR_MS, "FIELDS", 1, "a")
    yield ("PEXPIREAT", "hash:expiring:all", FAR_MS)


def _pairs(count: int) -> Iterator[Argument]:
    for number in range(count):
        yield f"f{number}"
        yield number * number if number % 2 else f"value {number}"
