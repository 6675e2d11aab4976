"""Commands that rebuild the keys of an RDB on an empty server.

What no command can set is left to RESTORE (`restore`): a consumer's times, the pending entries of
a stream whose entries were deleted (a Redis of 7.0 or later drops them on XCLAIM), LRU and LFU.
"""

from __future__ import annotations

from itertools import chain

from repltap.errors import UnsupportedRdbError
from repltap.rdb._hot.stream import entries_of
from repltap.rdb.entries import (
    Aux,
    Database,
    Entry,
    Fields,
    Function,
    Header,
    Item,
    Members,
    ModuleValue,
    Scores,
    StreamEntries,
    StreamGroup,
    StreamId,
    StreamNode,
    StreamProducers,
    StreamSummary,
    Strings,
)
from repltap.rdb.losses import Losses
from repltap.rdb.resp import command, number
from repltap.rdb.restore import restore_command
from repltap.rdb.target import Target

PAYLOADS = frozenset({"module"})
"""Of these types the reader must give payloads: only RESTORE makes them."""

_DEFAULT = Target("redis", (7, 0))


class RespWriter:
    """Writes commands.

    Args:
        target: The server they are for; if not given, the one that wrote the file.

    Attributes:
        losses: What commands can't carry.
    """

    def __init__(self, target: Target | None = None) -> None:
        self.losses = Losses()
        self._given = target
        self._target = target or _DEFAULT
        self._vendor = ""

    def write(self, item: Item) -> bytes:
        """Write an item; b"" where it needs no command.

        Raises:
            UnsupportedRdbError: The target lacks the command.
        """
        if isinstance(item, Strings):
            return b"".join([_string(*one) for one in item.items])
        if isinstance(item, Entry):
            written = self._entry(item)
            if item.last and item.expire_at_ms is not None and item.type != "module":
                written += command(b"PEXPIREAT", item.key, number(item.expire_at_ms))
            return written
        if isinstance(item, Database):
            return command(b"SELECT", number(item.db))
        if isinstance(item, Function):
            if not self._target.has_functions:
                raise self._lacks("functions", None)
            return command(b"FUNCTION", b"LOAD", b"REPLACE", item.code)
        if isinstance(item, Header):
            self._vendor = item.vendor
        elif isinstance(item, Aux):
            self._learn(item)
        else:
            self.losses.see(item)
        return b""

    def _learn(self, item: Aux) -> None:
        if self._given is None and item.name in (b"redis-ver", b"valkey-ver"):
            try:
                vendor = item.name.partition(b"-")[0].decode()
                self._target = Target.parse(f"{vendor}-{item.value.decode()}")
            except ValueError:
                pass  # a version that is none: the default stays

    def _entry(self, entry: Entry) -> bytes:
        value = entry.value
        key = entry.key
        if entry.metadata and entry.last:
            self.losses.add("metadata of modules on keys")
        if isinstance(value, bytes):
            return command(b"APPEND" if entry.part else b"SET", key, value)
        if isinstance(value, Members):
            verb = b"RPUSH" if entry.type == "list" else b"SADD"
            return command(verb, key, *value.items) if value.items else b""
        if isinstance(value, Scores):
            pairs = [(_score(score), member) for member, score in value.items]
            return command(b"ZADD", key, *chain.from_iterable(pairs)) if pairs else b""
        if isinstance(value, Fields):
            return self._fields(key, value)
        if isinstance(value, ModuleValue):
            if entry.payload is None:
                raise UnsupportedRdbError(
                    "only its serialized form makes a module's value, and that is too large",
                    offset=0,
                    key=key,
                )
            return restore_command(self._vendor, entry)
        return self._stream(entry)

    def _fields(self, key: bytes, value: Fields) -> bytes:
        if not value.items:
            return b""
        words = [b"HSET", key]
        times: dict[int, list[bytes]] = {}
        for field, text, expire in value.items:
            words += (field, text)
            if expire is not None:
                times.setdefault(expire, []).append(field)
        if times and not self._target.has_field_expiry:
            raise self._lacks("fields of hashes that expire", key)
        commands = [command(*words)]
        for time, fields in times.items():
            count = number(len(fields))
            commands.append(command(b"HPEXPIREAT", key, number(time), b"FIELDS", count, *fields))
        return b"".join(commands)

    def _stream(self, entry: Entry) -> bytes:
        value = entry.value
        key = entry.key
        if isinstance(value, StreamNode | StreamEntries):
            added = value.items if isinstance(value, StreamEntries) else entries_of(value)
            return b"".join([command(b"XADD", key, _id(one), *fields) for one, fields in added])
        if isinstance(value, StreamSummary):
            return self._summary(key, value)
        if isinstance(value, StreamGroup):
            return self._group(key, value)
        if isinstance(value, StreamProducers):
            if value.producers:
                self.losses.add("idempotency states of streams")
            return b""
        raise TypeError(f"the value of {key!r} was not read")

    def _summary(self, key: bytes, summary: StreamSummary) -> bytes:
        commands = []
        if not summary.length:
            # aof.c `rewriteStreamObject`: an entry that is trimmed at once makes an empty stream.
            commands.append(command(b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"))
        words = [b"XSETID", key, _id(summary.last)]
        if self._target.has_stream_counters and summary.entries_added is not None:
            assert summary.max_deleted is not None
            words += [b"ENTRIESADDED", number(summary.entries_added)]
            words += [b"MAXDELETEDID", _id(summary.max_deleted)]
        commands.append(command(*words))
        return b"".join(commands)

    def _group(self, key: bytes, group: StreamGroup) -> bytes:
        words = [b"XGROUP", b"CREATE", key, group.name, _id(group.last)]
        read = group.entries_read
        # 0 is a number of its own: without one a server does not know, and does not count on.
        if self._target.has_stream_counters and read is not None and read >= 0:
            words += [b"ENTRIESREAD", number(read)]
        commands = [command(*words)]
        for consumer in group.consumers:
            if self._target.has_consumer_creation:
                made = (b"XGROUP", b"CREATECONSUMER", key, group.name, consumer.name)
                commands.append(command(*made))
            batches: dict[tuple[int, int], list[StreamId]] = {}
            for one in consumer.pending:
                batches.setdefault(group.pending[one], []).append(one)
            for (time, count), ids in batches.items():
                words = [b"XCLAIM", key, group.name, consumer.name, b"0", *map(_id, ids)]
                words += [b"TIME", number(time), b"RETRYCOUNT", number(count), b"FORCE", b"JUSTID"]
                commands.append(command(*words))
        return b"".join(commands)

    def _lacks(self, what: str, key: bytes | None) -> UnsupportedRdbError:
        return UnsupportedRdbError(
            f"{self._target} does not know {what}", offset=0, key=key, hint="choose a newer target"
        )


def _string(key: bytes, value: bytes, expire_at_ms: int | None) -> bytes:
    written = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
    if expire_at_ms is not None:
        written += command(b"PEXPIREAT", key, number(expire_at_ms))
    return written


def _score(score: float) -> bytes:
    return repr(score).encode()


def _id(one: StreamId) -> bytes:
    return b"%d-%d" % one
