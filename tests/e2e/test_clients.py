"""The programs that operators point at a replication port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.dataset import wait_same
from tests.servers.find import cli
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.process import Process
from tests.servers.relay import REPOSITORY, Relay
from tests.servers.secrets import secret
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

PROGRAM = "redis-7.0"


@pytest.fixture
def redis_cli() -> Path:
    """Return redis-cli, or skip."""
    found = cli()
    if found is None:
        pytest.skip("redis-cli is absent")
    return found


def _pair(lab: Lab) -> tuple[Server, Node]:
    master = lab.master(PROGRAM)
    Load(master, features=master.flavour.features).write(150)
    middle = lab.middle(master)
    middle.wait_link()
    return master, middle


def test_redis_cli_rdb(lab: Lab, redis_cli: Path, tmp_path: Path) -> None:
    """`redis-cli --rdb` gets a file that a server starts from, with the same data."""
    master, middle = _pair(lab)
    master.call("SET", "after the snapshot", "yes")
    wait_for("the relay has it", lambda: middle.offset == master.offset)
    other = lab.server(PROGRAM, "other", start=False)
    dump = other.directory / "dump.rdb"
    done = subprocess.run(
        [redis_cli, "-p", str(middle.port), "--rdb", str(dump)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert master.syncs.full <= 1
    checker = shutil.which("redis-check-rdb")
    if checker:
        subprocess.run(
            [checker, str(dump)], check=True, capture_output=True, timeout=PATIENCE_SECONDS
        )
    other.restart()
    # The file is the stored snapshot: as old as that is.
    assert other.call("DBSIZE") > 0


def test_redis_cli_replica(lab: Lab, redis_cli: Path, tmp_path: Path) -> None:
    """`redis-cli --replica` prints the stream."""
    master, middle = _pair(lab)
    watcher = Process("redis-cli", tmp_path)
    watcher.spawn([redis_cli, "-p", str(middle.port), "--replica"])
    try:
        wait_for("redis-cli has its snapshot", lambda: "done" in watcher.log.lower())
        for number in range(3):
            master.call("SET", f"shown-{number}", "x")
        wait_for("the stream is printed", lambda: '"shown-2"' in watcher.log)
    finally:
        watcher.kill()
    assert middle.running


def test_announced_address_is_shown(lab: Lab) -> None:
    """`replica-announce-ip` and `-port` appear in INFO and ROLE."""
    master, middle = _pair(lab)
    replica = lab.server(
        PROGRAM,
        "replica",
        upstream=middle,
        replica_announce_ip="10.1.2.3",
        replica_announce_port=7777,
    )
    replica.wait_link()
    wait_same(master, replica)
    shown = middle.replicas()[0]
    assert (shown["ip"], shown["port"], shown["state"]) == ("10.1.2.3", "7777", "online")
    wait_for("its ACK is shown", lambda: middle.replicas()[0]["offset"] == str(master.offset))
    replica_of_master = master.replicas()[0]
    assert replica_of_master["port"] == str(middle.port)


def test_old_sync_client(lab: Lab) -> None:
    """Inline SYNC gets the snapshot without a FULLRESYNC line, and then the stream."""
    master, middle = _pair(lab)
    with socket.create_connection(("127.0.0.1", middle.port), PATIENCE_SECONDS) as link:
        link.sendall(b"SYNC\r\n")
        stream = link.makefile("rb")
        header = b"\n"
        while header == b"\n":
            header = stream.readline()
        assert header.startswith(b"$")
        assert not header.startswith(b"$EOF"), "it never said `capa eof`"
        body = stream.read(int(header[1:]))
        assert body[:5] == b"REDIS"
        master.call("SET", "the stream goes on", "here")
        seen = b""
        while b"the stream goes on" not in seen:
            seen += stream.readline()
        stream.close()


@pytest.mark.relay_only
def test_redis_cli_answers(lab: Lab, redis_cli: Path) -> None:
    """What a person types gets an answer, and data commands an explanation."""
    master, relay = _pair(lab)

    def ask(*words: str) -> str:
        command = [str(redis_cli), "-p", str(relay.port), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        return done.stdout + done.stderr

    assert ask("PING").strip() == "PONG"
    assert "role:slave" in ask("INFO", "replication")
    assert ask("ROLE").split()[0] == "slave"
    assert "master_link_status:up" in ask("INFO")
    assert "repltap" in ask("GET", "key")
    assert str(master.port) in ask("SET", "key", "value")
    assert "ERR" in ask("REPLICAOF", "NO", "ONE")
    assert "127.0.0.1" in ask("CLIENT", "LIST")
    assert "proto" in ask("-3", "HELLO", "3")
    assert "unknown command" in ask("NOSUCHCOMMAND")


@pytest.mark.relay_only
def test_status_as_people_see_it(lab: Lab) -> None:
    """`/healthz`, `/api/status` and `repltap status` tell the same."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    assert relay.is_healthy()
    wait_for("the offsets meet", lambda: relay.status()["journal"]["end_offset"] == master.offset)
    assert relay.status()["journal"]["replid"] == master.replid
    assert [r["port"] for r in relay.status()["replicas"]] == [replica.port]
    text = _status(relay)
    assert master.replid in text or master.replid[:8] in text
    assert str(replica.port) in text
    assert '"replicas"' in _status(relay, "--json")


def _status(relay: Relay, *flags: str) -> str:
    command = [sys.executable, "-m", "repltap", "status", "--http", f"127.0.0.1:{relay.http_port}"]
    done = subprocess.run(
        [*command, *flags],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.relay_only
def test_shutdown_and_password(lab: Lab) -> None:
    """With a password set nobody gets a byte without it; SHUTDOWN ends the relay in order."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, listen_password=secret("a word"))
    relay.wait_link()
    stranger = lab.server(PROGRAM, "stranger", upstream=relay)
    replica = lab.server(PROGRAM, "replica", upstream=relay, masterauth=f'"{secret("a word")}"')
    replica.wait_link()
    wait_same(master, replica)
    wait_for("the stranger was refused", lambda: "NOAUTH" in stranger.log)
    assert not stranger.link_up
    with pytest.raises(OSError):
        relay.call("SHUTDOWN")
    assert relay.wait() == 0
