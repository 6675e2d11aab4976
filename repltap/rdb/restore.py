"""Values in their serialized form: what DUMP returns and RESTORE takes.

The type byte and the value as they are in an RDB, 2 bytes LE RDB version, 8 bytes LE CRC-64 of all
before it (cluster.c `createDumpPayload`). A server refuses a version above its own, whatever the
value is: the lowest that has the type is written, so that an older server takes what it knows.
"""

from __future__ import annotations

import anycrc

from repltap.rdb._hot.values import TYPES
from repltap.rdb.entries import Aux, Database, Entry, Function, Header, Item
from repltap.rdb.losses import Losses
from repltap.rdb.resp import command, number

_crc64 = anycrc.Model("CRC64-REDIS")


def dump_payload(serialized: bytes, version: int) -> bytes:
    """Make what DUMP would return.

    Args:
        serialized: Type byte and value, as `Entry.payload` has them.
        version: The RDB version that it says it is of.
    """
    body = serialized + version.to_bytes(2, "little")
    return body + _crc64.calc(body).to_bytes(8, "little")  # type: ignore[no-any-return]


def restore_command(vendor: str, entry: Entry) -> bytes:
    """Make the RESTORE of an entry that carries its payload; an existing key is replaced."""
    assert entry.payload is not None
    since = TYPES[vendor][entry.payload[0]].since
    expire = 0 if entry.expire_at_ms is None else max(1, entry.expire_at_ms)
    words = [b"RESTORE", entry.key, number(expire), dump_payload(entry.payload, since)]
    words += [b"REPLACE", b"ABSTTL"]
    if entry.idle_seconds is not None:
        words += [b"IDLETIME", number(entry.idle_seconds)]
    if entry.frequency is not None:
        words += [b"FREQ", number(entry.frequency)]
    return command(*words)


class RestoreWriter:
    """Writes RESTORE commands: exact, also in what no other command can set.

    The reader must be told not to give values and to give the payloads of all types.

    Attributes:
        losses: What RESTORE can't carry.
    """

    def __init__(self) -> None:
        self.losses = Losses()
        self._vendor = ""

    def write(self, item: Item) -> bytes:
        """Write an item; b"" where it needs no command."""
        if isinstance(item, Entry):
            if item.metadata:
                self.losses.add("metadata of modules on keys")
            return restore_command(self._vendor, item)
        if isinstance(item, Header):
            self._vendor = item.vendor
        elif isinstance(item, Database):
            return command(b"SELECT", number(item.db))
        elif isinstance(item, Function):
            return command(b"FUNCTION", b"LOAD", b"REPLACE", item.code)
        elif not isinstance(item, Aux):
            self.losses.see(item)
        return b""
