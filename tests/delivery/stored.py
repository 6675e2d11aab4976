"""Stores for the tests of delivery: what a relay would have written, and what happens to it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from repltap.errors import StoreError
from repltap.position import Offset, ReplId
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.rdb.build import key, rdb, string, strings
from tests.stored import OTHER, REPLID, START, add_snapshot, command

SECOND = 10**9
THIRD = ReplId("a" * 40)
OPTIONS = StoreOptions(segment_bytes=2000, index_interval_bytes=1, index_interval_seconds=0.0)


def sets(*numbers: int, name: bytes = b"k") -> bytes:
    """Commands that can be told apart."""
    return b"".join(command(b"SET", b"%b:%d" % (name, n), b"v" * 20) for n in numbers)


def snapshot(*names: bytes, db: int = 0, stream_db: int = 0) -> bytes:
    """An RDB with string keys, a list in between, and the stream's database."""
    body = b"\xfa" + strings(b"repl-stream-db", b"%d" % stream_db) + b"\xfe" + bytes([db])
    for number, name in enumerate(names):
        if number % 3 == 2:
            body += key(1, name, bytes([2]) + strings(b"a", b"b"))  # a list
        else:
            body += key(0, name, string(b"value of " + name))
    return rdb(body)


_open: list[Stored] = []


def close_all() -> None:
    """End every relay that a test has left running: each holds a dozen descriptors."""
    while _open:
        # A test may have removed or damaged what closing makes durable.
        with suppress(StoreError, OSError):
            _open.pop().close()


class Stored:
    """A data directory that a relay uses.

    Args:
        path: Where.
        options: Segment and index sizes; every append gets an index record if not given.
    """

    def __init__(self, path: Path, options: StoreOptions = OPTIONS) -> None:
        self.path = path
        self.store = Store.open(path, options)
        self._time_ns = 1000 * SECOND
        _open.append(self)

    @property
    def history(self) -> HistoryStore:
        """The current history."""
        assert self.store.current is not None
        return self.store.current

    @property
    def end(self) -> int:
        """Where the journal ends."""
        return self.history.journal.end

    def begin(
        self,
        stream: bytes = b"",
        *,
        replid: ReplId = REPLID,
        offset: int = START,
        keys: tuple[bytes, ...] | None = (b"one", b"two", b"three", b"four"),
    ) -> Stored:
        """Begin a history with a snapshot of these keys, None for no snapshot."""
        history = self.store.begin_history(replid, Offset(offset), origin="a test")
        if keys is not None:
            add_snapshot(history, snapshot(*keys), offset=offset)
        self.store.publish(history)
        self.append(stream)
        return self

    def append(self, stream: bytes) -> Stored:
        """The master sends more; each command a second later."""
        if stream:
            self._time_ns += SECOND
            self.history.journal.append(stream, self._time_ns)
        return self

    def add_snapshot(self, *keys: bytes) -> Stored:
        """A snapshot of the present."""
        add_snapshot(self.history, snapshot(*keys), offset=self.end)
        return self

    def fail_over(self, replid: ReplId = OTHER, *, lost: int = 0) -> Stored:
        """Another master goes on, without the last `lost` bytes."""
        self.history.shift(replid, Offset(self.end - lost))
        return self

    def trim(self, keep_from: int) -> Stored:
        """Let go of the journal before an offset, as far as segments allow."""
        self.history.journal.trim(Offset(keep_from)).delete()
        return self

    def close(self) -> None:
        """The relay ends."""
        self.store.close()
