"""A data directory with two histories in it, and ways to damage it."""

from __future__ import annotations

from pathlib import Path

from repltap.position import Offset
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import OTHER, add_snapshot, command

SECOND = 10**9
OPTIONS = StoreOptions(segment_bytes=1000, index_interval_bytes=100, index_interval_seconds=1000.0)
FIRST = Offset(1000)

COMMANDS = [
    command(b"SELECT", b"3"),
    *(command(b"SET", b"key:%d" % number, b"v" * 50) for number in range(30)),
]
STREAM = b"".join(COMMANDS)


def fill(path: Path) -> HistoryStore:
    """Store a history with a snapshot and `STREAM`, one command a second from second 1000 on."""
    store = Store.open(path, OPTIONS)
    history = store.begin_history(OTHER, FIRST, origin="10.0.0.1:6379")
    add_snapshot(history, rdb(), offset=FIRST)
    for second, one in enumerate(COMMANDS):
        history.journal.append(one, (1000 + second) * SECOND)
    store.publish(history)
    store.close()
    return history


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[position] ^= 4
    path.write_bytes(raw)
