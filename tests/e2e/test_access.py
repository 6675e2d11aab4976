"""Users of the port with real replicas and clients; a real server says what is right."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import hiredis
import pytest
import redis

from tests.e2e.test_reload import hang_up
from tests.servers.client import Client, Reply
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.ports import own_address
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.sentinel import MASTER_NAME, Sentinel, failover
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

BOSS, TAP, WATCH, WRONG = (secret(name) for name in ("boss", "tap", "watch", "wrong"))
NEXT_TAP = secret("next-tap")
PROGRAMS = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")

_TAP = """
[user.tap]
rights = ["replicate"]
password_file = "{word}"
"""
_OTHERS = f"""
[user.watch]
rights = ["status"]
password = "{WATCH}"

[user.sentinel]
rights = ["status", "administer"]
password = "{WATCH}"
"""


def guarded(lab: Lab, master: Server, **options: str) -> tuple[Relay, Path, Path]:
    """A relay with users, its configuration file, and the password file of who replicates."""
    word, file = lab.directory / "tap", lab.directory / "repltap.toml"
    word.write_text(f"{TAP}\n")
    file.write_text(_TAP.format(word=word) + _OTHERS)
    relay = lab.relay(master, config=str(file), listen_password=BOSS, **options)
    relay.wait_ready()
    relay.wait_link()
    return relay, file, word


def test_replicas_of_all_versions_log_in_and_their_password_is_rotated(lab: Lab) -> None:
    master = lab.master("redis-6.2")
    master.call("SET", "before", "x")
    relay, file, word = guarded(lab, master)
    replicas = [
        lab.server(program, upstream=relay, masteruser="tap", masterauth=TAP)
        for program in PROGRAMS
    ]
    watcher = lab.server(
        "redis-7.0", "watcher", upstream=relay, masteruser="watch", masterauth=WATCH
    )
    for replica in replicas:
        replica.wait_link()
    wait_same(master, *replicas)
    wait_for("its refusal", lambda: "User watch has no permissions" in watcher.log)
    watcher.stop()

    changed = "users of the port: reloaded: changed"
    hang_up(relay, changed, lambda: word.write_text(f"{NEXT_TAP}\n{TAP}\n"))
    for replica in replicas:
        replica.call("CONFIG", "SET", "masterauth", NEXT_TAP)
    hang_up(relay, changed, lambda: word.write_text(f"{NEXT_TAP}\n"))
    counters = relay.status()["counters"]
    assert counters["sync_full"] == len(PROGRAMS)
    assert counters["replica_disconnects"] == {}  # nobody was cut for it

    relay.drop_replicas()
    wait_for("partial resyncs", lambda: relay.syncs.partial_ok == len(PROGRAMS))
    master.call("SET", "after", "x")
    wait_same(master, *replicas)
    assert (relay.syncs.full, master.syncs.full) == (len(PROGRAMS), 1)
    with Client(relay.port) as client, pytest.raises(hiredis.ReplyError, match="WRONGPASS"):
        client.call("AUTH", "tap", TAP)

    hang_up(relay, changed, lambda: file.write_text(_OTHERS))  # without the user
    wait_for("none is left", lambda: relay.replicas() == [])
    assert relay.status()["counters"]["replica_disconnects"]["killed"] >= len(PROGRAMS)


_DIALOGUE: tuple[tuple[str, ...], ...] = (
    ("PING",),
    ("GET", "k"),
    ("PSYNC", "?", "-1"),
    ("HELLO", "3"),
    ("AUTH", WRONG),
    ("AUTH", "watch", WRONG),
    ("AUTH", "nobody", WATCH),
    ("HELLO", "2", "AUTH", "watch", WRONG),
    ("ACL", "WHOAMI"),
    ("AUTH", "watch", WATCH),
    ("ACL", "WHOAMI"),
    ("PING",),
    ("SHUTDOWN", "NOSAVE"),
    ("SLAVEOF", "NO", "ONE"),
    ("CLIENT", "KILL", "TYPE", "replica"),
    ("REPLCONF", "capa", "eof"),
    ("PSYNC", "?", "-1"),
    ("SYNC",),
    ("CONFIG", "SET", "maxclients", "1"),
    ("AUTH", WRONG),
    ("ACL", "WHOAMI"),  # a failed AUTH changes nothing
    ("RESET",),
    ("ROLE",),
    ("AUTH", BOSS),
    ("ACL", "WHOAMI"),
    ("AUTH", "default", BOSS),
    ("QUIT",),
)


def said(node: Server | Relay) -> list[Reply]:
    """Hold the dialogue, and give the answers; errors are among them."""
    with Client(node.port) as client:
        answers = [client.pipeline([command])[0] for command in _DIALOGUE]
    return [str(each) if isinstance(each, hiredis.ReplyError) else each for each in answers]


def test_what_users_are_told_is_what_redis_tells_them(lab: Lab) -> None:
    master = lab.master("redis-8.2", requirepass=BOSS)
    rules = (
        "on",
        f">{WATCH}",
        "+ping",
        "+role",
        "+info",
        "+acl|whoami",
        "+auth",
        "+hello",
        "+reset",
    )
    master.call("ACL", "SETUSER", "watch", *rules, "+quit")
    relay, _, _ = guarded(lab, master, upstream_password=BOSS)
    assert said(relay) == said(master)
    # The user that docs/access.md gives to Sentinel can do all that Sentinel does.
    with Client(relay.port) as client:
        client.call("AUTH", "sentinel", WATCH)
        for command in (
            ("CLIENT", "SETNAME", "sentinel-cmd"),
            ("PING",),
            ("INFO",),
            ("ROLE",),
            ("PUBLISH", "__sentinel__:hello", "x"),
            ("MULTI",),
            ("SLAVEOF", "127.0.0.1", master.port),
            ("CONFIG", "REWRITE"),
            ("CLIENT", "KILL", "TYPE", "pubsub"),
            ("DISCARD",),
            ("SUBSCRIBE", "__sentinel__:hello"),
        ):
            (answer,) = client.pipeline([command])
            assert not str(answer).startswith("NOPERM"), (command, answer)
    with redis.Redis(port=relay.port, username="watch", password=WATCH, protocol=3) as reader:
        assert reader.info()["role"] == "slave"
        assert reader.acl_whoami() == b"watch"
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.shutdown()


class Attacker(threading.Thread):
    """Guesses from an address of its own, over many connections, and waits for no answer."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.attempts = 0
        self.enough = threading.Event()
        self._port = port

    def run(self) -> None:
        while not self.enough.is_set():
            source = ("127.0.0.66", 0)
            address = ("127.0.0.1", self._port)
            with socket.create_connection(address, 30.0, source_address=source) as guess:
                guess.sendall(b"AUTH %b\r\n" % WRONG.encode())
                guess.settimeout(0.02)
                try:
                    guess.recv(100)
                except TimeoutError:
                    pass
                self.attempts += 1


