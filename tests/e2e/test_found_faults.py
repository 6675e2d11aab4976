"""Faults that reviewers and attackers found with real servers, each with a line that says how."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.bulk import write
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.scripted import Answer, ScriptedMaster, full, rdb, until_closed
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
PING = b"*1\r\n$4\r\nPING\r\n"


@dataclass(frozen=True, slots=True)
class _Scene:
    master: Server
    relay: Relay
    replica: Server


@pytest.fixture
def scene(lab: Lab) -> Iterator[_Scene]:
    """Give a relay with an honest replica; afterwards neither may have noticed anything."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    yield _Scene(master, relay, replica)
    master.call("SET", "after", "all")
    wait_same(master, replica)
    assert "lost" not in replica.log.lower()
    assert (master.syncs.full, master.syncs.partial_ok) == (1, 0)
    assert "Traceback" not in relay.log
    assert relay.stop() == 0


# -- clients ---------------------------------------------------------------------------------------


def test_psync_and_a_command_in_one_packet(scene: _Scene) -> None:
    """Found by review: `PSYNC ? -1` with `GET x` behind it was granted when closed already."""
    for request in (b"PSYNC ? -1\r\nGET x\r\n", b"PSYNC ? -1\r\n*abc\r\n"):
        with RawReplica(scene.relay.port) as client:
            client.send(request)
            assert client.is_closed()


def test_psync_ahead_behind_unread_answers_and_then_noise(scene: _Scene) -> None:
    """Found by attack: one client that reads nothing ended the relay, seconds after its noise."""
    scene.master.call("SET", "the stream", "flows")  # who is ahead of it is held for 3 s only then
    wait_same(scene.master, scene.replica)
    # How much the kernel takes is its own affair: it may have taken all by then.
    assert any(_asks_behind_unread_answers_and_makes_noise(scene) for _ in range(10))


def _asks_behind_unread_answers_and_makes_noise(scene: _Scene) -> bool:
    relay = scene.relay
    with RawReplica(relay.port, read_buffer_bytes=2048) as client:
        address = "addr={}:{} ".format(*client.socket.getsockname())

        def listed() -> dict[str, str]:
            lines = relay.call("CLIENT", "LIST").decode().splitlines()
            found = [line for line in lines if address in line]
            return dict(pair.split("=", 1) for pair in found[0].split()) if found else {}

        # As much as the kernel never takes unread, and less than the 256 KiB from which on nothing
        # more is read: a PSYNC would not be, and reading a little lets the kernel take it all.
        asked = 0
        while int(listed()["omem"]) < 128 << 10:
            asked += 1
            client.send(b"INFO\r\n" * 8 + b"CLIENT SETNAME asked-%d\r\n" % asked)
            wait_for("it is answered", lambda n=asked: listed()["name"] == f"asked-{n}")  # type: ignore[misc]
        client.send(b"PSYNC %b %d\r\n" % (relay.replid.encode(), relay.offset + 5_000))
        wait_for("it is heard", lambda: listed()["cmd"] == "psync")
        unread = int(listed()["omem"])
        client.send(b"*abc\r\n")
        if unread:
            wait_for("it is closed", lambda: not listed())
        return unread > 0


def test_a_flood_of_commands_leaves_the_others_their_turns(scene: _Scene) -> None:
    """Found by review: all that one read held was answered at once, seconds of work for INFO."""
    count = 100_000  # ten seconds of work: it has to outlast the others' turns
    answered = 0
    begun = threading.Event()
    sock = socket.create_connection(("127.0.0.1", scene.relay.port))

    def read() -> None:
        nonlocal answered
        with suppress(OSError):
            while data := sock.recv(1 << 20):
                answered += data.count(b"# Server")
                begun.set()

    def send() -> None:
        with suppress(OSError):
            sock.sendall(b"INFO\r\n" * count)

    threads = [threading.Thread(target=work, daemon=True) for work in (read, send)]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE_SECONDS)
    with scene.relay.client() as other:
        assert [other.call("PING") for _ in range(20)] == [b"PONG"] * 20
    assert 0 < answered < count
    sock.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)
    sock.close()


