"""The sink that counts: commands, their bytes, and writes by the prefix of keys, for `/metrics`.

The counters are in the sink's state, which is kept with the place: after a restart or a crash they
go on from the last commit, and what follows it is given and counted again, so each command counts
once. What is exported is what has been committed, so a counter never goes back. Label values are
bounded: commands by a list, prefixes by the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from repltap.sink import AnyRecord, Option, Record, Sample, Sink, SinkContext, SinkError, words

OTHER = "other"
"""The label of commands that are not in the list."""

_LISTED = """
APPEND BITFIELD BITOP BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLUSTER COPY
DECR DECRBY DEL DELIFEQ EVAL EVALSHA EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB FUNCTION GEOADD
GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL
HGETEX HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY
INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MIGRATE MOVE MSET MSETEX
MSETNX PERSIST PEXPIRE PEXPIREAT PFADD PFDEBUG PFMERGE PSETEX PUBLISH RENAME RENAMENX RESTORE
RESTORE-ASKING RPOP RPOPLPUSH RPUSH RPUSHX SADD SCRIPT SDIFFSTORE SET SETBIT SETEX SETNX
SETRANGE SINTERSTORE SMOVE SORT SPOP SPUBLISH SREM SUNIONSTORE SWAPDB UNLINK XACK XACKDEL XADD
XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP XREADGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY
ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK
ZREMRANGEBYSCORE ZUNIONSTORE
"""
COMMANDS = frozenset(_LISTED.split())
"""What a stream can have, by name: every command that writes, of Redis up to 8.6 and of Valkey up
to 9.1, and those that are passed on to replicas."""

_VERSION = 1  # of the state
_MAX_NAMES = 100  # of prefixes, and of commands besides the list: each is a time series
_MAX_NAME_BYTES = 200  # 64 KiB hold the state then, whatever it has counted


def _names(raw: object) -> tuple[str, ...]:
    """Read a list of label values."""
    found = words(raw)
    if len(found) > _MAX_NAMES:
        raise ValueError(f"{len(found)} are too many: at most {_MAX_NAMES}")
    for name in found:
        if len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
            raise ValueError(f"{name[:20]!r}... is longer than {_MAX_NAME_BYTES} bytes")
    return tuple(dict.fromkeys(found))


class MetricsSink(Sink):
    """Counts the commands of the stream, for /metrics of the relay."""

    options: ClassVar[tuple[Option, ...]] = (
        Option(
            name="prefixes",
            parse=_names,
            help="Count writes to keys that begin so, each prefix by itself.",
            default=(),
        ),
        Option(
            name="commands",
            parse=_names,
            help="Count these by name, too, such as those of a module; all others are `other`.",
            default=(),
        ),
    )
    target: ClassVar[str] = "prefixes"
    exactly_once = True  # the counters are the state

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._known = COMMANDS | {name.upper() for name in settings["commands"]}
        names: tuple[str, ...] = settings["prefixes"]
        self._prefixes = {name.encode("utf-8", "surrogateescape"): name for name in names}
        self._any_prefix = tuple(self._prefixes)
        self._commands: dict[str, list[int]] = {}  # how many, and their bytes
        self._labels: dict[str, list[int]] = {}  # the same lists, by name as it comes
        self._writes: dict[bytes, int] = {}
        self._committed: dict[str, Any] = {}

    def open(self, context: SinkContext) -> str | None:
        """Take the counters up from where the last commit left them."""
        state = context.state or self._state()
        try:
            if state["version"] != _VERSION:
                raise ValueError
            commands = {str(name): [int(n), int(size)] for name, (n, size) in state["cmd"].items()}
            writes = {str(name): int(n) for name, n in state["prefix"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SinkError(
                "the counters of the checkpoint can't be read: they are of another sink or version",
                hint=f"to begin with 0: repltap sink reset {context.name}",
                passes=False,
            ) from None
        self._labels = {}
        self._commands = commands
        self._writes = {prefix: writes.get(name, 0) for prefix, name in self._prefixes.items()}
        self._committed = self._state()
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        """Count commands; what else there is has no part in it."""
        if not isinstance(records[0], Record):
            return
        labels, any_prefix = self._labels, self._any_prefix
        for record in records:
            assert isinstance(record, Record)
            counter = labels.get(record.cmd)
            if counter is None:
                counter = self._learn(record.cmd)
            counter[0] += 1
            counter[1] += record.offset_end - record.offset_start
            if any_prefix and record.key_positions:
                self._count_prefixes(record)

    def commit(self, place: str) -> Mapping[str, Any]:  # noqa: ARG002 - the caller keeps it
        """Have the counters kept with the place, and exported."""
        self._committed = self._state()
        return self._committed

    def close(self) -> None:
        """Forget what is not committed."""

    def samples(self) -> Sequence[Sample]:
        """Give the counters of the last commit."""
        found = []
        for name, (count, size) in self._committed.get("cmd", {}).items():
            label = {"command": name if name == OTHER else name.lower()}
            found.append(Sample("commands_total", "Commands in the stream.", label, count))
            found.append(
                Sample(
                    "command_bytes_total", "Bytes of the stream that commands took.", label, size
                )
            )
        for name, count in self._committed.get("prefix", {}).items():
            found.append(
                Sample(
                    "keyspace_writes_total",
                    "Commands with a key that begins so.",
                    {"prefix": name},
                    count,
                )
            )
        return found

    def _learn(self, cmd: str) -> list[int]:
        """Find the counter of a command whose name is new."""
        if len(self._labels) >= 10 * len(self._known):
            self._labels.clear()  # there is no end to unknown names
        counter = self._commands.setdefault(cmd if cmd in self._known else OTHER, [0, 0])
        self._labels[cmd] = counter
        return counter

    def _count_prefixes(self, record: Record) -> None:
        """Count a command once for each prefix that one of its keys has."""
        words = record.words
        keys = [
            words[position]
            for position in record.key_positions
            if words[position].startswith(self._any_prefix)
        ]
        if not keys:
            return
        for prefix in self._any_prefix:
            for key in keys:
                if key.startswith(prefix):
                    self._writes[prefix] += 1
                    break

    def _state(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "cmd": {name: list(counter) for name, counter in self._commands.items()},
            "prefix": {self._prefixes[prefix]: count for prefix, count in self._writes.items()},
        }
