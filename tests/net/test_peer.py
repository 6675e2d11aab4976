"""One connection and its commands, from the first byte to the end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from repltap.access import Right, User, Users, digest
from repltap.config import ListenConfig
from repltap.endings import DisconnectReason
from repltap.net import downstream as downstream_module
from repltap.net import logins as logins_module
from repltap.net.connection import OUTPUT_HIGH_BYTES
from repltap.net.logins import FREE_FAILURES, Turn
from tests.net.relay import port
from tests.protocol.ways import rdb
from tests.stored import HANG_SECONDS, REPLID, SET, START, held, until

END = START + len(SET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET)


async def test_half_a_command_and_silence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)
    async with port(path, ListenConfig(port=0, timeout_seconds=0.1)) as it:
        with await it.replica() as silent, await it.replica() as idle:
            await silent.send(b"*3\r\n$5\r\nPSYNC\r\n$40")
            assert await silent.rest() == b""
            await idle.send(b"PING\r\n")  # a client that says nothing is left alone
            assert await idle.line() == b"+PONG"


async def test_commands_are_answered_in_order(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as client:
            await client.send(
                b"PING\r\nECHO one\r\nECHO two\r\nREPLCONF capa eof\r\nECHO three\r\n"
            )
            got = [await client.line() for _ in range(8)]
            assert got == [b"+PONG", b"$3", b"one", b"$3", b"two", b"+OK", b"$5", b"three"]
            session = it.sessions[0]
            assert session.input_buffered_bytes == session.output_buffered_bytes == 0
            assert it.downstream.commands == 4
            assert session.last_active_at <= time.time()


async def test_quit_closes_after_the_reply(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as client:
            await client.send(b"QUIT\r\n")
            assert await client.rest() == b"+OK\r\n"
        assert it.sessions == []


async def test_bad_input_is_told_why(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as client:
            await client.send(b"*1\r\n$99999999999\r\n")
            assert b"-ERR Protocol error" in await client.rest()
        assert it.sessions == []


async def test_nothing_of_replication_without_the_password(path: Path) -> None:
    async with port(path, ListenConfig(port=0, users=Users.of_default("secret"))) as it:
        with await it.replica() as replica:
            for line in (b"REPLCONF capa eof", b"PSYNC ? -1", b"SYNC"):
                await replica.send(line + b"\r\n")
                assert (await replica.line()).startswith(b"-NOAUTH")
            await replica.send(b"AUTH wrong\r\n")
            assert (await replica.line()).startswith(b"-WRONGPASS")
            assert it.service.full == 0
            await replica.send(b"AUTH secret\r\n")
            assert await replica.line() == b"+OK"
            await replica.ask()
            assert (await replica.snapshot())[2] == rdb()


async def test_a_client_that_never_reads(path: Path) -> None:
    """It costs the bound and one reply more; then it is answered to the last one."""
    async with port(path) as it:
        with await it.replica(receive_bytes=4096) as client, await it.replica() as other:
            size, count = 50_000, 100
            request = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (size, b"x" * size)
            sending = asyncio.get_running_loop().create_task(client.send(request * count))
            session = (await until("a session", lambda: it.sessions))[0]
            await until("congestion", lambda: session.connection.congested)
            await other.send(b"PING\r\n")
            assert await other.line() == b"+PONG"
            assert session.output_buffered_bytes <= OUTPUT_HIGH_BYTES + size + 20
            assert not session.connection._reading
            answer = b"$%d\r\n%b\r\n" % (size, b"x" * size)
            for _ in range(count):
                assert await client.exactly(len(answer)) == answer
            await sending
            assert not session.connection.congested


async def test_a_killed_client_is_logged_with_the_reason(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "repltap.downstream")
    async with port(path) as it:
        with await it.replica() as replica, await it.replica() as client:
            await replica.ask(REPLID, END)
            assert await replica.line() == b"+CONTINUE"
            await client.send(b"PING\r\n")
            await client.line()
            for session in it.sessions:
                session.drop(DisconnectReason.KILLED, "for a reason")
                session.drop(DisconnectReason.SHUTDOWN, "again")
        assert "replica disconnected: for a reason" in caplog.text
        assert "client disconnected: for a reason" in caplog.text
        assert "again" not in caplog.text
        assert it.downstream.departures.counts == {"killed": 1}  # clients are not counted


async def test_who_is_not_logged_in_fills_no_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Found in a review: each connection from anywhere was a line."""
    caplog.set_level("INFO", "repltap.downstream")
    async with port(path, ListenConfig(port=0, users=Users.of_default("secret"))) as it:
        for login in (b"", b"AUTH secret\r\n"):
            with await it.replica() as client:
                await client.send(login + b"POST / HTTP/1.1\r\n\r\n")
                await client.rest()  # there may be no session yet
                await until("its end", lambda: not it.sessions)
            said = "client disconnected: an HTTP request came to the Redis port"
            assert caplog.text.count(said) == (1 if login else 0)