def test_a_replica_that_stands_still_is_let_go(lab: Lab) -> None:
    """Found by review: with SIGSTOP, behind full buffers, it stayed and held the journal."""
    master = lab.master(PROGRAM)
    relay = lab.relay(
        master, listen_timeout_seconds=2, store_segment_bytes="1mb", store_retain_bytes="1mb"
    )
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    reached = relay.offset  # also if it is let go before it is looked at
    replica.freeze()
    for _ in range(24):
        write(master, 1, keys=8)
        # It may be let go before the last of it is written.
        reached = max([reached, *(r["sent_offset"] for r in relay.status()["replicas"])])
    assert reached < master.offset, "its buffers took everything"
    wait_for("it is let go", lambda: not relay.status()["replicas"])
    wait_for("its connection is closed", lambda: relay.status()["clients"] == 0)
    # The stored snapshot needs the journal too: have it replaced by one from now.
    for path in relay.data_dir.rglob("*.rdb"):
        path.unlink()
    with RawReplica(relay.port) as other:
        other.send(b"PSYNC ? -1\r\n")
        assert other.line().startswith(b"+FULLRESYNC")
    write(master, 3, keys=8)
    wait_for("the journal is trimmed", lambda: relay.status()["journal"]["first_offset"] > reached)
    replica.thaw()
    wait_same(master, replica)


# -- snapshots -------------------------------------------------------------------------------------


def test_a_refresh_from_the_old_master_is_never_published(lab: Lab) -> None:
    """Found by attack: after a failover the old master's own writes reached a new replica.

    The main link stalls behind its handshake, so the relay is behind both masters; the old one's
    snapshot, which takes seconds, holds as many bytes of writes as the new one has of others.
    """
    old = lab.master(PROGRAM, "old", rdbcompression="no")
    old.call("DEBUG", "POPULATE", 500, "k", 300)
    new = lab.server(PROGRAM, "new", upstream=old)
    new.wait_link()
    proxy = lab.proxy(old)
    relay = lab.relay(proxy)
    relay.wait_link()
    wait_for("the snapshot is stored", relay.snapshots)
    relay.stop()
    for path in relay.data_dir.rglob("snapshots/*"):
        path.unlink()
    stall = Fault(
        direction=Direction.TO_CLIENT, at=b"CONTINUE", action=Action.STALL, after_bytes=43
    )
    proxy.faults.append(stall)
    relay.restart()
    relay.wait_link()
    wait_for("the new master is level", lambda: new.offset == old.offset)
    new.call("REPLICAOF", "NO", "ONE")
    with old.client() as client:
        client.pipeline([("SET", f"lost{i:02d}", "only on the old master") for i in range(20)])
    # Longer than it takes to see that it has begun; the relay gives it up when it moves.
    old.call("CONFIG", "SET", "rdb-key-save-delay", 20_000)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    wait_for("the refresh has begun", lambda: list(relay.data_dir.rglob("*.part")))
    relay.follow(new)
    wait_for("the relay follows", lambda: relay.replid == new.replid and relay.link_up)
    with new.client() as client:
        client.pipeline([("SET", f"keep{i:02d}", "only on the new master") for i in range(90)])
    replica.wait_link()
    wait_same(new, replica)
    assert not list(relay.data_dir.rglob("*.part"))


def test_a_format_that_is_of_no_use_is_asked_for_seldom(lab: Lab) -> None:
    """Found by review: Valkey below Redis 8 cost the master ten forks a second, for ever."""
    master = lab.master("redis-8.2")
    relay = lab.relay(master)
    relay.wait_link()
    began = time.monotonic()
    lab.server("valkey-9.1", "valkey", upstream=relay)
    # Real time: what must not happen in it is one fork after the other. The first sync, a refresh
    # and another a second later make three; the fourth comes five seconds after that, and the
    # fifth after thirty more.
    forks: list[tuple[float, int]] = []  # when they were asked for at the latest, and how many
    wait_for("the relay says why", lambda: "is of no use to a replica" in relay.log)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        master.call("SET", "key", "value")
        full = master.syncs.full
        forks.append((time.monotonic() - began, full))
        time.sleep(0.1)
    assert all(full <= (3 if at < 5.5 else 4) for at, full in forks), forks
    assert "9.1" in relay.log.split("is of no use to a replica", 1)[1].splitlines()[0]


