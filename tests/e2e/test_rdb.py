"""The RDB reader and its writers against the servers' own files: key by key, and back again."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import rdbtools

from repltap.rdb import callbacks
from repltap.rdb._hot.stream import entries_of
from repltap.rdb.callbacks import drive
from repltap.rdb.entries import (
    Entry,
    Fields,
    Function,
    Header,
    Members,
    Scores,
    StreamGroup,
    StreamNode,
    StreamSummary,
    Strings,
    expand,
)
from repltap.rdb.memory import MemoryReport
from repltap.rdb.reader import RdbReader
from repltap.rdb.restore import RestoreWriter, dump_payload
from repltap.rdb.write_resp import PAYLOADS, RespWriter
from tests.servers.client import Client
from tests.servers.find import Feature
from tests.servers.lab import Lab
from tests.servers.server import Server
from tests.servers.shapes import fill

SERVERS = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]
TYPES = ("string", "list", "set", "zset", "hash", "stream", "module")
FIXTURES = Path(__file__).parent.parent / "rdb" / "data"


@pytest.fixture
def saved(lab: Lab, request: pytest.FixtureRequest) -> tuple[Server, Path]:
    """Give a server with every shape, and the file that it saved."""
    name, compression = request.param
    options = {"rdbcompression": compression, "databases": 16}
    master = lab.master(name, maxmemory_policy="allkeys-lfu", **options)
    with master.client() as client:
        fill(client, master.flavour)
        client.call("SAVE")
    return master, master.directory / "dump.rdb"


every_server = pytest.mark.parametrize(
    "saved", [(name, "yes") for name in SERVERS] + [("redis-7.0", "no")], indirect=True, ids=str
)


@every_server
def test_every_key_is_what_its_server_says(saved: tuple[Server, Path]) -> None:
    compare(*saved)


@pytest.mark.parametrize(
    ("fixture", "program"),
    [
        ("full-r62", "redis-6.2"),
        ("full-r62", "valkey-9.1"),
        ("full-r70", "redis-7.0"),
        ("full-r80", "redis-8.2"),
        ("full-r82", "redis-8.2"),
        ("full-v81", "valkey-8.1"),
        ("full-v91", "valkey-9.1"),
    ],
)
def test_fixtures_are_what_a_server_loads(lab: Lab, fixture: str, program: str) -> None:
    server = lab.server(program, start=False)
    server.directory.mkdir(exist_ok=True)
    path = server.directory / "dump.rdb"
    shutil.copy(FIXTURES / f"{fixture}.rdb", path)
    server.start()
    server.wait_ready()
    with server.client() as client:
        client.call("SAVE")  # what this version makes of it
    compare(server, path)


@pytest.mark.parametrize("program", ["redis-8.2", "valkey-9.1"])
def test_rdbtools_callbacks_say_what_they_say_of_an_old_file(program: str, lab: Lab) -> None:
    """Each server's file through the adapter, against Redis 6.2's through rdbtools' own parser."""
    found = []
    for name in ("redis-6.2", program):
        master = lab.master(name, f"of-{len(found)}")
        with master.client() as client:
            fill(client, master.flavour)
            client.call("SAVE")
        out = io.BytesIO()
        path = master.directory / "dump.rdb"
        if not found:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                rdbtools.RdbParser(rdbtools.JSONCallback(out)).parse(str(path))
        else:
            drive(rdbtools.JSONCallback(out), reading(path, payloads=callbacks.PAYLOADS))  # type: ignore[arg-type]
        databases = json.loads(out.getvalue())
        databases[0] = {
            key: sorted(value)
            if key.startswith("set:")
            else {member: float(score) for member, score in value.items()}  # -0 is 0 since 7.0
            if key.startswith("zset:")
            else value
            for key, value in databases[0].items()
            if not key.startswith("hash:expiring:")
        }
        found.append(databases)
    assert found[1] == found[0]
    assert len(found[0][0]) > 100


@every_server
def test_commands_rebuild_the_keys(saved: tuple[Server, Path], lab: Lab) -> None:
    master, path = saved
    copy = lab.master(master.flavour, "copy")
    writer = RespWriter()
    reader = reading(path, payloads=PAYLOADS)
    replay(copy, b"".join(map(writer.write, reader)))
    assert not writer.losses.counts
    assert copy.digest() == master.digest()
    compare_groups(master, copy)
    compare_functions(master, copy)


