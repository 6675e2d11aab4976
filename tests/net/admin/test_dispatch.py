"""The order of the checks, and whole conversations with redis-py and redis-cli."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator

import hiredis
import pytest
import redis

from repltap.errors import LocalProtocolError
from repltap.net.admin.context import ClientState
from repltap.net.admin.dispatch import COMMANDS
from tests.net.admin.fakes import FakeClient, FakeContext, ask
from tests.servers.waiting import PATIENCE_SECONDS

# What redis-server 7.0.15 answers to the same words, byte for byte.
REDIS_ERRORS = {
    "NOPE a b": b"-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n",
    "NOPE": b"-ERR unknown command 'NOPE', with args beginning with: \r\n",
    "ROLE x": b"-ERR wrong number of arguments for 'role' command\r\n",
    "CLIENT": b"-ERR wrong number of arguments for 'client' command\r\n",
    "CLIENT FOO x": b"-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n",
    "CLIENT ID x": b"-ERR wrong number of arguments for 'client|id' command\r\n",
    "CONFIG GET": b"-ERR wrong number of arguments for 'config|get' command\r\n",
    "SLOWLOG FOO": b"-ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.\r\n",
}


@pytest.mark.parametrize(("line", "wire"), REDIS_ERRORS.items())
def test_errors_are_those_of_redis(line: str, wire: bytes) -> None:
    assert ask(line) == wire


def test_an_error_shows_a_bounded_part_of_what_was_sent() -> None:
    answer = ask([b"x" * 5000, *[b"y" * 100] * 5000])
    assert answer == (
        b"-ERR unknown command '%b', with args beginning with: '%b' '%b' \r\n"
        % (b"x" * 128, b"y" * 100, b"y" * 25)
    )


def test_an_error_is_one_line_whatever_was_sent() -> None:
    assert ask([b"a\r\nb", b"\n+OK\r\n"]).count(b"\n") == 1
    assert ask([b"client", b"a\r\nb"]).count(b"\n") == 1
    assert ask([b"hello", b"2", b"a\r\nb"]).count(b"\n") == 1


def test_bytes_that_are_no_text() -> None:
    assert ask([b"\xff\x00", b"\xfe"]).startswith(b"-ERR unknown command '\xff\x00'")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_before_authentication(name: str) -> None:
    command = COMMANDS[name]
    for each in command.subcommands or (command,):
        if each.handler is None:
            continue
        stranger = FakeClient(state=ClientState(authenticated=False))
        context = FakeContext(password=b"pw", connected=[stranger])
        words = each.name.replace("|", " ").split()
        words += ["1"] * (abs(each.arity) - len(words))
        answer = ask(" ".join(words), stranger, context)
        if name in ("auth", "hello", "quit", "reset"):
            assert not answer.startswith(b"-NOAUTH Authentication required.")
        else:
            assert answer == b"-NOAUTH Authentication required.\r\n"
        assert not stranger.state.authenticated
        assert stranger.state.last_command in (each.name, "NULL")


def test_strangers_are_not_told_where_the_master_is() -> None:
    stranger = FakeClient(state=ClientState(authenticated=False))
    assert ask("GET a", stranger, FakeContext(password=b"pw")).startswith(b"-NOAUTH ")
    assert ask("CLIENT HELP", stranger, FakeContext(password=b"pw")).startswith(b"-NOAUTH ")


def test_help_lists_every_subcommand() -> None:
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(ask("config help"))
    lines = reader.gets()
    assert lines[0] == "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[1:3] == [
        "GET <pattern> [<pattern> ...]",
        "    Tell the settings whose names match.",
    ]
    assert lines[-2:] == ["HELP", "    Print this help."]
    assert len(lines) == 1 + 2 * len(COMMANDS["config"].subcommands) + 2


@pytest.mark.parametrize("line", ["PSYNC ? -1", "SYNC", "REPLCONF ack 1"])
def test_replication_never_comes_here(line: str) -> None:
    with pytest.raises(LocalProtocolError):
        ask(line)


def test_the_last_command_is_remembered_by_its_full_name() -> None:
    client = FakeClient()
    ask("Client INFO", client)
    assert client.state.last_command == "client|info"
    ask("GET a", client)
    assert client.state.last_command == "get"
    ask("nonsense", client)
    assert client.state.last_command == "get"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Answer on loopback the way the relay's port does."""
    context = FakeContext()
    ids = iter(range(1, 1000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = FakeClient(id=next(ids))
        context.connected.append(client)
        parser = hiredis.Reader()
        while not client.state.close_after_reply and (data := await reader.read(65536)):
            parser.feed(data)
            while (args := parser.gets()) is not False:
                writer.write(ask(args, client, context))
                await writer.drain()
        context.connected.remove(client)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_redis_py(port: int, protocol: int) -> None:
    def talk() -> None:
        with redis.Redis(
            port=port, protocol=protocol, decode_responses=True, client_name="monitor"
        ) as client:
            assert client.ping() is True
            assert client.role()[:2] == ["slave", "127.0.0.1"]
            assert client.info()["slave0"]["state"] == "online"
            assert client.info("everything")["redis_version"] == "7.2.4"
            assert client.client_list()[0]["name"] == "monitor"
            assert client.client_info()["lib-name"] == "redis-py"
            assert client.config_get("max*") == {"maxclients": "1024"}
            assert client.command_count() == len(client.command())
            assert client.slowlog_get() == []
            with pytest.raises(redis.ResponseError, match="this is repltap"):
                client.set("a", 1)
            client.close()

    await asyncio.to_thread(talk)


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
async def test_redis_cli(port: int) -> None:
    def talk(*words: str) -> str:
        return subprocess.run(
            ["redis-cli", "-p", str(port), *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        ).stdout

    assert await asyncio.to_thread(talk, "role") == "slave\n127.0.0.1\n6379\nconnected\n5050\n"
    assert "role:slave" in await asyncio.to_thread(talk, "info", "replication")
    assert await asyncio.to_thread(talk, "-3", "--json", "config", "get", "port") == (
        '{"port":"6390"}\n'
    )
    assert "monitor" not in await asyncio.to_thread(talk, "client", "list")
