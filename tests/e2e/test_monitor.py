"""MONITOR at the relay, beside MONITOR at a replica of the same master."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import redis

from tests.e2e.test_records import expiring
from tests.servers.client import Client
from tests.servers.dataset import wait_same
from tests.servers.find import cli
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.monitor import Monitor
from tests.servers.process import Process
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.server import QUIET, Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only
PROGRAM = "redis-7.0"
ODD = b'\x00\x01\x07\x08\t\n\r\x1b "\\\x7f\x80\xc3\xa9\xff'


@pytest.mark.parametrize("master_name", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
def test_the_lines_are_a_replicas(lab: Lab, master_name: str) -> None:
    """Whatever the master writes, the relay shows what a native replica shows, in its order."""
    master = lab.master(master_name)
    load = Load(master, features=master.flavour.features, seed=5)
    load.write(50)
    replica = lab.server(master.flavour, "replica", upstream=master)
    relay = lab.relay(master)
    for node in (replica, relay):
        node.wait_ready()
        node.wait_link()
    # A full sync makes the master select its database anew: one command ends that.
    master.call("SET", "first", "1")
    # The monitors can't begin all at once: nothing may expire before the last of them.
    wait_for("nothing expires any more", lambda: not expiring(master))
    wait_for("all have it", lambda: replica.offset == relay.offset == master.offset)
    monitors = [Monitor(node.port) for node in (replica, relay)]
    resp3 = Monitor(relay.port, before=b"HELLO 3\r\n")
    with master.client() as client:
        client.call("SET", ODD, ODD * 100)
        client.call("SELECT", 3)
        client.pipeline([("MULTI",), ("SET", "a", 1), ("SELECT", 9), ("INCR", "a"), ("EXEC",)])
        client.call("EVAL", "redis.call('set', KEYS[1], 1) redis.call('incr', KEYS[1])", 1, "b")
    load.write(400)
    master.call("PUBLISH", "channel", "message")
    master.call("SET", "the last", "one")
    native, ours, third = (m.until('"the last"') for m in (*monitors, resp3))
    assert len(native) > 400
    assert ours == native
    assert third == native
    assert all(f"127.0.0.1:{master.port}]" in line for line in ours)
    for monitor in (*monitors, resp3):
        monitor.close()
    assert master.syncs.full == 2, "MONITOR costs the master nothing"


def test_commands_while_monitoring(lab: Lab) -> None:
    """QUIT and RESET leave the mode; the rest is answered between the lines, as Redis does."""
    master = lab.master(PROGRAM, **QUIET)
    relay = lab.relay(master)
    relay.wait_link()
    monitor = Monitor(relay.port)

    def ask(command: bytes) -> bytes:
        monitor.socket.sendall(command)
        return monitor.stream.readline()

    assert ask(b"PING\r\n") == b"+PONG\r\n"
    assert ask(b"GET a\r\n").startswith(b"-ERR this is repltap")
    assert ask(b"MONITOR\r\nPING\r\n") == b"+PONG\r\n", "the second MONITOR is ignored"
    assert "flags=O" in relay.call("CLIENT", "LIST").decode()
    assert ask(b"RESET\r\n") == b"+RESET\r\n"
    assert "flags=O" not in relay.call("CLIENT", "LIST").decode()
    master.call("SET", "not", "shown")
    assert ask(b"MONITOR\r\n") == b"+OK\r\n"
    wait_for("the relay has it", lambda: relay.offset == master.offset)
    master.call("SET", "it is", "shown")
    shown = monitor.until("it is")
    assert shown[-1].endswith('"SET" "it is" "shown"')
    refused = []
    for port in (master.port, relay.port):
        for command in ("MONITOR", "PSYNC", "SYNC"):
            with Client(port) as client:
                wanted_offset = ("?", -1) if command == "PSYNC" else ()
                words = [("MULTI",), (command, *wanted_offset), ("EXEC",), ("PING",)]
                refused.append([str(each) for each in client.pipeline(words)])
    assert refused[:3] == refused[3:], "in a transaction as Redis"
    assert master.syncs.full == 1
    assert ask(b"QUIT\r\n") == b"+OK\r\n"
    assert monitor.stream.read() == b""
    monitor.close()
    # Who asks to sync is shown nothing more: lines have no place in a stream.
    other = Monitor(relay.port)
    other.socket.sendall(b"SYNC\r\n")
    while (header := other.stream.readline()) == b"\n":
        pass
    body = other.stream.read(int(header[1:]))
    assert body.startswith(b"REDIS")
    master.call("SET", "as", "stream")
    wanted = b"*3\r\n$3\r\nSET\r\n$2\r\nas\r\n$6\r\nstream\r\n"
    seen = b""
    while wanted not in seen:
        line = other.stream.readline()
        assert line, "closed"
        seen += line
    assert b"[0" not in seen
    other.close()


def test_clients_that_monitor(lab: Lab, tmp_path: Path) -> None:
    """redis-cli and redis-py show what they show of a server."""
    found = cli()
    if found is None:
        pytest.skip("redis-cli is absent")
    master = lab.master(PROGRAM, **QUIET)
    relay = lab.relay(master, listen_password=secret())
    relay.wait_link()
    watcher = Process("redis-cli", tmp_path)
    environ = os.environ | {"REDISCLI_AUTH": secret()}
    watcher.spawn([found, "-p", str(relay.port), "monitor"], environ)
    try:
        wait_for("redis-cli monitors", lambda: "OK" in watcher.log)
        for protocol in (2, 3):
            with (
                redis.Redis(port=relay.port, password=secret(), protocol=protocol) as client,
                client.monitor() as monitor,
            ):
                master.call("SET", f"key {protocol}", "a value")
                command = monitor.next_command()
                while command["command"] == "SELECT 0":
                    command = monitor.next_command()
                assert command["command"] == f"SET key {protocol} a value"
                assert (command["db"], command["client_type"]) == (0, "tcp")
                assert (command["client_address"], command["client_port"]) == (
                    "127.0.0.1",
                    str(master.port),
                )
        wait_for("redis-cli shows it", lambda: '"SET" "key 3" "a value"' in watcher.log)
    finally:
        watcher.kill()
    stranger = subprocess.run(
        [found, "-p", str(relay.port), "monitor"], capture_output=True, timeout=60, check=False
    )
    assert b"NOAUTH" in stranger.stdout + stranger.stderr


def test_monitoring_over_tls(lab: Lab) -> None:
    """The process that makes lines knows nothing of it; large values and slow clients as ever."""
    master = lab.master(PROGRAM, tls=True)
    relay = lab.relay(master, tls=True)
    relay.wait_link()
    pair = lab.authority.issue()
    monitor = Monitor(relay.tls_port, pair=pair)
    slow = Monitor(relay.tls_port, pair=pair, receive_bytes=4096)
    value = "v" * 20_000
    shown = []
    for start in range(0, 1_000, 200):  # half of what may wait for a client
        _write_values(master, range(start, start + 200), value)
        shown += monitor.until(f'"n:{start + 199}"')
    assert all(line.startswith(f"[0 127.0.0.1:{master.tls_port}]") for line in shown)
    assert [line for line in shown if '"n:' in line] == [
        f'[0 127.0.0.1:{master.tls_port}] "SET" "n:{n}" "{value}"' for n in range(1_000)
    ]
    wait_for("the slow one is told off", lambda: "too slow for MONITOR: it had" in relay.log)
    for each in (monitor, slow):
        each.close()


def _write_values(master: Server, numbers: range, value: str) -> None:
    with master.client() as client:
        for at in range(0, len(numbers), 50):
            client.pipeline([("SET", f"n:{n}", value) for n in numbers[at : at + 50]])


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it has ended just then
        return []


def _worker(relay: Relay) -> psutil.Process | None:
    workers = [c for c in relay.children() if any("monitor.worker" in w for w in _words(c))]
    assert len(workers) <= 1, "one process is for all"
    return workers[0] if workers else None


def test_slow_clients_and_a_killed_process(lab: Lab) -> None:
    """Who does not read is disconnected; a killed process costs nobody a line; replicas live on."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    before = _worker(relay)
    assert before is None, "it runs when it is wanted only"
    monitors = [Monitor(relay.port) for _ in range(3)]
    slow = Monitor(relay.port, receive_bytes=4096)
    value = "v" * 8_000
    shown: list[list[str]] = [[] for _ in monitors]
    for start in range(0, 2_000, 500):  # half of what may wait for a client
        _write_values(master, range(start, start + 500), value)
        if start == 500:  # amid what it has to show
            wait_for("the process", lambda: _worker(relay)).send_signal(signal.SIGKILL)
        for monitor, lines in zip(monitors, shown, strict=True):
            lines += monitor.until(f'"n:{start + 499}"')
    for lines in shown:
        numbers = [line.split('"')[3] for line in lines if '"n:' in line]
        assert numbers == [f"n:{n}" for n in range(2_000)]
    wait_for("the slow one is told off", lambda: "too slow for MONITOR: it had" in relay.log)
    assert "the monitor process: its process was ended by signal 9" in relay.log
    assert relay.memory_bytes("VmHWM") < 150 << 20
    wait_same(master, replica)
    assert (replica.full_syncs_received, master.syncs.full) == (1, 1)
    process = wait_for("a process", lambda: _worker(relay))  # while it is wanted
    slow.close()
    for monitor in monitors:
        monitor.close()
    wait_for("it is let go", lambda: not process.is_running())
    assert relay.stop() == 0


