"""Records of a snapshot, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from repltap.rdb.entries import Entry, Function, Item, Strings, expand
from repltap.sink import SnapshotRecord
from tests.delivery.wire import TIME_MS
from tests.stored import REPLID

OFFSET = 5000


def key(
    value: object,
    kind: str = "string",
    *,
    name: bytes = b"k",
    db: int = 0,
    part: int = 0,
    last: bool = True,
    expire_at_ms: int | None = None,
    length: int = 1,
    payload: bytes | None = None,
    ordinal: int = 0,
    **more: Any,
) -> SnapshotRecord:
    """Make the record of a key, or of a part of it."""
    entry = Entry(
        db, name, kind, "raw", value, expire_at_ms, None, None, part, last, length, 0, payload, 0
    )._replace(**more)  # type: ignore[arg-type]  # any value
    return of_entry(entry, ordinal)


def of_entry(entry: Entry, ordinal: int = 0) -> SnapshotRecord:
    """Make the record of an entry."""
    return SnapshotRecord(
        "master", REPLID, OFFSET, ordinal, entry.db, entry.key, entry.type, entry.value,
        entry.expire_at_ms, entry.part, entry.last, TIME_MS, None, False, entry,
    )  # type: ignore[arg-type]  # any value  # fmt: skip


def library(code: bytes, ordinal: int = 0) -> SnapshotRecord:
    """Make the record of a library of functions."""
    return SnapshotRecord(
        "master", REPLID, OFFSET, ordinal, None, None, "function", code, None, 0, True, TIME_MS,
        None, False, Function(code),
    )  # fmt: skip


def of_items(items: Iterable[Item]) -> Iterator[SnapshotRecord]:
    """Make the records of all that an RDB holds."""
    ordinal = 0
    for item in items:
        if isinstance(item, Function):
            yield library(item.code, ordinal)
            ordinal += 1
        found = expand(item) if isinstance(item, Strings) else [item]
        for entry in found:
            if isinstance(entry, Entry):
                yield of_entry(entry, ordinal)
                ordinal += 1