@every_server
def test_restore_rebuilds_the_keys(saved: tuple[Server, Path], lab: Lab) -> None:
    master, path = saved
    copy = lab.master(master.flavour, "copy", maxmemory_policy="allkeys-lfu")
    writer = RestoreWriter()
    reader = reading(path, payloads=TYPES, values=False)
    replay(copy, b"".join(map(writer.write, reader)))
    assert not writer.losses.counts
    assert copy.digest() == master.digest()
    compare_groups(master, copy, exact=True)
    compare_functions(master, copy)
    with master.client() as one, copy.client() as other:
        for key in one.call("KEYS", "*"):
            for words in (("OBJECT", "ENCODING", key), ("TYPE", key)):
                assert one.call(*words) == other.call(*words), key
            assert abs(one.call("PTTL", key) - other.call("PTTL", key)) < 10_000


@pytest.mark.parametrize(
    ("program", "least", "most"),
    [("redis-7.0", 0.66, 1.5), ("redis-8.2", 0.66, 3.1), ("valkey-9.1", 0.66, 4.1)],
)
def test_memory_is_about_what_the_server_says(
    program: str, least: float, most: float, lab: Lab
) -> None:
    """An estimate for Redis 7: key by key within a third; later servers take less for small keys.

    Found so: a list's single large elements were not counted where packed ones stood beside them.
    """
    master = lab.master(program)
    with master.client() as client:
        fill(client, master.flavour)
        client.call("DEBUG", "RELOAD")  # what is just written has room to grow
        report = MemoryReport(0)
        items = reading(master.directory / "dump.rdb")
        sizes = [size for item in items for size in report.add(item)]  # type: ignore[arg-type]
        said = estimated = 0
        for size in sizes:
            client.call("SELECT", size.db)
            used = client.call("MEMORY", "USAGE", size.key, "SAMPLES", 0)
            said += used
            estimated += size.memory_bytes
            assert least * used - 50 < size.memory_bytes < most * used + 50, (size, used)
    assert 0.9 < estimated / said < (1.1 if program == "redis-7.0" else 1.3)


def reading(path: Path, **options: object) -> Iterator[object]:
    with path.open("rb") as file:
        yield from RdbReader(file.read, **options)  # type: ignore[arg-type]


