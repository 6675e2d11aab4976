"""The redis sink from end to end: each command of the master is applied once, whatever dies."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from repltap.cli.main import main
from tests.e2e.test_records import expiring
from tests.servers import shapes
from tests.servers.dataset import keys
from tests.servers.effort import times
from tests.servers.find import Feature
from tests.servers.lab import Lab, flavour
from tests.servers.load import Load
from tests.servers.proxy import Direction, Fault
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.server import Server
from tests.servers.waiting import wait_for
from tests.servers.worker import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.relay_only]

SINK = "mirror"
KEY = f"repltap:checkpoint:{SINK}"
ALL = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


class Mirror:
    """A master, a relay, and a target that a sink applies the stream to.

    Attributes:
        worker: Not started.
    """

    def __init__(
        self,
        lab: Lab,
        master: str,
        target: str,
        *faults: Fault,
        load: Callable[[Server], None] | None = None,
        **settings: str | int | float,
    ) -> None:
        self.master = lab.master(master)
        if load is not None:
            load(self.master)
        self.target = lab.master(target, "target", **DURABLE)
        self.relay: Relay = lab.relay(self.master)
        self.relay.wait_link()
        self.proxy = lab.proxy(self.target, *faults)
        self.worker = Worker(
            lab.directory / "worker",
            self.relay.data_dir,
            f"redis:redis://127.0.0.1:{self.proxy.port}",
            sink=SINK,
            settings={"commit_seconds": 0.05, **settings},
        )
        lab.add(self.worker, start=False)

    @property
    def checkpoint(self) -> dict[str, Any]:
        """What the target has, {} for nothing."""
        found = self.target.call("GET", KEY)
        return {} if found is None else dict(json.loads(found))

    @property
    def place(self) -> dict[str, Any]:
        """Where the target is."""
        return dict(json.loads(self.checkpoint.get("place", "{}")))

    @property
    def commits(self) -> tuple[object, object]:
        """What changes with each commit."""
        return self.checkpoint.get("writer"), self.checkpoint.get("group")

    def wait_commit(self, before: tuple[object, object] | None = None) -> None:
        """Wait for another one than `before`, by default than the last."""
        before = before or self.commits
        wait_for("another commit", lambda: self.commits != before)

    def wait_at(self, offset: int) -> None:
        """Wait until the target has all of the stream up to an offset."""
        wait_for("the target is there", lambda: self.place.get("offset", 0) >= offset)

    def wait_equal(self, *, digest: bool = True) -> None:
        """Wait until the target has what the master has; nobody may write meanwhile.

        Args:
            digest: Compare it, too; servers that write scores differently have different ones.
        """
        try:
            self._wait_end()
            wait_for("the target is equal", self._is_equal)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self._difference()}") from None
        assert self.worker.stop() == 0
        self.target.call("DEL", KEY)
        if digest:
            assert self.target.digest() == self.master.digest()
        if all(Feature.FUNCTIONS in one.flavour.features for one in (self.master, self.target)):
            lists = [one.call("FUNCTION", "LIST", "WITHCODE") for one in (self.master, self.target)]
            codes = [sorted(library[-1] for library in listing) for listing in lists]
            assert codes[0] == codes[1]

    def _difference(self) -> str:
        ours, theirs = data(self.target), data(self.master)
        names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
        lines = [f"place {self.place}, master at {self.master.offset}, {len(names)} keys differ"]
        lines += [f"  {n}: {ours.get(n)!r:.200} != {theirs.get(n)!r:.200}" for n in names[:8]]
        return "\n".join(lines)

    def _wait_end(self) -> None:
        """Wait as long as it gets on: a busy disk may take minutes for all its commits."""
        while True:
            before = self.commits
            if self._is_at_the_end():
                return
            self.wait_commit(before)

    def _is_at_the_end(self) -> bool:
        assert self.worker.running, self.worker.log_tail
        offset = self.master.offset
        place = self.place
        return place.get("phase") == "stream" and bool(place["offset"] >= offset)

    def _is_equal(self) -> bool:
        offset = self.master.offset
        if not self._is_at_the_end():
            return False
        same = data(self.target) == data(self.master) and self.master.offset == offset
        # What expires a moment later does so on each by itself, or where the worker is gone never.
        return same and not expiring(self.master)


def data(server: Server) -> dict[tuple[int, bytes], object]:
    """Read all keys but the checkpoint; scores as numbers, which are written in many ways."""
    found: dict[tuple[int, bytes], object] = {}
    for name, value in keys(server):
        if isinstance(value, tuple) and value[0] == b"zset":
            pairs = zip(value[2][::2], value[2][1::2], strict=True)
            value = (*value[:2], [(member, float(score)) for member, score in pairs])
        if name[1] != KEY.encode():
            found[name] = value
    return found


def strike(mirror: Mirror, number: int, rng: random.Random) -> None:
    """Kill something."""
    kind = number % 4
    if kind == 0:
        mirror.worker.kill()
        mirror.worker.start()
    elif kind == 1:
        mirror.target.kill()
        mirror.target.restart()
    elif kind == 2:
        # The next connection is cut behind an EXEC, or within what comes before one.
        at = rng.choice((b"EXEC\r\n", b"MULTI\r\n"))
        after = 0 if at == b"EXEC\r\n" else rng.randrange(2_000)
        mirror.proxy.faults.append(Fault(direction=Direction.TO_SERVER, at=at, after_bytes=after))
        mirror.proxy.cut(reset=True)
    else:
        # What EXEC has answered gets lost in the middle.
        mirror.proxy.faults.append(
            Fault(direction=Direction.TO_CLIENT, at=b"\r\n*", after_bytes=rng.randrange(40))
        )
        mirror.proxy.cut()


def features(*names: str) -> set[Feature]:
    """What all of these servers know, that a target that expires by itself can follow."""
    known = set.intersection(*(set(flavour(name).features) for name in names))
    if not all(name.startswith("valkey") for name in names):
        # A field whose time is up in the target, before HPERSIST comes, is gone there.
        known.discard(Feature.HASH_TTL)
    return known


def settings_for(target: str) -> dict[str, str]:
    return {"import_mode": "yes"} if target.startswith("valkey") else {}


def fill(*names: str) -> Callable[[Server], None]:
    """Make a filler: every shape of value that all of these servers know, and some writes."""
    known = features(*names)
    oldest = min((flavour(name) for name in names), key=lambda one: one.rdb_version)

    def write(master: Server) -> None:
        with master.client() as client:
            shapes.fill(client, oldest)
        Load(master, features=known, seed=3).write(200)

    return write


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_killed_again_and_again_it_applies_each_command_once(lab: Lab, name: str) -> None:
    mirror = Mirror(lab, name, name, load=fill(name), **settings_for(name))
    rng = random.Random(1)
    mirror.worker.start()
    with Load(mirror.master, features=features(name), seed=11) as load:
        for number in range(times(20)):
            mirror.wait_commit()
            strike(mirror, number, rng)
        mirror.wait_commit()
    assert load.written > times(1000)
    mirror.wait_equal()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("master", "target"),
    [
        ("redis-6.2", "redis-8.2"),
        ("redis-7.0", "valkey-9.1"),
        ("valkey-8.1", "redis-8.2"),
        ("redis-7.0", "redis-6.2"),
    ],
)
def test_from_one_kind_of_server_to_another(lab: Lab, master: str, target: str) -> None:
    def write(server: Server) -> None:
        fill(master, target)(server)
        if target == "valkey-9.1":
            # It refuses Redis's own DUMP of it ("Bad data format") for an element of 16378 bytes,
            # whose length at its end Redis writes in three bytes and Valkey 9.1 expects in two.
            server.call("DEL", "list:lengths")

    mirror = Mirror(lab, master, target, load=write, **settings_for(target))
    mirror.worker.start()
    with Load(mirror.master, features=features(master, target), seed=12) as load:
        for number in range(4):
            mirror.wait_commit()
            strike(mirror, number, random.Random(number))
        wait_for("some writes", lambda: load.written > 1000)
    mirror.wait_equal(digest=False)


def count_up(mirror: Mirror, faults: list[Fault]) -> None:
    """Count in the master while the connection to the target is cut at each of these places."""
    mirror.worker.start()
    with mirror.master.client() as client:
        for fault in faults:
            mirror.proxy.faults.append(fault)
            mirror.proxy.cut()
            while mirror.proxy.faults:
                client.pipeline([("INCR", "n"), ("APPEND", "text", "x"), ("RPUSH", "list", "y")])
                client.pipeline([("MULTI",), ("INCR", "a"), ("INCR", "b"), ("EXEC",)])
                time.sleep(0.001)  # no more than the mirror can follow
            mirror.wait_commit()
    mirror.wait_equal()
    counts = [int(mirror.target.call("GET", name)) for name in ("n", "a", "b")]
    assert counts == [int(mirror.master.call("GET", "n"))] * 3
    assert mirror.target.call("STRLEN", "text") == mirror.target.call("LLEN", "list") == counts[0]


def test_cut_off_where_nobody_knows_whether_it_was_executed(lab: Lab) -> None:
    """Behind EXEC: it is executed, and its reply is lost; before it: it is not."""
    mirror = Mirror(lab, "redis-7.0", "redis-7.0")
    behind = Fault(direction=Direction.TO_SERVER, at=b"EXEC\r\n")
    before = Fault(direction=Direction.TO_SERVER, at=b"*1\r\n$4\r\nEXE")
    count_up(mirror, [behind, before] * 4)
    told = mirror.worker.log  # not each time: the same error is told once a minute
    assert "closed the connection" in told or "is lost" in told


def test_a_target_that_hangs_is_gone_on_with_when_it_is_back(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-7.0", "redis-7.0", timeout_seconds=0.5)
    mirror.worker.start()
    mirror.wait_commit()
    mirror.target.freeze()
    mirror.master.call("INCR", "n")
    wait_for("a timeout", lambda: "nothing has moved for 0.5 s" in mirror.worker.log)
    mirror.target.thaw()
    mirror.wait_equal()
    assert mirror.target.call("GET", "n") == b"1"


def test_a_command_that_an_older_target_lacks_waits_for_a_newer_one(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-8.2", "redis-6.2")
    mirror.worker.start()
    mirror.master.call("INCR", "n")
    wait_for("the first", lambda: mirror.target.call("GET", "n") == b"1")
    mirror.master.call("HSETEX", "hash", "EX", 9000, "FIELDS", 1, "field", secret("value"))
    mirror.master.call("INCR", "n")
    wait_for("the error", lambda: "unknown command `HSETEX`" in mirror.worker.log)
    assert "refuses HSETEX at offset" in mirror.worker.log
    assert "of key b'hash'" in mirror.worker.log
    assert mirror.target.call("GET", "n") == b"1"
    # A newer one with the same data, on the same port.
    assert mirror.worker.stop() == 0
    assert mirror.target.stop() == 0
    newer = Server(flavour("redis-8.2"), mirror.target.directory, "newer", {**DURABLE, "dir": "."})
    newer.port = mirror.target.port
    lab.add(newer)
    newer.wait_ready()
    mirror.target = newer
    mirror.worker.start()
    mirror.wait_equal()
    assert newer.call("GET", "n") == b"2"
    assert newer.call("HGET", "hash", "field") == secret("value").encode()


def test_a_mirror_of_some_keys(lab: Lab) -> None:
    def write(master: Server) -> None:
        with master.client() as client:
            client.pipeline([("MSET", "user:1", "a", "other", "b"), ("RPUSH", "user:list", "x")])

    mirror = Mirror(lab, "redis-7.0", "redis-8.2", load=write, include_prefix="user:")
    mirror.worker.start()
    with mirror.master.client() as client:
        for n in range(200):
            client.pipeline([("INCR", "user:n"), ("INCR", "other:n"), ("SADD", "user:set", n)])
    client_end = mirror.master.offset
    wait_for("all of it", lambda: mirror.place.get("offset", 0) >= client_end)
    assert mirror.worker.stop() == 0
    wanted = {name: value for name, value in keys(mirror.master) if name[1].startswith(b"user:")}
    mirror.target.call("DEL", KEY)
    assert dict(keys(mirror.target)) == wanted
    assert len(wanted) == 4


def test_a_target_with_other_data_is_left_alone(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-7.0", "redis-7.0")
    mirror.target.call("SET", "theirs", "1")
    mirror.worker.start(until_end=True)
    assert mirror.worker.wait() == 1
    assert "holds 1 keys that are not from this sink" in mirror.worker.log
    assert mirror.target.call("KEYS", "*") == [b"theirs"]


def reset(mirror: Mirror, *to: str) -> None:
    """Say anew where the sink goes on, as an operator does."""
    data_dir = str(mirror.relay.data_dir)
    assert main(["sink", "reset", SINK, "--data-dir", data_dir, "--yes", *to]) == 0


def test_after_a_reset_it_begins_anew_whatever_the_target_holds(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-7.0", "redis-7.0")
    mirror.worker.start()
    mirror.master.call("INCR", "n")
    wait_for("the first", lambda: mirror.target.call("GET", "n") == b"1")
    mirror.target.call("SET", "n", "no number")
    mirror.master.call("INCR", "n")
    wait_for("the error", lambda: "refused INCR" in mirror.worker.log)
    assert mirror.worker.stop() == 0
    mirror.worker.start(until_end=True)
    assert mirror.worker.wait() == 1  # it stays stopped
    assert mirror.checkpoint["failure"]
    reset(mirror)
    mirror.worker.start()
    wait_for("a snapshot", lambda: mirror.target.call("GET", "n") == b"2")
    wait_for("its end", lambda: mirror.place.get("phase") == "stream")
    assert "failure" not in mirror.checkpoint
    assert "was reset" in mirror.worker.log
    mirror.master.call("INCR", "n")
    mirror.wait_equal()
    assert mirror.target.call("GET", "n") == b"3"


def test_after_a_reset_to_a_place_it_goes_on_there_and_each_command_counts_once(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-7.0", "redis-7.0")
    mirror.worker.start()
    mirror.master.call("INCR", "n")
    wait_for("the first", lambda: mirror.target.call("GET", "n") == b"1")
    before = mirror.master.offset
    for _ in range(5):
        mirror.master.call("INCR", "n")
    wait_for("the others", lambda: mirror.target.call("GET", "n") == b"6")
    mirror.wait_at(mirror.master.offset)
    assert mirror.worker.stop() == 0
    reset(mirror, "--to", str(before))
    # Killed when the target has it, and nobody has been told.
    mirror.proxy.faults.append(Fault(direction=Direction.TO_CLIENT, at=b"\r\n*", after_bytes=9))
    mirror.worker.start()
    wait_for("the same again", lambda: mirror.target.call("GET", "n") == b"11")
    mirror.worker.kill()
    mirror.worker.start()
    # The first may name the reset still: the kill can have come before the checkpoint.
    for count in (b"12", b"13"):
        mirror.master.call("INCR", "n")
        mirror.wait_at(mirror.master.offset)
        assert mirror.target.call("GET", "n") == count
    assert mirror.worker.stop() == 0
    assert "reset" not in mirror.place


def test_of_a_password_nothing_is_seen(lab: Lab) -> None:
    mirror = Mirror(lab, "redis-7.0", "redis-7.0")
    mirror.target.call("CONFIG", "SET", "requirepass", secret())
    mirror.target.password = secret()
    word = mirror.worker.directory / "secret"
    word.write_text(secret("wrong") + "\n")
    mirror.worker.spec += f",password_file={word}"
    mirror.worker.start()
    wait_for("a refusal", lambda: "WRONGPASS" in mirror.worker.log)
    assert mirror.worker.stop() == 0
    word.write_text(secret() + "\n")
    mirror.worker.start()
    mirror.master.call("INCR", "n")
    mirror.wait_equal()


@pytest.mark.parametrize("target", ["redis-7.0", "redis-8.2"])
def test_keys_that_are_there_are_replaced_by_a_snapshot(lab: Lab, target: str) -> None:
    """Of another type, larger, with a time to live; also what is built by commands."""

    def write(master: Server) -> None:
        with master.client() as client:
            shapes.fill(client, master.flavour)
            for n in range(60):  # more than is RESTOREd
                client.call("RPUSH", "large", *(f"{n}-{m}" * 20 for m in range(1000)))

    mirror = Mirror(lab, "redis-7.0", target, load=write, flush="no")
    with mirror.master.client() as client, mirror.target.client() as other:
        for db in (0, 9):
            for one in (client, other):
                one.call("SELECT", db)
            for number, key in enumerate(client.call("KEYS", "*")):
                other.call(*((("RPUSH", key, "x"), ("SET", key, "x", "EX", 9000))[number % 2]))
    mirror.worker.start()
    mirror.wait_equal(digest=target == "redis-7.0")


def test_a_master_with_other_data_replaces_what_is_there(lab: Lab) -> None:
    """A full resync: another replid, other data, and the same sink."""
    mirror = Mirror(lab, "redis-7.0", "redis-7.0", load=fill("redis-7.0"))
    mirror.worker.start()
    mirror.wait_commit()
    mirror.master.kill()
    mirror.master.restart()
    mirror.master.call("SET", "new", "1")
    mirror.wait_equal()
    assert mirror.target.call("DBSIZE") == 1
