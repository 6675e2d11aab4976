"""The metrics sink from end to end: what it has counted is what a replica has executed."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import Record
from tests.e2e.test_sinks import attached, settle
from tests.servers.effort import times
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.server import Server
from tests.servers.waiting import wait_for
from tests.servers.worker import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.relay_only]

PREFIXES = ("string:", "list:", "kept", "st")
# What only frames others, or is between a master and its replicas.
NO_RECORDS = {"select", "multi", "exec", "ping", "replconf"}


def checkpoint(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {"place": {}, "state": {}}


def executed(replica: Server) -> dict[str, int]:
    """What a real replica has executed, by its own count."""
    counts: Counter[str] = Counter()
    for name, stats in replica.info("commandstats").items():
        command = name.removeprefix("cmdstat_").partition("|")[0]
        found = re.match(r"calls=(\d+),", stats)
        assert found is not None
        counts[command] += int(found[1])
    return {name: n for name, n in counts.items() if name not in NO_RECORDS and n}


def writes(records: list[Record], prefix: str) -> int:
    return sum(any(key.startswith(prefix.encode()) for key in record.keys) for record in records)


@pytest.mark.slow
def test_kills_neither_lose_nor_double_a_count(lab: Lab) -> None:
    master, relay, oracle = attached(lab)
    replica = lab.server(master.flavour, "replica", upstream=master)
    replica.wait_ready()
    replica.wait_link()
    replica.call("CONFIG", "RESETSTAT")
    worker = Worker(
        lab.directory / "worker",
        relay.data_dir,
        "metrics",
        sink="counts",
        settings={"prefixes": ";".join(PREFIXES), "commit_seconds": 0.05},
    )
    lab.add(worker)
    path = relay.data_dir / "checkpoints" / "counts.json"
    with Load(master, features=master.flavour.features, seed=5) as load:
        for _ in range(times(20)):
            before = checkpoint(path)["place"]
            wait_for("another commit", lambda seen=before: checkpoint(path)["place"] != seen)
            worker.kill()
            worker.start()
    assert load.written > times(1000)
    # All three have to stand at the same byte: keys that go on expiring would move it.
    master.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    wait_for(
        "all of it",
        lambda: settle(master, relay) == checkpoint(path)["place"].get("offset") == replica.offset,
    )
    end = master.offset
    assert worker.stop() == 0
    # What the replica is asked itself comes on top.
    truth = {name: n for name, n in executed(replica).items() if name not in {"info", "config"}}
    place, state = (checkpoint(path)[name] for name in ("place", "state"))
    assert place["offset"] == end == replica.offset
    assert {name.lower(): n for name, (n, _) in state["cmd"].items()} == truth
    records = oracle.records(end)
    sizes: Counter[str] = Counter()
    for record in records:
        sizes[record.cmd] += record.offset_end - record.offset_start
    assert {name: size for name, (_, size) in state["cmd"].items()} == sizes
    assert state["prefix"] == {prefix: writes(records, prefix) for prefix in PREFIXES}
    assert all(state["prefix"].values())
