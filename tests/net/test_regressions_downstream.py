"""Faults of the port and its sessions, each with the test that shows it mended.

All were found by driving the shells with scripted peers; a line says which script it was.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from repltap.net import connection as connection_module
from repltap.net import downstream as downstream_module
from repltap.net import serve as serve_module
from repltap.position import Offset
from repltap.protocol.downstream import Role
from repltap.status.replicas import ReplicaState
from tests.net.relay import port
from tests.protocol.ways import rdb
from tests.stored import HANG_SECONDS, OTHER, REPLID, SET, START, held, until

ARRIVING = rdb(bytes(100))
LARGE_ECHO = b"*2\r\n$4\r\nECHO\r\n$20000\r\n%b\r\n" % (b"x" * 20_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET, segment_bytes=1000)


def refuse_files(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Let files of this kind not be opened for reading: the process has too many open."""
    real = os.open

    def limited(name: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(name).endswith(suffix) and not flags & os.O_RDWR:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", limited)


def no_copy(_fd: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


# -- too many open files ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["segment", "snapshot", "arriving snapshot"])
async def test_who_can_not_be_sent_a_file_is_granted_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Found by refusing file descriptors: the replica had its grant, and never a byte more."""
    async with port(path) as it:
        with await it.replica() as replica:
            if what == "segment":
                refuse_files(monkeypatch, ".seg")
                await replica.ask(REPLID, START)
            elif what == "snapshot":
                with await it.replica() as first:  # which has it checked
                    await first.ask()
                    await first.snapshot()
                await until("its end", lambda: len(it.sessions) == 1)
                refuse_files(monkeypatch, ".rdb")
                await replica.ask()
            else:
                intake = await it.feed.begin_intake(OTHER, Offset(500), origin="a test")
                intake.begin(1000)
                intake.write(ARRIVING)
                monkeypatch.setattr(os, "dup", no_copy)
                await replica.ask()
            assert await replica.rest() == b""
            assert [gone.reason for gone in it.downstream.departures.recent][:1] == ["store_error"]
            monkeypatch.undo()


@pytest.mark.parametrize("by", ["a change", "the tick"])
async def test_who_was_held_and_can_not_be_sent_a_file_is_granted_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Found by refusing file descriptors: there the error ended the port as well."""
    tick_seconds = 0.01 if by == "the tick" else 100
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", tick_seconds)
    async with port(path) as it:  # a part that dies fails the test at its end
        it.feed.shifting = True
        with await it.replica() as replica:
            await replica.ask(REPLID, START)
            await replica.newline()
            refuse_files(monkeypatch, ".seg")
            it.feed.shifting = False
            if by == "a change":
                it.feed.changed()
            assert (await replica.rest()).strip() == b""
            monkeypatch.undo()


# -- output that is not read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes", [LARGE_ECHO * 300, b"INFO\r\n" * 100_000], ids=["ECHO", "INFO"]
)
async def test_time_adds_no_answers_for_who_does_not_read(path: Path, request_bytes: bytes) -> None:
    """Found by a client that never reads: each tick answered one more of its commands."""
    async with port(path) as it:
        with await it.replica(receive_bytes=4096) as client:
            sending = asyncio.get_running_loop().create_task(client.send(request_bytes))
            session = (await until("the session", lambda: it.sessions))[0]
            await until("the congestion", lambda: session.connection.congested)
            before = session.output_buffered_bytes
            for _ in range(200):
                session.tick()
            assert session.output_buffered_bytes == before
            sending.cancel()
            await asyncio.wait([sending])


async def test_who_has_to_go_is_granted_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by noise behind a PSYNC ahead and unread answers: its full sync ended the relay."""
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)
    # However long the test takes: it waits for the journal, and then may read its answers.
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 2 * HANG_SECONDS)
    monkeypatch.setattr(connection_module, "LINGER_SECONDS", 2 * HANG_SECONDS)
    async with port(path) as it:
        it.upstream.streaming_since = it.upstream.flowing_since = asyncio.get_running_loop().time()
        with await it.replica(receive_bytes=4096) as client, await it.replica() as honest:
            await client.ask(REPLID, START + len(SET) + 4)
            session = (await until("a request", lambda: [s for s in it.sessions if s.wait]))[0]
            session.connection.write(b"\n" * (64 << 20))  # far more than kernels take
            session.connection.flush()
            await client.send(b"*abc\r\n")
            await until("the noise is heard", lambda: session.protocol.role is Role.CLOSED)
            assert session.output_buffered_bytes
            monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
            await honest.ask(REPLID, START + len(SET) + 4)
            assert (await honest.snapshot())[0] == REPLID
            assert not session.connection.closed, "it may still read what it was answered"
        assert (it.service.full, it.service.denied) == (1, 1)


# -- what is shown ---------------------------------------------------------------------------------


async def test_the_port_is_known_to_the_end(path: Path) -> None:
    """Found by INFO during a shutdown: the port was asked of a socket that was closed."""
    async with port(path) as it:
        before = it.downstream.listeners.port
        it.downstream.listeners.stop()
        assert it.downstream.listeners.port == before != 0


async def test_a_replica_that_loads_its_snapshot_is_shown_online(path: Path) -> None:
    """Found by INFO between the last byte of a snapshot and the first ACK.

    Redis says so too (`replicaPutOnline` comes before the stream begins).
    """
    async with port(path) as it:
        intake = await it.feed.begin_intake(OTHER, Offset(500), origin="a test")
        intake.begin(None)
        intake.write(ARRIVING)
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof")
            assert await replica.line() == b"+FULLRESYNC %b 500" % OTHER.encode()
            assert (await replica.line()).startswith(b"$EOF:")
            it.feed.complete_intake(intake, 0)
            await replica.exactly(len(ARRIVING) + 40)
            shown = it.downstream.replicas(0.0, Offset(500))
            assert [each.state for each in shown] == [ReplicaState.ONLINE]
