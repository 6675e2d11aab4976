"""Stores with something in them, and what goes into them."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from repltap.config import StoreConfig
from repltap.intake import Intake
from repltap.position import Offset, ReplId
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.servers.waiting import PATIENCE_SECONDS

REPLID = ReplId("0123456789abcdef0123456789abcdef01234567")
OTHER = ReplId("f" * 40)
START = Offset(100)
"""Where the histories of these tests begin."""

HANG_SECONDS = PATIENCE_SECONDS
"""A hang guard, not an assertion about speed."""

_T = TypeVar("_T")


async def until(what: str, probe: Callable[[], _T]) -> _T:
    """Let the loop run until what `probe` returns is true, and return that."""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while not (value := probe()):
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"waited in vain for: {what}") from None
    return value


@contextmanager
def closed_gate() -> Iterator[threading.Event]:
    """Give a gate for a thread to wait at; it opens at the end, so that a failure can't hang."""
    gate = threading.Event()
    try:
        yield gate
    finally:
        gate.set()


def open_fds() -> set[str]:
    """List the open descriptors; two lists show a leak."""
    gc.collect()  # what tests before this one left behind
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue  # the one that listed them
    return found


def store_config(path: Path, **changes: object) -> StoreConfig:
    """A configuration for a directory of a test: no room kept free."""
    values: dict[str, object] = {"data_dir": path, "min_free_bytes": 0, **changes}
    return StoreConfig(**values)  # type: ignore[arg-type]


def open_store(
    path: Path, *, segment_bytes: int = 1 << 20, quota_bytes: int | None = None
) -> Store:
    """Open a store, by default with segments of a megabyte."""
    return Store.open(path, StoreOptions(segment_bytes=segment_bytes, quota_bytes=quota_bytes))


def command(*args: bytes) -> bytes:
    """One command as it stands in a stream."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in args)


SET = command(b"SET", b"key", b"value")


def add_snapshot(history: HistoryStore, data: bytes, *, offset: int = START) -> None:
    """Store a snapshot."""
    writer = history.snapshots.begin(Offset(offset))
    intake = Intake(history, writer, origin="a test")
    intake.begin(len(data))
    intake.write(data)
    intake.verify(0)
    intake.publish()


def hold(
    store: Store,
    stream: bytes = b"",
    *,
    replid: ReplId = REPLID,
    snapshot: bytes | None = None,
    offset: int = START,
) -> HistoryStore:
    """Publish a history that holds a snapshot (b"" for none) and stream bytes behind it."""
    history = store.begin_history(replid, Offset(offset), origin="a test")
    if snapshot != b"":
        add_snapshot(history, rdb() if snapshot is None else snapshot, offset=offset)
    if stream:
        history.journal.append(stream, 1)
    store.publish(history)
    return history


def held(
    directory: Path,
    stream: bytes = b"",
    *,
    replid: str = REPLID,
    snapshot: bytes | None = None,
    segment_bytes: int = 1 << 20,
) -> Path:
    """Leave a published history in the directory, as an earlier run would; return the directory."""
    store = open_store(directory, segment_bytes=segment_bytes)
    hold(store, stream, replid=ReplId(replid), snapshot=snapshot)
    store.close()
    return directory
