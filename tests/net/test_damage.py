"""One byte of the store is changed between two starts, any byte: no replica is ever sent it."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError
from repltap.net.downstream import Downstream
from repltap.protocol.downstream import Role
from tests.net.peers import FakeReplica
from tests.net.relay import Port, port
from tests.protocol.ways import rdb
from tests.servers.effort import FULL, generator
from tests.stored import REPLID, START, command, hold, open_store, until

STREAM = b"".join(command(b"SET", b"key:%d" % n, b"value" * (n % 7)) for n in range(60))
SEGMENT_BYTES = 1000
RDB = rdb()

_STRIDE = 5 if FULL else 13
"""Bytes between those that are changed: the whole takes too long each time."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a snapshot and some segments, all durable."""
    path = tmp_path_factory.mktemp("sound")
    made = open_store(path, segment_bytes=SEGMENT_BYTES)
    history = hold(made)
    for at in range(0, len(STREAM), 100):
        history.journal.append(STREAM[at : at + 100], at * 10**9)
        history.journal.flush_index(at * 10**9)
    job = history.journal.prepare_sync()
    job.run()
    history.journal.synced(job)
    made.close()
    return path


def files(store: Path) -> list[Path]:
    found = sorted((store / "histories").rglob("*.*"))
    return [path.relative_to(store) for path in found if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("suffix", [".seg", ".idx", ".rdb", ".json", ".mark"])
async def test_no_changed_byte_is_sent(tmp_path: Path, store: Path, suffix: str) -> None:
    """What is sent is what was stored; what can't be is refused, or held until there is better."""
    chosen = [name for name in files(store) if name.suffix == suffix]
    assert chosen
    rng = generator(suffix)
    outcomes: Counter[str] = Counter()
    for name in chosen:
        sound = (store / name).read_bytes()
        for at in range(rng.randrange(_STRIDE), len(sound), _STRIDE):
            copy = tmp_path / "copy"
            shutil.copytree(store, copy)
            changed = bytearray(sound)
            changed[at] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(changed)
            outcomes.update(await what_is_served(copy))
            shutil.rmtree(copy)
    assert not outcomes["wrong"]
    # The mark only tells a power failure from damage: there is nothing else wrong here.
    assert suffix == ".mark" or outcomes["whole"] < outcomes.total()


async def what_is_served(path: Path) -> list[str]:
    """Ask for a part and for everything."""
    try:
        async with port(path, segment_bytes=SEGMENT_BYTES) as it:
            with await it.replica() as part, await it.replica() as full:
                await part.ask(REPLID, START)
                await full.ask()
                return [await outcome(it, part), await outcome(it, full)]
    except CorruptStoreError:
        return ["refused"]


async def outcome(it: Port, replica: FakeReplica) -> str:
    """Read until nothing more will come, and say what came."""
    ended = False

    async def read() -> None:
        nonlocal ended
        while await replica._more():
            pass
        ended = True

    reading = asyncio.get_running_loop().create_task(read())
    address = "{}:{}".format(*replica.sock.getsockname())
    await until("an end", lambda: ended or is_still(it.downstream, address))
    reading.cancel()
    await asyncio.wait([reading])
    with suppress(BlockingIOError, ConnectionError):  # on loopback, what was sent is here
        while data := replica.sock.recv(1 << 16):
            replica._buffer += data
    return judge(bytes(replica._buffer))


def is_still(downstream: Downstream, address: str) -> bool:
    """It is held, or has been sent all there is.

    Held while its snapshot is checked is not yet an end: it may be sent that one.
    """
    if downstream.feed.shelf.verifying or downstream._reconsider_queued:
        return False
    for session in downstream._sessions.values():
        if session.address == address:
            if session.protocol.role is Role.WAITING:
                return session.wait is not None and session.wait.held
            return session.protocol.role is Role.STREAM and not session.behind
    return False  # its end is on the way


def judge(data: bytes) -> str:
    data = data.lstrip(b"\n")
    if not data:
        return "held"
    line, _, rest = data.partition(b"\r\n")
    if line.startswith(b"+CONTINUE"):
        return prefix(rest, STREAM)
    assert line == b"+FULLRESYNC %b %d" % (REPLID.encode(), START), line
    size, _, rest = rest.partition(b"\r\n")
    assert size == b"$%d" % len(RDB), size
    return prefix(rest, RDB + STREAM)


def prefix(got: bytes, wanted: bytes) -> str:
    if not wanted.startswith(got):
        return "wrong"
    return "whole" if got == wanted else "part"