def replay(server: Server, commands: bytes) -> None:
    done = subprocess.run(
        ["redis-cli", "-p", str(server.port), "--pipe"],
        input=commands,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"errors: 0," in done.stdout, done.stdout[-2000:]


def compare(server: Server, path: Path) -> None:
    """Compare a file with the server that wrote it, or has loaded it."""
    version = 0
    sizes: dict[int, int] = {}
    parts: list[Entry] = []
    with server.client() as client:
        for item in reading(path, payloads=TYPES):
            if isinstance(item, Header):
                version = item.version
            elif isinstance(item, Entry):
                parts.append(item)
                if item.last:
                    sizes[item.db] = sizes.get(item.db, 0) + 1
                    compare_key(client, parts, version)
                    parts = []
        for db, size in sizes.items():
            client.call("SELECT", db)
            assert client.call("DBSIZE") == size
        assert len([n for n in server.info("keyspace") if n.startswith("db")]) == len(sizes)
    # The quick way of strings, against the slow one.
    slow = [plain(one) for one in reading(path, payloads=TYPES) if isinstance(one, Entry)]
    quick = []
    for item in reading(path):
        if isinstance(item, Strings):
            quick += [plain(one)[:8] for one in expand(item)]
        elif isinstance(item, Entry):
            quick.append(plain(item)[:8])
    without_attributes = [one[:8] for one in slow]
    assert quick == without_attributes


def plain(entry: Entry) -> tuple[object, ...]:
    return (
        entry.db, entry.key, entry.type, entry.part, entry.last, entry.expire_at_ms, entry.length,
        strip(entry.value), entry.encoding,
    )  # fmt: skip


def strip(value: object) -> object:
    return value[:2] if isinstance(value, StreamNode) else value


def compare_key(client: Client, parts: list[Entry], version: int) -> None:
    entry = parts[-1]
    key = entry.key
    assert [part.part for part in parts] == list(range(len(parts)))
    client.call("SELECT", entry.db)
    assert client.call("TYPE", key).decode() == entry.type
    assert entry.payload is not None
    assert client.call("DUMP", key) == dump_payload(entry.payload, version), key
    remaining = client.call("PTTL", key)
    if entry.expire_at_ms is None:
        assert remaining == -1
    else:
        now = client.call("TIME")
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        assert abs(remaining + now_ms - entry.expire_at_ms) < 10_000
    value = [part.value for part in parts]
    match entry.type:
        case "string":
            assert client.call("GET", key) == b"".join(
                one for one in value if isinstance(one, bytes)
            )
        case "list":
            assert client.call("LRANGE", key, 0, -1) == members(value)
        case "set":
            found = members(value)
            assert sorted(client.call("SMEMBERS", key)) == sorted(found)
        case "zset":
            scores = [pair for one in value if isinstance(one, Scores) for pair in one.items]
            answer = client.call("ZRANGE", key, 0, -1, "WITHSCORES")
            expected = {m: float(s) for m, s in zip(answer[::2], answer[1::2], strict=True)}
            assert dict(scores) == expected
            assert len(scores) == len(expected)
        case "hash":
            compare_hash(
                client, key, [f for one in value if isinstance(one, Fields) for f in one.items]
            )
        case "stream":
            compare_stream(client, key, value)


def members(value: list[object]) -> list[bytes]:
    return [item for one in value if isinstance(one, Members) for item in one.items]


def compare_hash(client: Client, key: bytes, fields: list[tuple[bytes, bytes, int | None]]) -> None:
    answer = client.call("HGETALL", key)
    expected = dict(zip(answer[::2], answer[1::2], strict=True))
    assert {field: value for field, value, _ in fields} == expected
    assert len(fields) == len(expected)
    expiring = [(field, time) for field, _, time in fields if time is not None]
    assert bool(expiring) == key.startswith((b"hash:expiring", b"hx", b"hy"))
    for field, time in expiring:
        assert client.call("HPEXPIRETIME", key, "FIELDS", 1, field) == [time]


def compare_stream(client: Client, key: bytes, value: list[object]) -> None:
    entries = [one for node in value if isinstance(node, StreamNode) for one in entries_of(node)]
    found = [[b"%d-%d" % one, fields] for one, fields in entries]
    assert client.call("XRANGE", key, "-", "+") == found
    (summary,) = [one for one in value if isinstance(one, StreamSummary)]
    info = mapping(client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    assert info[b"length"] == summary.length == len(entries)
    assert info[b"last-generated-id"] == b"%d-%d" % summary.last
    if summary.first is not None and summary.max_deleted is not None:
        assert info[b"recorded-first-entry-id"] == b"%d-%d" % summary.first
        assert info[b"max-deleted-entry-id"] == b"%d-%d" % summary.max_deleted
        assert info[b"entries-added"] == summary.entries_added
    groups = [one for one in value if isinstance(one, StreamGroup)]
    described = [mapping(one) for one in info[b"groups"]]
    assert [one[b"name"] for one in described] == [group.name for group in groups]
    for group, known in zip(groups, described, strict=True):
        assert known[b"last-delivered-id"] == b"%d-%d" % group.last
        if group.entries_read is not None:
            assert (known[b"entries-read"] or -1) == (group.entries_read or -1)
        owners = {one: c.name for c in group.consumers for one in c.pending}
        pending = [
            [b"%d-%d" % one, owners[one], time, count]
            for one, (time, count) in group.pending.items()
        ]
        assert known[b"pending" if b"pending" in known else b"pel"] == pending
        consumers = [mapping(one) for one in known[b"consumers"]]
        assert [(c[b"name"], c[b"seen-time"], c.get(b"active-time")) for c in consumers] == [
            (c.name, c.seen_ms, c.active_ms) for c in group.consumers
        ]


def mapping(pairs: list[object]) -> dict[object, object]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def compare_groups(
    master: Server, copy: Server, *, exact: bool = False, keys: str = "stream:*"
) -> None:
    """Compare the groups of streams, which the digest does not cover."""
    with master.client() as one, copy.client() as other:
        for key in one.call("KEYS", keys):
            words = ("XINFO", "STREAM", key, "FULL", "COUNT", 0)
            expected, found = (mapping(client.call(*words)) for client in (one, other))
            for info in (expected, found):
                for unstable in (b"radix-tree-keys", b"radix-tree-nodes"):
                    info.pop(unstable)
                if not exact:
                    info[b"groups"] = [group(known) for known in info[b"groups"]]  # type: ignore[attr-defined]
            assert found == expected, key


def group(known: list[object]) -> dict[object, object]:
    """Leave out what no command can set: when a consumer was seen."""
    info = mapping(known)
    consumers = [mapping(one) for one in info[b"consumers"]]  # type: ignore[attr-defined]
    info[b"consumers"] = [
        (c[b"name"], c[b"pending" if b"pending" in c else b"pel"]) for c in consumers
    ]
    return info


def compare_functions(master: Server, copy: Server) -> None:
    if Feature.FUNCTIONS in master.flavour.features:
        words = ("FUNCTION", "LIST", "WITHCODE")
        assert sorted(copy.call(*words)) == sorted(master.call(*words))
        assert master.call(*words)


def test_the_library_is_read(lab: Lab) -> None:
    master = lab.master("redis-7.0")
    with master.client() as client:
        fill(client, master.flavour)
        client.call("SAVE")
    (library,) = [
        one for one in reading(master.directory / "dump.rdb") if isinstance(one, Function)
    ]
    assert library.code.startswith(b"#!lua name=shapes\n")