def test_a_deleted_snapshot_is_fetched_again(lab: Lab) -> None:
    """Found by attack: with the file gone each full sync failed, and a replica ahead killed it."""
    master = lab.master(PROGRAM)
    master.call("DEBUG", "POPULATE", 1_000)
    relay = lab.relay(master)
    relay.wait_link()
    wait_for("the snapshot is stored", relay.snapshots)
    for path in relay.data_dir.rglob("*.rdb"):
        path.unlink()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    assert master.syncs.full == 2
    assert "Traceback" not in relay.log


# -- files and room --------------------------------------------------------------------------------


class _RelayUnderLimit(Relay):
    """A relay whose shell has run `ulimit` first."""

    limits = ""

    def command(self) -> list[str]:
        return ["sh", "-c", f'{self.limits} && exec "$@"', "sh", *super().command()]


@pytest.mark.parametrize(
    ("limits", "connections"),
    [("ulimit -n 200", 260), ("ulimit -Sn 1024 && ulimit -Hn 4096", 1_100)],
    ids=["hard", "soft"],
)
def test_more_connections_than_files(lab: Lab, limits: str, connections: int) -> None:
    """Found by review: idle connections took every descriptor, and the next segment ended it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("not enough files for this test itself")
    master = lab.master(PROGRAM)
    relay = _RelayUnderLimit(
        lab.directory / "relay", "relay", master.port, {"store_segment_bytes": "64kb"}
    )
    relay.limits = limits
    lab.nodes.append(relay)
    relay.start()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        with ExitStack() as stack:
            for _ in range(connections):
                link = socket.create_connection(("127.0.0.1", relay.port), PATIENCE_SECONDS)
                stack.enter_context(link)
            write(master, 1, keys=8)
            wait_same(master, replica)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for("it serves clients again", lambda: relay.call("PING") == b"PONG")
    assert master.syncs.full == 1
    assert relay.stop() == 0


class _RelayOnTmpfs(Relay):
    """A relay with its data directory in a tmpfs of few inodes, which it alone (and /proc) sees."""

    def command(self) -> list[str]:
        place = self.data_dir.parent / "small"
        place.mkdir(parents=True, exist_ok=True)
        self.data_dir = place / "data"
        script = f'mount -t tmpfs -o size=200m,nr_inodes=40 tmpfs "{place}" && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, "sh", *super().command()]


def test_a_file_system_without_inodes(lab: Lab) -> None:
    """Found by attack: it had room but took no file, so the master was asked without a pause."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    master = lab.master(PROGRAM, rdbcompression="no")
    master.call("DEBUG", "POPULATE", 2_000, "k", 1_000)
    proxy = lab.proxy(master)
    proxy.weather.bytes_per_second = 20_000  # until the disk is full, however long that takes
    options: dict[str, str | int] = {"store_min_free_bytes": 0, "store_segment_bytes": "64kb"}
    relay = _RelayOnTmpfs(lab.directory / "relay", "relay", proxy.port, options)
    lab.nodes.append(relay)
    relay.start()
    relay.wait_ready()
    place = Path(f"/proc/{relay.pid}/root{relay.data_dir.parent}")
    wait_for("the transfer has begun", lambda: list(place.rglob("*.part")))
    with suppress(OSError):
        for number in range(100):
            (place / f"filler{number}").touch()
    proxy.weather.clear()
    wait_for("it says that there is no room", lambda: "No space left" in relay.log)
    write(master, 1, keys=8)
    wait_for("it pauses", lambda: relay.status()["upstream"]["state"] == "paused")
    began, before = time.monotonic(), master.syncs
    lines = relay.log.count("\n")
    # Real time: what must not happen in it is one attempt after the other.
    time.sleep(3)
    after, told = master.syncs, relay.log.count("\n")
    seconds = time.monotonic() - began
    assert after.full + after.partial_ok - before.full - before.partial_ok <= seconds
    assert told - lines < 10 * seconds
    assert relay.is_healthy()
    assert relay.stop() == 0
    assert "Traceback" not in relay.log


