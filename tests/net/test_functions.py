"""The functions of a stored snapshot, read in a thread."""

from pathlib import Path

import pytest

from repltap.errors import ReplTapError
from repltap.net.functions import StoredFunctions
from repltap.store.snapshots import Snapshot
from tests.net.relay import port
from tests.rdb.build import key, rdb, string
from tests.stored import START, hold, open_store, until

CODE = b"#!lua name=one\n"
WHOLE = rdb(b"\xf5" + string(CODE) + b"\xfe\x00" + key(0, b"k", string(b"v")))


def stored(path: Path) -> Snapshot:
    store = open_store(path)
    snapshot = hold(store, snapshot=WHOLE).snapshots.all[0]
    store.close()
    return snapshot


async def test_they_are_there_when_they_have_been_read(tmp_path: Path) -> None:
    snapshot = stored(tmp_path)
    told: list[bool] = []
    functions = StoredFunctions(lambda: told.append(True))
    assert functions.of(snapshot) is None
    assert functions.of(snapshot) is None  # it is being read already
    await until("they are read", lambda: told)
    found = functions.of(snapshot)
    assert found is not None
    assert found.startswith(b"REDIS")
    assert CODE in found
    assert functions.of(snapshot) is None  # who asks later has them read again
    await until("they are read again", lambda: len(told) == 2)


async def test_a_snapshot_that_is_gone(tmp_path: Path) -> None:
    snapshot = stored(tmp_path)
    snapshot.path.unlink()
    told: list[bool] = []
    functions = StoredFunctions(lambda: told.append(True))
    assert functions.of(snapshot) is None
    await until("it was looked for", lambda: told)
    with pytest.raises(ReplTapError, match="has been removed"):
        functions.of(snapshot)


async def test_a_client_gets_them(tmp_path: Path) -> None:
    stored(tmp_path)
    async with port(tmp_path) as it:
        with await it.replica() as client:
            await client.ask(None, 0, b"capa eof", b"rdb-only 1", b"rdb-filter-only functions")
            _, offset, body = await client.snapshot()
            assert offset == START
            assert CODE in body
            assert body.endswith(b"\xff" + bytes(8))
            assert it.service.full == 1


async def test_a_client_is_told_when_they_can_not_be_read(tmp_path: Path) -> None:
    snapshot = stored(tmp_path)
    async with port(tmp_path) as it:
        await until("the snapshot was checked", lambda: it.feed.shelf.newest(lambda _: True))
        snapshot.path.write_bytes(b"nonsense")
        with await it.replica() as client:
            await client.ask(None, 0, b"capa eof", b"rdb-only 1", b"rdb-filter-only functions")
            line = await client.line()
            assert line.startswith(b"-ERR the functions of the snapshot can't be read")
