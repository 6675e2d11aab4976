"""Decoded records against what real servers executed, published as keys, and hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from types import TracebackType

import hiredis
import pytest

from repltap.delivery._hot.resp_form import RespForm
from repltap.delivery.commands import builtin_table, read_command_reply
from repltap.delivery.stream import RecordStream, StreamState
from repltap.quoting import quoted
from repltap.sink import Record
from tests.servers.client import Argument, Client
from tests.servers.find import Feature
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.raw import RawReplica
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAMS = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]

# What the load does not write; who does not know one answers an error.
ODDITIES: list[tuple[Argument, ...]] = [
    ("RPUSH", "by", 3, 1, 2),
    ("SORT", "by", "LIMIT", 0, 2, "STORE", "sorted", "ALPHA"),
    ("GEOADD", "places", 13.3, 38.1, "Palermo", 15, 37.5, "Catania"),
    ("GEORADIUS", "places", 15, 37, 200, "km", "STORE", "near"),
    ("GEORADIUSBYMEMBER", "places", "Palermo", 200, "km", "STOREDIST", "distances"),
    ("GEOSEARCHSTORE", "found", "places", "FROMMEMBER", "Palermo", "BYRADIUS", 200, "km"),
    ("ZADD", "z1", 1, "a", 2, "b"),
    ("ZUNIONSTORE", "z2", 2, "z1", "z1", "WEIGHTS", 1, 2),
    ("ZRANGESTORE", "z3", "z1", 0, -1),
    ("ZMPOP", 2, "z9", "z1", "MIN"),
    ("LMPOP", 1, "by", "LEFT"),
    ("COPY", "by", "copied", "DB", 3),
    ("MSETEX", 2, "m1", "1", "m2", "2", "EX", 1000),
    ("MSETNX", "n1", "1", "n2", "2"),
    ("XADD", "st", "1-1", "f", "v"),
    ("XGROUP", "CREATE", "st", "g", "$"),
    ("XGROUP", "SETID", "st", "g", "0"),
    ("XSETID", "st", "5-5"),
    ("SCRIPT", "LOAD", "return 1"),
    ("SPUBLISH", "shard", "text"),
    ("PFADD", "p", "a"),
    ("PFMERGE", "q"),
    ("SET", "volatile", "v", "PX", 1),
    ("HSET", "h", "f", "v", "g", "w"),
    ("HGETDEL", "h", "FIELDS", 1, "f"),
    ("SET", "\r\n", "*1\r\n$4\r\nPING\r\n"),
    ("SWAPDB", 0, 3),
    ("FUNCTION", "FLUSH"),
    ("FLUSHALL",),
]


class Capture:
    """What a master sends a replica, from a full sync on."""

    def __init__(self, master: Server) -> None:
        self.socket = RawReplica(master.port)
        self.socket.send(b"PSYNC ? -1\r\n")
        _, self.replid, start = self.socket.line().decode().split()
        self.socket.read(int(self.socket.line()[1:]))
        self.start = int(start)
        self.raw = b""

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.__exit__(kind, error, trace)

    def read(self, until: int) -> None:
        """Read the stream up to an offset."""
        self.raw += self.socket.read(until - self.start - len(self.raw))

    def decode(self, rng: random.Random) -> Iterator[tuple[list[Record], tuple[bytes, int]]]:
        """Decode it in pieces of any size, beginning again from a checkpoint now and then."""
        state, at = StreamState(self.start, 0), 0
        while True:
            stream = RecordStream(state, builtin_table(), source="m")
            for _ in range(20):
                size = rng.choice([1, 10, 100, 10_000, 70_000])
                yield stream.feed(self.raw[at : at + size], self.replid, 0), stream.window
                at += size
            if at >= len(self.raw):
                return
            state = stream.state()
            at = state.offset - self.start


def watch(monitor: Client, end: str) -> list[str]:
    """Read what MONITOR shows up to a line that ends so: the database and the words."""
    shown = []
    while True:
        line = monitor._read().decode("ascii")
        head, words = line.split("] ", 1)
        if words.endswith(end):
            return shown
        name = words.split('"')[1].upper()
        if name not in ("PING", "SELECT", "MULTI", "EXEC", "REPLCONF", "INFO"):
            shown.append(f"{head.split('[')[1].split()[0]} {words}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_records_are_what_a_replica_executes(lab: Lab, program: str) -> None:
    """The database and every word, as a replica shows MONITOR; the keys, as the master says."""
    master = lab.master(program, "master", repl_ping_replica_period=1)
    replica = lab.server(program, "replica", upstream=master)
    replica.wait_ready()
    replica.wait_link()
    with Capture(master) as capture, replica.client() as monitor, master.client() as client:
        monitor.call("MONITOR")
        Load(master, features=master.flavour.features, seed=7).write(300)
        client.pipeline(ODDITIES)
        wait_for("volatile is gone", lambda: client.call("DBSIZE") == 0)
        client.call("WAIT", 1, 1000)
        client.call("SET", "the", "end")
        capture.read(master.offset)
        expected = watch(monitor, '"the" "end"')
    batches = [batch for batch, _ in capture.decode(random.Random(3))]
    records = [record for batch in batches for record in batch]
    assert records[-1].words == [b"SET", b"the", b"end"]
    shown = [f"{r.db} {' '.join(map(quoted, r.words))}" for r in records[:-1]]
    assert shown == expected
    assert len(expected) > 400
    assert {r.db for r in records} >= {0, 3, 9}
    assert any(r.tx and not r.tx.last for r in records)
    assert_keys(master, records)


def assert_keys(master: Server, records: list[Record]) -> None:
    """The built-in table knows every command, and the keys that COMMAND GETKEYS names."""
    with master.client() as client:
        distinct = {tuple(r.words): r.keys for r in records if len(r.words) > 1}
        assert not any(r.keys for r in records if len(r.words) == 1)
        asked = [("COMMAND", "GETKEYS", *words) for words in distinct]
        for keys, reply, words in zip(
            distinct.values(), client.pipeline(asked), distinct, strict=True
        ):
            if isinstance(reply, hiredis.ReplyError):
                # The servers refuse to say it of a PFMERGE without sources, and execute it.
                lonely = words[0].upper() == b"PFMERGE" and len(words) == 2
                assert lonely or "no key arguments" in str(reply), (words, reply)
                reply = [words[1]] if lonely else []
            # A shard channel is not a key, although 7.0 to 8.2 give it as one.
            if words[0].upper() != b"SPUBLISH":
                assert sorted(keys) == sorted(reply), words
        told = client.call("COMMAND")
    table = builtin_table()
    extended = table.extended(told)
    for words in distinct:
        name = words[0].decode().upper()
        positions = table.find(name).key_positions(list(words))
        assert extended.find(name).key_positions(list(words)) == positions
    for name, _, groups in read_command_reply(told):
        assert all(name in table.categories[group] for group in groups), name


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_resp_form_makes_the_same_dataset(lab: Lab, program: str) -> None:
    """Executed by an empty server; and without PING and GETACK it is the stream itself."""
    master = lab.master(program, "master", repl_ping_replica_period=1)
    # Fields that expire would not agree on when.
    features = master.flavour.features - {Feature.HASH_TTL}
    with Capture(master) as capture:
        Load(master, features=features, seed=11).write(400)
        wait_for("nothing expires any more", lambda: not expiring(master))
        capture.read(master.offset)
    form = RespForm()
    written = [form.write(batch, *window) for batch, window in capture.decode(random.Random(5))]
    copy = lab.master(program, "copy")
    reader = hiredis.Reader()
    reader.feed(b"".join(written))
    with copy.client() as client:
        while commands := list(islice(iter(reader.gets, False), 200)):
            # MOVE and RENAME of a key that expired on its way are errors, as on a replica.
            client.pipeline(commands)
    assert copy.digest() == master.digest()


def expiring(master: Server) -> bool:
    """Tell whether a key, or a field, is about to expire, or has and was not deleted yet."""
    with master.client() as client:
        for db in (0, 3, 9, 12):
            client.call("SELECT", db)
            keys = client.call("KEYS", "*")
            if any(0 <= left < 60_000 for left in client.pipeline([("PTTL", k) for k in keys])):
                return True
            if client.call("DBSIZE") != len(keys):
                return True
            if Feature.HASH_TTL in master.flavour.features and any(
                _has_expiring_field(client, key) for key in keys
            ):
                return True
    return False


def _has_expiring_field(client: Client, key: bytes) -> bool:
    if client.call("TYPE", key) != b"hash":
        return False
    fields = client.call("HKEYS", key)
    left = client.call("HPTTL", key, "FIELDS", len(fields), *fields) if fields else []
    return client.call("HLEN", key) != len(fields) or any(0 <= ms < 60_000 for ms in left)