async def test_a_user_may_replicate_or_not(path: Path) -> None:
    named = [
        User("tap", frozenset({Right.REPLICATE}), (digest("t"),)),
        User("watch", frozenset({Right.STATUS}), (digest("w"),)),
    ]
    async with port(path, ListenConfig(port=0, users=Users.of((), named))) as it:
        with await it.replica() as watch, await it.replica() as tap:
            await watch.send(b"AUTH watch w\r\nINFO\r\nREPLCONF capa eof\r\nPSYNC ? -1\r\nSYNC\r\n")
            assert await watch.line() == b"+OK"
            size = int((await watch.line())[1:])
            await watch.exactly(size + 2)
            for name in (b"replconf", b"psync", b"sync"):
                refused = b"-NOPERM User watch has no permissions to run the '%b' command"
                assert await watch.line() == refused % name

            await tap.send(b"AUTH tap t\r\nROLE\r\nCLIENT SETNAME me\r\n")
            answers = [await tap.line() for _ in range(3)]
            assert answers[1:] == [
                b"-NOPERM User tap has no permissions to run the 'role' command",
                b"+OK",
            ]
            await tap.ask(REPLID, END)
            assert await tap.line() == b"+CONTINUE"
            assert it.sessions[1].state.username == "tap"


async def test_rights_and_users_that_change_below_a_connection(path: Path) -> None:
    both = frozenset({Right.REPLICATE, Right.STATUS})
    word = (digest("t"),)
    before = Users.of(("boss",), [User("tap", both, word), User("gone", both, word)])
    async with port(path, ListenConfig(port=0, users=before)) as it:
        with (
            await it.replica() as replica,
            await it.replica() as client,
            await it.replica() as other,
            await it.replica() as boss,
        ):
            for peer, user in ((replica, b"tap"), (client, b"tap"), (other, b"gone")):
                await peer.send(b"AUTH %b t\r\n" % user)
                assert await peer.line() == b"+OK"
            await boss.send(b"AUTH boss\r\n")
            assert await boss.line() == b"+OK"
            await replica.ask(REPLID, END)
            assert await replica.line() == b"+CONTINUE"

            # Another password: who is here stays.
            rotated = (digest("new"),)
            changed = Users.of(("other",), [User("tap", both, rotated), User("gone", both, word)])
            assert it.downstream.take_users(changed) == 0
            await boss.send(b"PING\r\n")
            assert await boss.line() == b"+PONG"

            status = frozenset({Right.STATUS})
            assert it.downstream.take_users(Users.of((), [User("tap", status, word)])) == 3
            assert await replica.rest() == await other.rest() == await boss.rest() == b""
            await client.send(b"PSYNC ? -1\r\n")
            assert (await client.line()).startswith(b"-NOPERM User tap")
            assert it.downstream.departures.counts == {"killed": 1}


async def test_failed_logins_wait_and_others_do_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a right password waits its turn; a client that is logged in notices nothing."""
    monkeypatch.setattr(logins_module, "_FORGIVEN_SECONDS", 1000 * HANG_SECONDS)
    listen = ListenConfig(port=0, users=Users.of_default("right"))
    async with port(path, listen) as it:
        wrong = b"-WRONGPASS invalid username-password pair or user is disabled."
        with await it.replica() as guest, await it.replica() as boss:
            await boss.send(b"AUTH right\r\n")
            assert await boss.line() == b"+OK"
            await guest.send(b"AUTH wrong\r\n" * FREE_FAILURES)
            assert [await guest.line() for _ in range(FREE_FAILURES)] == [wrong] * FREE_FAILURES
            turns: list[Turn | None] = []
            real = it.downstream.logins.turn

            def noted(address: str) -> Turn | None:
                turns.append(real(address))
                return Turn(0.05, charged=True)  # however long the test took

            monkeypatch.setattr(it.downstream.logins, "turn", noted)
            await guest.send(b"PING\r\nHELLO 2 auth default right\r\nPING\r\n")
            assert await guest.line() == b"-NOAUTH Authentication required."
            await boss.send(b"PING\r\n")
            assert await boss.line() == b"+PONG"
            assert (await guest.line()).startswith(b"*")
            (turn,) = turns
            assert turn is not None
            assert turn.charged
            assert it.downstream.logins.guard.failed_total == FREE_FAILURES

            monkeypatch.setattr(it.downstream.logins, "turn", lambda _address: None)
            await boss.send(b"AUTH right\r\nPING\r\n")
            assert (await boss.rest()).startswith(b"-ERR too many failed logins")


async def test_a_client_that_leaves_while_its_login_waits(path: Path) -> None:
    async with port(path, ListenConfig(port=0, users=Users.of_default("right"))) as it:
        it.downstream.logins.turn = lambda _address: Turn(3600.0)  # type: ignore[method-assign]
        with await it.replica() as guest:
            await guest.send(b"AUTH right\r\n")
            (session,) = await until("a session", lambda: it.sessions)
            await until("it waits", lambda: session.protocol.has_pending_input)
            session.drop(DisconnectReason.KILLED, "a test")
            assert await guest.rest() == b""
        session._log_in_late([b"AUTH", b"right"], Turn())  # what the timer does
        assert it.downstream.commands == 0