def test_an_attack_is_slow_and_hinders_nobody_else(lab: Lab) -> None:
    relay, _, _ = guarded(lab, lab.master("redis-7.0"))
    began = time.monotonic()
    attackers = [Attacker(relay.port) for _ in range(8)]
    for attacker in attackers:
        attacker.start()
    try:
        wait_for("a real attack", lambda: sum(each.attempts for each in attackers) > 200)
        for _ in range(50):
            assert relay.call("PING") == b"PONG"  # a login each
    finally:
        for attacker in attackers:
            attacker.enough.set()
        for attacker in attackers:
            attacker.join(60.0)
    failures = relay.status()["counters"]["login_failures"]
    # Five are free, five more come while the pauses grow to two seconds.
    assert 5 <= failures <= 10 + (time.monotonic() - began) / 2.0
    assert relay.log.count("wrong password from 127.0.0.66 at the port") >= 1
    assert int(relay.info("stats")["acl_access_denied_auth"]) >= failures


@pytest.mark.skipif(not own_address(), reason="only a loopback address here")
def test_protected_mode(lab: Lab) -> None:
    """Side by side with a real server: who comes over another address is told why and closed."""
    master = lab.master("redis-7.0", bind="0.0.0.0", protected_mode="yes")
    relay = Everywhere(lab.directory / "open", "open", master.port, {})
    lab.add(relay)
    relay.wait_link()
    for node in (master, relay):
        with socket.create_connection((own_address(), node.port), 30.0) as stranger:
            stranger.settimeout(30.0)
            answer = b""
            while part := stranger.recv(4096):
                answer += part
            assert answer.startswith(b"-DENIED ")
            assert answer.endswith(b"\r\n")
    assert "only clients on this machine are served" in relay.log
    assert "HTTP on 0.0.0.0 asks for no token" in relay.log
    assert int(relay.info("stats")["rejected_connections"]) == 1


class Everywhere(Relay):
    """A relay that listens on all addresses."""

    def command(self) -> list[str]:
        words = super().command()
        return [*words[:6], *(word.replace("127.0.0.1:", "0.0.0.0:") for word in words[6:])]


def test_sentinel_logs_in_as_a_user_and_re_points_the_relay(lab: Lab) -> None:
    """The user of docs/access.md and the ACL rule of docs/sentinel.md are enough for it."""
    rule = (
        f"on >{WATCH} allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role "
        "+publish +info +client|setname +client|kill +script|kill"
    )
    login: dict[str, str | int] = {"requirepass": BOSS, "masterauth": BOSS}
    first = lab.master("redis-7.0", "first", **login)
    second = lab.server("redis-7.0", "second", upstream=first, **login)
    second.wait_ready()
    for server in (first, second):
        server.call("ACL", "SETUSER", "sentinel", *rule.split())
    second.wait_link()
    relay, _, _ = guarded(lab, first, upstream_password=BOSS)
    below = lab.server("redis-7.0", "below", upstream=relay, masteruser="tap", masterauth=TAP)
    below.wait_link()
    lines = (
        f"sentinel auth-user {MASTER_NAME} sentinel",
        f"sentinel auth-pass {MASTER_NAME} {WATCH}",
    )
    sentinels = lab.sentinels("redis-7.0", first, lines=lines)
    ports = {str(second.port), str(relay.port)}

    def well(sentinel: Sentinel) -> bool:
        seen = {each["port"]: each["flags"] for each in sentinel.replicas()}
        return set(seen) == ports and set(seen.values()) == {"slave"}

    for sentinel in sentinels:
        wait_for("both replicas are well", lambda s=sentinel: well(s))  # type: ignore[misc]
    failover(sentinels[0], first)
    wait_for(
        "the relay follows", lambda: relay.info("replication")["master_port"] == str(second.port)
    )
    relay.wait_link()
    second.call("SET", "after", "x")
    wait_same(second, below)
    assert relay.status()["counters"]["login_failures"] == 0
