"""Random lives of a master and its relay, for sinks to follow; and what a sink must end with."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from repltap.position import ReplId
from repltap.sink import AnyRecord, Kind, Notice, Record
from repltap.store.options import StoreOptions
from tests.delivery.stored import Stored
from tests.rdb.build import key, rdb, string, strings
from tests.stored import START, add_snapshot, command

Data = dict[tuple[int, bytes], bytes]
_OPTIONS = StoreOptions(segment_bytes=600, index_interval_bytes=1, index_interval_seconds=0.0)


class World:
    """A master with a dataset, and the relay that stores what it sends.

    Attributes:
        data: What the master holds.
        log: What has happened, for people.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stored = Stored(path, _OPTIONS)
        self.data: Data = {}
        self.log: list[str] = []
        self._values = 0
        self._db = 0
        self._past: list[tuple[int, Data]] = []  # at command boundaries of this history
        self.full_resync()

    def act(self) -> None:
        """Let something happen."""
        acts = [self.write] * 8 + [self.transaction, self.torn] * 2
        acts += [self.snapshot, self.fail_over, self.fail_over, self.full_resync, self.trim]
        act = self.rng.choice(acts)
        self.log.append(act.__name__)
        act()

    def write(self) -> None:
        """The master executes some commands."""
        for _ in range(self.rng.randrange(1, 6)):
            self._append(self._set())
            self._past.append((self.stored.end, dict(self.data)))

    def transaction(self) -> None:
        """It executes some at once."""
        parts = [self._select(), command(b"MULTI")]
        parts += [self._set(select=False) for _ in range(self.rng.randrange(1, 4))]
        self._append(b"".join([*parts, command(b"EXEC"), command(b"PING")]))
        self._past.append((self.stored.end, dict(self.data)))

    def torn(self) -> None:
        """A command comes in two pieces; a worker may look in between."""
        raw = self._set()
        cut = self.rng.randrange(len(raw))
        self._append(raw[:cut])
        self.between()
        self._append(raw[cut:])
        self._past.append((self.stored.end, dict(self.data)))

    def between(self) -> None:
        """Replaced by who wants to look."""

    def snapshot(self) -> None:
        """The relay stores a snapshot of the present."""
        add_snapshot(self.stored.history, self._rdb(), offset=self.stored.end)

    def fail_over(self) -> None:
        """A replica is promoted; it may lack what came last."""
        lost = min(self.rng.choice([0, 0, 1, 2, 5]), len(self._past) - 1)
        del self._past[len(self._past) - lost :]
        offset, data = self._past[-1]
        if offset < self.stored.history.journal.start:
            return self.full_resync()
        self.data = dict(data)
        self.stored.fail_over(self._replid(), lost=self.stored.end - offset)
        self._db = -1  # the new master selects anew
        return None

    def full_resync(self) -> None:
        """A master that nobody knows, with other data, or with the same."""
        if self.rng.random() < 0.5:
            self.data = {}
        old = self.stored.store.current
        history = self.stored.store.begin_history(self._replid(), START, origin="a test")
        self._db = 0
        add_snapshot(history, self._rdb(), offset=START)
        self.stored.store.publish(history)
        self._past = [(START, dict(self.data))]
        if old is not None and self.rng.random() < 0.3:
            self.stored.store.discard(old)

    def trim(self) -> None:
        """The journal is let go up to a newer snapshot."""
        self.snapshot()
        self.write()
        self.stored.trim(self.stored.end - self.rng.randrange(300))
        start = self.stored.history.journal.start
        self._past = [past for past in self._past if past[0] >= start]

    def _append(self, raw: bytes) -> None:
        self.stored.append(raw)

    def _set(self, *, select: bool = True) -> bytes:
        name = b"k:%d" % self.rng.randrange(12)
        raw = self._select() if select else b""
        self._values += 1
        value = b"%d" % self._values
        self.data[self._db, name] = value
        return raw + command(b"SET", name, value)

    def _select(self) -> bytes:
        db = self.rng.choice([0, 0, 0, 5])
        if db == self._db:
            return b""
        self._db = db
        return command(b"SELECT", b"%d" % db)

    def _replid(self) -> ReplId:
        return ReplId(f"{self.rng.getrandbits(160):040x}")

    def _rdb(self) -> bytes:
        body = b"\xfa" + strings(b"repl-stream-db", b"%d" % max(self._db, 0))
        for db in sorted({db for db, _ in self.data}):
            body += bytes([0xFE, db])
            for (at, name), value in self.data.items():
                if at == db:
                    body += key(0, name, string(value))
        return rdb(body)


def executed(records: Iterable[AnyRecord]) -> Data:
    """Give what somebody holds who has executed these."""
    data: Data = {}
    for record in records:
        if isinstance(record, Notice):
            if record.kind is Kind.SNAPSHOT_BEGIN:
                data = {}
        elif isinstance(record, Record):
            assert record.db is not None
            data[record.db, record.words[1]] = record.words[2]
        else:
            assert record.db is not None
            assert record.key is not None
            assert isinstance(record.value, bytes)
            data[record.db, record.key] = record.value
    return data
