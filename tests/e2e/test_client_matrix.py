"""The programs and libraries that people point at a server, pointed at the relay.

One relay is asked by all of them, one after the other; what each was answered is looked at. The
table of docs/compatibility.md has a row for each.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.servers.find import cli
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.matrix import FULL, Note, documented_table, note
from tests.servers.process import Process
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only
TABLE = "Clients"
COLUMN = "works"
PROGRAM = "redis-7.0"


class World:
    """A master, the relay below it, and redis-cli."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self.path = path
        self.master: Server = lab.master(PROGRAM)
        Load(self.master, features=self.master.flavour.features, seed=3).write(100)
        self.master.call(
            *("FUNCTION", "LOAD"), "#!lua name=mine\nredis.register_function('f', function() end)"
        )
        self.relay: Relay = lab.relay(self.master)
        self.relay.wait_link()
        self.lab = lab

    def cli(self, *words: str) -> str:
        """Run redis-cli to its end."""
        done = subprocess.run(
            [str(cli()), "-p", str(self.relay.port), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            cwd=self.path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def watching(self, *words: str) -> Iterator[Process]:
        """Run redis-cli meanwhile."""
        process = Process("redis-cli" + "-".join(words), self.path)
        process.spawn([str(cli()), "-p", str(self.relay.port), *words])
        try:
            yield process
        finally:
            process.kill()

    def client(self, protocol: int, **options: object) -> redis.Redis:
        """A client of redis-py."""
        return redis.Redis(
            port=self.relay.port,
            protocol=protocol,
            decode_responses=True,
            **options,  # type: ignore[arg-type]
        )


def _cli_rdb(world: World) -> None:
    world.cli("--rdb", "all.rdb")
    assert (world.path / "all.rdb").read_bytes()[:5] == b"REDIS"
    other = world.lab.server(PROGRAM, "from-rdb", start=False)
    (world.path / "all.rdb").rename(other.directory / "dump.rdb")
    other.restart()
    assert other.call("DBSIZE") > 0
    assert "mine" in str(other.call("FUNCTION", "LIST"))
    other.kill()


def _cli_functions(world: World) -> None:
    world.cli("--functions-rdb", "functions.rdb")
    other = world.lab.server(PROGRAM, "from-functions", start=False)
    (world.path / "functions.rdb").rename(other.directory / "dump.rdb")
    other.restart()
    assert "mine" in str(other.call("FUNCTION", "LIST"))
    assert other.call("DBSIZE") == 0
    other.kill()


def _cli_replica(world: World) -> None:
    with world.watching("--replica") as watcher:
        wait_for("the stream", lambda: "done" in watcher.log.lower())
        world.master.call("SET", "for redis-cli --replica", "x")
        wait_for("its line", lambda: '"for redis-cli --replica"' in watcher.log)


def _cli_monitor(world: World) -> None:
    with world.watching("monitor") as watcher:
        wait_for("the mode", lambda: "OK" in watcher.log)
        world.master.call("SET", "for redis-cli monitor", "x")
        wait_for("its line", lambda: '"SET" "for redis-cli monitor" "x"' in watcher.log)


def _cli_stat(world: World) -> None:
    with world.watching("--stat", "-i", "0.05") as watcher:
        wait_for("three lines", lambda: watcher.log.count("\n") >= 6)
    whole, _, _ = watcher.log.rpartition("\n")  # it was killed within a line
    lines = [line.split() for line in whole.splitlines() if line.strip()[:1].isdigit()]
    assert lines, watcher.log
    assert all(line[0] == "0" and int(line[2]) >= 1 for line in lines)


def _cli_info(world: World) -> None:
    text = world.cli("info")
    assert "role:slave" in text
    assert "master_link_status:up" in text
    assert world.cli("-3", "info", "replication").count("master_replid:") == 1
    assert world.cli("ping").strip() == "PONG"


def _cli_help(world: World) -> None:
    # What redis-cli asks when it is used interactively, to complete and to hint.
    assert "replicaof" in world.cli("command", "docs")
    assert "proto" in world.cli("-3", "hello", "3")


def _py(protocol: int) -> Callable[[World], None]:
    def check(world: World) -> None:
        with world.client(protocol, health_check_interval=1, client_name="a-client") as client:
            assert client.ping() is True
            connection = client.connection_pool.get_connection()
            connection.next_health_check = 0
            connection.check_health()
            client.connection_pool.release(connection)
            (mine,) = (c for c in client.client_list() if c["name"] == "a-client")
            assert (mine["lib-name"], mine["lib-ver"]) == ("redis-py", redis.__version__)
            assert mine["resp"] == str(protocol)
            assert client.info("replication")["master_link_status"] == "up"
            assert client.role()[0] == "slave"
            assert client.config_get("replica-priority") == {"replica-priority": "0"}
            with pytest.raises(redis.ResponseError, match="repltap"):
                client.get("key")
            with client.pipeline(transaction=False) as pipe:
                assert pipe.ping().echo("a").execute() == [True, "a"]
            with client.monitor() as monitor:
                world.master.call("SET", f"for redis-py {protocol}", "x")
                while monitor.next_command()["command"] != f"SET for redis-py {protocol} x":
                    pass  # a SELECT, or a PING of the master

    return check


def _pub_sub(world: World) -> None:
    """PUBLISH is part of the stream: who has subscribed to a replica below hears of it."""
    replica = world.lab.server(PROGRAM, "replica", upstream=world.relay)
    replica.wait_ready()
    replica.wait_link()
    with redis.Redis(port=replica.port) as client, client.pubsub() as subscriber:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"
        assert world.master.call("PUBLISH", "news", "hello") == 0, "it counts its own subscribers"
        message = subscriber.get_message(timeout=PATIENCE_SECONDS)
        assert (message["channel"], message["data"]) == (b"news", b"hello")
    with world.client(2) as client, client.pubsub() as subscriber:
        subscriber.subscribe("news")
        with pytest.raises(redis.ResponseError, match="Publish and subscribe at the master"):
            subscriber.get_message(timeout=PATIENCE_SECONDS)
    replica.kill()


def _exporter(world: World) -> None:
    """What redis_exporter asks of each target (its `exporter.go`, `info.go`)."""
    with world.client(2) as client:
        info = client.info("all")
        for name in (
            *("redis_version", "uptime_in_seconds", "connected_clients", "used_memory"),
            *("total_commands_processed", "rejected_connections"),
            *("sync_full", "sync_partial_ok", "master_link_status", "master_repl_offset"),
            *("used_cpu_sys", "slave_priority"),
        ):
            assert name in info, name
        config = client.config_get("*")
        assert {"maxclients", "port"} <= config.keys()
        assert client.slowlog_len() == 0
        assert client.slowlog_get() == []
        assert client.execute_command("LATENCY LATEST") == []
        assert client.execute_command("LATENCY HISTOGRAM") in ({}, [])
        assert any(c["cmd"].startswith("client") for c in client.client_list())
        assert client.command_count() > 20
        assert client.execute_command("CONFIG GET", "databases")
        assert "used_memory" in client.info("memory")
        assert client.info("keyspace") == {}


ROWS: dict[str, Callable[[World], None]] = {
    "redis-cli --rdb": _cli_rdb,
    "redis-cli --functions-rdb": _cli_functions,
    "redis-cli --replica": _cli_replica,
    "redis-cli monitor": _cli_monitor,
    "redis-cli --stat": _cli_stat,
    "redis-cli info, ping, -3": _cli_info,
    "redis-cli, interactive hints": _cli_help,
    "redis-py, RESP2": _py(2),
    "redis-py, RESP3": _py(3),
    "monitoring as redis_exporter": _exporter,
    "pub/sub at a replica below": _pub_sub,
}


def test_clients_get_what_they_ask_for(lab: Lab, tmp_path: Path, record_property: Note) -> None:
    """Each is answered as a server answers, and costs the master nothing."""
    if cli() is None:
        pytest.skip("redis-cli is absent")
    world = World(lab, tmp_path)
    for row, check in ROWS.items():
        check(world)
        note(record_property, TABLE, row, {COLUMN: FULL})
    assert ROWS.keys() <= documented_table(TABLE).keys()
    assert world.master.syncs.full == 1, "redis-cli --rdb comes from what is stored"
    assert os.path.exists(f"/proc/{world.relay.pid}")
