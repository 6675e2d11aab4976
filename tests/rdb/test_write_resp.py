import pytest

from repltap.errors import UnsupportedRdbError
from repltap.rdb._hot.source import Limits
from repltap.rdb.entries import (
    Database,
    Entry,
    Fields,
    Function,
    Item,
    StreamConsumer,
    StreamGroup,
    StreamProducers,
    StreamSummary,
    Strings,
    Value,
)
from repltap.rdb.resp import command
from repltap.rdb.restore import dump_payload
from repltap.rdb.target import Target
from repltap.rdb.write_resp import PAYLOADS, RespWriter
from tests.rdb.build import items, key, rdb, string, strings


def entry(
    value: Value, kind: str = "stream", *, last: bool = True, expire: int | None = None
) -> Entry:
    return Entry(0, b"k", kind, "raw", value, expire, None, None, 0, last, 1, 0, None, 0)


def words(*text: str) -> bytes:
    return command(*(word.encode() for word in text))


def write(item: Item, target: str = "redis-7.0") -> bytes:
    return RespWriter(Target.parse(target)).write(item)


def test_strings() -> None:
    run = Strings(0, [(b"a", b"x", None), (b"b", b"y", 5)])
    assert write(run) == words("SET", "a", "x") + words("SET", "b", "y") + words(
        "PEXPIREAT", "b", "5"
    )
    assert write(Database(7)) == words("SELECT", "7")


def test_parts() -> None:
    body = b"\xfc" + (5).to_bytes(8, "little") + key(0, b"s", string(b"abcde"))
    body += key(1, b"l", b"\x02" + strings(b"x", b"y")) + key(2, b"e", b"\x00")
    writer = RespWriter()
    limits = Limits(part_items=1, part_bytes=3)
    written = b"".join(map(writer.write, items(rdb(body), limits=limits)))
    assert written == (
        words("SET", "s", "abc") + words("APPEND", "s", "de") + words("PEXPIREAT", "s", "5")
        + words("RPUSH", "l", "x") + words("RPUSH", "l", "y")
    )  # fmt: skip


def test_field_expiry() -> None:
    value = Fields([(b"f", b"1", None), (b"g", b"2", 9), (b"h", b"3", 9)])
    assert write(entry(value, "hash", expire=7), "valkey-9") == (
        words("HSET", "k", "f", "1", "g", "2", "h", "3")
        + words("HPEXPIREAT", "k", "9", "FIELDS", "2", "g", "h")
        + words("PEXPIREAT", "k", "7")
    )
    for target in ("redis-7.0", "valkey-8.1"):
        with pytest.raises(UnsupportedRdbError, match=f"{target} does not know fields") as caught:
            write(entry(value, "hash"), target)
        assert caught.value.key == b"k"


def test_functions() -> None:
    assert write(Function(b"#!lua")) == words("FUNCTION", "LOAD", "REPLACE", "#!lua")
    with pytest.raises(UnsupportedRdbError, match=r"redis-6.2 does not know functions"):
        write(Function(b"#!lua"), "redis-6.2")


def test_the_target_is_who_wrote_the_file() -> None:
    writer = RespWriter()
    with pytest.raises(UnsupportedRdbError, match=r"redis-6.2 does not know"):
        body = b"\xfa" + strings(b"redis-ver", b"6.2.5") + b"\xf5" + string(b"#!lua")
        for item in items(rdb(body)):
            writer.write(item)


def test_streams() -> None:
    summary = StreamSummary(0, (9, 1), (0, 0), (8, 0), 10, 1)
    empty = words("XADD", "k", "MAXLEN", "0", "0-1", "x", "y")
    assert write(entry(summary)) == empty + words(
        "XSETID", "k", "9-1", "ENTRIESADDED", "10", "MAXDELETEDID", "8-0"
    )
    assert write(entry(summary), "redis-6.2") == empty + words("XSETID", "k", "9-1")
    old = StreamSummary(3, (9, 1), None, None, None, 0)
    assert write(entry(old)) == words("XSETID", "k", "9-1")


def test_groups() -> None:
    pending = {(1, 0): (50, 1), (2, 0): (50, 1), (3, 0): (60, 4)}
    consumers = [
        StreamConsumer(b"ann", 5, None, list(pending)),
        StreamConsumer(b"bob", 5, None, []),
    ]
    group = StreamGroup(b"g", (3, 0), 7, pending, consumers)
    writer = RespWriter()
    for read, words_ in ((0, [b"ENTRIESREAD", b"0"]), (-1, []), (None, [])):
        alone = StreamGroup(b"g", (3, 0), read, {}, [])
        created = [b"XGROUP", b"CREATE", b"k", b"g", b"3-0", *words_]
        assert RespWriter().write(entry(alone)) == command(*created)
    rest = ("FORCE", "JUSTID")
    claims = words(
        "XCLAIM", "k", "g", "ann", "0", "1-0", "2-0", "TIME", "50", "RETRYCOUNT", "1", *rest
    )
    claims += words("XCLAIM", "k", "g", "ann", "0", "3-0", "TIME", "60", "RETRYCOUNT", "4", *rest)
    assert writer.write(entry(group)) == (
        words("XGROUP", "CREATE", "k", "g", "3-0", "ENTRIESREAD", "7")
        + words("XGROUP", "CREATECONSUMER", "k", "g", "ann")
        + claims
        + words("XGROUP", "CREATECONSUMER", "k", "g", "bob")
    )
    assert write(entry(group), "redis-6.0") == words("XGROUP", "CREATE", "k", "g", "3-0") + claims
    unread = group._replace(entries_read=-1, consumers=[])
    assert write(entry(unread)) == words("XGROUP", "CREATE", "k", "g", "3-0")


def test_modules_are_restored() -> None:
    module_id = (5 << 10).to_bytes(8, "big")
    raw = b"\x81" + module_id + b"\x05\x01x\x00"
    writer = RespWriter()
    found = items(rdb(key(7, b"m", raw)), payloads=PAYLOADS)
    written = b"".join(map(writer.write, found))
    assert written == command(
        b"RESTORE", b"m", b"0", dump_payload(b"\x07" + raw, 8), b"REPLACE", b"ABSTTL"
    )


def test_losses() -> None:
    writer = RespWriter()
    writer.write(entry(StreamProducers(1, 1, {}, 0, 0)))
    assert not writer.losses.counts
    writer.write(entry(StreamProducers(1, 1, {b"p": []}, 0, 0)))
    assert writer.losses.counts == {"idempotency states of streams": 1}
