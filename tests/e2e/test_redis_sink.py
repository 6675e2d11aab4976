"""The redis sink from end to end: each command of the master is applied once, whatever dies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.dataset import keys
from tests.servers.find import Feature
from tests.servers.lab import Lab, flavour
from tests.servers.load import Load
from tests.servers.proxy import Direction, Fault
from tests.servers.relay import Relay
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

    def wait_commit(self) -> None:
        """Wait for another one."""
        before = self.commits
        wait_for("another commit", lambda: self.commits != before)

    def wait_equal(self) -> None:
        """Wait until the target has what the master has; nobody may write meanwhile."""
        wait_for("the target is equal", self._is_equal, 60)
        assert self.worker.stop() == 0
        self.target.call("DEL", KEY)
        assert self.target.digest() == self.master.digest()
        if all(Feature.FUNCTIONS in one.flavour.features for one in (self.master, self.target)):
            lists = [one.call("FUNCTION", "LIST", "WITHCODE") for one in (self.master, self.target)]
            codes = [sorted(library[-1] for library in listing) for listing in lists]
            assert codes[0] == codes[1]

    def _is_equal(self) -> bool:
        assert self.worker.running, self.worker.log_tail
        offset = self.master.offset
        place = self.place
        if place.get("phase") != "stream" or place["offset"] < offset:
            return False
        ours = {name: value for name, value in keys(self.target) if name[1] != KEY.encode()}
        return ours == dict(keys(self.master)) and self.master.offset == offset


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_twenty_kills_under_load_and_every_command_is_applied_once(lab: Lab, name: str) -> None:
    mirror = Mirror(lab, name, name, snapshot="never", **settings_for(name))
    rng = random.Random(1)
    mirror.worker.start()
    with Load(mirror.master, features=features(name), seed=11) as load:
        for number in range(20):
            mirror.wait_commit()
            strike(mirror, number, rng)
        mirror.wait_commit()
    assert load.written > 1000
    mirror.wait_equal()