def test_it_goes_on_over_failover_full_sync_and_restart(lab: Lab) -> None:
    """The connection stays, as at a replica, and lines name whoever is the master."""
    master = lab.master(PROGRAM, **QUIET)  # no PING that has come to one of both only
    second = lab.server(PROGRAM, "second", upstream=master)
    relay = lab.relay(master)
    for node in (second, relay):
        node.wait_ready()
        node.wait_link()
    monitor = Monitor(relay.port)
    master.call("SET", "before", "1")
    monitor.until('"before"')
    wait_for("the second has it", lambda: second.offset == master.offset)
    second.call("REPLICAOF", "NO", "ONE")
    relay.follow(second)
    relay.wait_link()
    second.call("SET", "after the failover", "1")
    shown = monitor.until('"after the failover"')
    assert second.syncs.partial_ok == 1
    third: Server = lab.master(PROGRAM, "third")
    relay.follow(third)
    wait_for("it follows the third", lambda: relay.replid == third.replid and relay.link_up)
    third.call("SET", "after the full sync", "1")
    shown += monitor.until('"after the full sync"')
    assert shown[-1].startswith(f"[0 127.0.0.1:{third.port}]")
    assert [line.split('"')[3] for line in shown if '"SET"' in line] == [
        "after the failover",
        "after the full sync",
    ]
    monitor.close()
