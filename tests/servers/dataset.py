"""Whether two servers hold the same data at the same offset."""

from __future__ import annotations

from collections.abc import Iterator

import hiredis

from tests.servers.client import Client
from tests.servers.find import Feature
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

_READERS: dict[bytes, tuple[str, ...]] = {
    b"string": ("GET", "{key}"),
    b"list": ("LRANGE", "{key}", "0", "-1"),
    b"set": ("SMEMBERS", "{key}"),
    b"zset": ("ZRANGE", "{key}", "0", "-1", "WITHSCORES"),
    b"hash": ("HGETALL", "{key}"),
    b"stream": ("XRANGE", "{key}", "-", "+"),
}


def wait_same(master: Server, *replicas: Server, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the replicas hold the master's data at the master's offset.

    Nobody may write to the master meanwhile.

    Raises:
        AssertionError: They did not come together; names the keys that differ.
    """
    for replica in replicas:
        try:
            wait_for(
                f"{replica.name} is equal to {master.name}",
                lambda r=replica: _is_same(master, r),  # type: ignore[misc]
                timeout_seconds,
            )
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{_difference(master, replica)}") from None


def _is_same(master: Server, replica: Server) -> bool:
    try:
        return (
            replica.link_up
            and replica.offset == master.offset
            and replica.digest() == master.digest()
            and _same_functions(replica, master)
            and replica.offset == master.offset
        )
    except hiredis.ReplyError:  # loading
        return False


def _same_functions(*servers: Server) -> bool:
    """Compare the libraries, which the digest does not cover."""
    if not all(Feature.FUNCTIONS in server.flavour.features for server in servers):
        return True
    listings = [server.call("FUNCTION", "LIST", "WITHCODE") for server in servers]
    texts = [sorted(library[-1] for library in listing) for listing in listings]
    return all(text == texts[0] for text in texts)


def _difference(master: Server, replica: Server) -> str:
    """Say how two servers differ; for people, so whatever fails is part of the answer."""
    try:
        lines = [
            f"{server.name}: offset {server.offset}, link up {server.link_up}, "
            f"digest {server.digest()}"
            for server in (master, replica)
        ]
        ours, theirs = dict(keys(master)), dict(keys(replica))
        names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
        lines.append(f"{len(ours)} and {len(theirs)} keys, {len(names)} differ")
        lines += [
            f"  {name}: {ours.get(name)!r:.200} != {theirs.get(name)!r:.200}" for name in names[:8]
        ]
    except (OSError, hiredis.ReplyError) as exc:
        lines = [f"no comparison: {exc!r}"]
    return "\n".join(lines)


def keys(server: Server) -> Iterator[tuple[tuple[int, bytes], object]]:
    """Yield each key, as (database, name), with a value that compares across versions."""
    with server.client() as client:
        spaces = [name for name in server.info("keyspace") if name.startswith("db")]
        for database in (int(name[2:]) for name in spaces):
            client.call("SELECT", database)
            cursor = b"0"
            while True:
                cursor, names = client.call("SCAN", cursor, "COUNT", 500)
                for name in names:
                    yield (database, name), _value(client, name)
                if cursor == b"0":
                    break


def _value(client: Client, key: bytes) -> object:
    kind = client.call("TYPE", key)
    command = _READERS.get(kind)
    if command is None:
        return kind
    value = client.call(*(key if part == "{key}" else part for part in command))
    has_ttl = client.call("PTTL", key) > 0
    if kind == b"hash":
        return kind, has_ttl, dict(zip(value[::2], value[1::2], strict=True))
    if kind == b"set":
        return kind, has_ttl, frozenset(value)
    return kind, has_ttl, value