def test_another_master_while_there_is_no_room(lab: Lab) -> None:
    """Found by attack: REPLICAOF to a master that would fit was heard only when there was room."""
    large = lab.master(PROGRAM, "large", rdbcompression="no")
    large.call("DEBUG", "POPULATE", 40_000, "k", 1_000)
    small = lab.master(PROGRAM, "small")
    relay = lab.relay(
        large, store_quota_bytes="32mb", store_segment_bytes="1mb", store_min_free_bytes=0
    )
    wait_for("it pauses", lambda: relay.status()["upstream"]["state"] == "paused")
    relay.follow(small)
    relay.wait_link()
    assert relay.replid == small.replid


# -- masters ---------------------------------------------------------------------------------------


def _continues(link: socket.socket, number: int, _replid: bytes) -> None:
    link.sendall(full(rdb()) + PING if number == 1 else b"+CONTINUE\r\n")


def _begins_again(link: socket.socket, _number: int, _replid: bytes) -> None:
    link.sendall(full(rdb()))


@pytest.mark.parametrize("answer", [_continues, _begins_again])
def test_a_master_that_grants_and_hangs_up(lab: Lab, answer: Answer) -> None:
    """Found by attack and review: each grant counted as a link that works, hundreds a second."""
    with ScriptedMaster(answer) as master:
        relay = lab.relay(master, upstream_backoff_max_seconds=5)
        wait_for("five connections", lambda: len(master.accepted_at) >= 5)
        times = master.accepted_at
        assert times[4] - times[3] >= 0.75, "half of 0.1 s doubled four times"
        assert relay.is_healthy()


@pytest.mark.parametrize(
    "data",
    [rdb(bytes(50), magic=b"HELLO0009"), rdb(b"\xfa\x0erepl-stream-db\x03abc")],
    ids=["magic", "database"],
)
def test_a_payload_that_is_strange(lab: Lab, data: bytes) -> None:
    """Found by attack: an error in the task that stores a snapshot ended the relay."""

    def answer(link: socket.socket, _number: int, _replid: bytes) -> None:
        link.sendall(full(data) + PING)
        until_closed(link)

    good = lab.master(PROGRAM)
    with ScriptedMaster(answer) as master:
        relay = lab.relay(master)
        wait_for(
            "it is stored or refused",
            lambda: relay.snapshots() or relay.status()["upstream"]["last_error"],
        )
        relay.follow(good)
        wait_for("it follows another", lambda: relay.replid == good.replid and relay.link_up)
    relay.stop()
    relay.restart()
    assert "Traceback" not in relay.log


def test_a_host_name_that_can_not_be(lab: Lab) -> None:
    """Found by review: REPLICAOF with a label of 64 letters ended the relay."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    for host in ("x" * 64, "a..b"):
        relay.call("REPLICAOF", host, 6379)
        wait_for("it says so", lambda: "host name" in relay.status()["upstream"]["last_error"])
    relay.follow(master)
    relay.wait_link()
    assert master.syncs.full == 1


def test_a_replica_that_can_not_load_the_snapshot(lab: Lab) -> None:
    """Found by a new user: it was sent 180 snapshots a second; now after 1, 5, 30, 300 seconds."""
    master = lab.master("valkey-8.1")
    relay = lab.relay(master)
    relay.wait_link()
    began = time.monotonic()
    old = lab.server("redis-7.0", "too old", upstream=relay)
    fine = lab.server("valkey-8.1", "fine", upstream=relay)
    wait_for("the second wait", lambda: "gets another in 5 s" in relay.log)
    old.kill()  # however long the other one takes
    seconds = time.monotonic() - began
    fine.wait_link()
    wait_same(master, fine)
    # One at once, one a second later, the next five seconds after that; and the other one's.
    assert relay.syncs.full <= (3 if seconds < 6 else 4)
    assert fine.full_syncs_received == 1
    assert master.syncs.full == 1
