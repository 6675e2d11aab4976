"""The file sink beside a relay: what its files hold is what the master has executed, each once."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hiredis
import psutil
import pytest

from tests.e2e.test_records import Capture, expiring
from tests.servers.effort import times
from tests.servers.find import Feature
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for
from tests.servers.worker import Worker
from tests.sinks.files import files, unpacked
from tests.sinks.records import document

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
KILLS = times(50)


def executed(capture: Capture, start: int) -> list[dict[str, Any]]:
    """What a raw replica has read from an offset on, as records in JSON."""
    found = []
    for batch, _ in capture.decode(random.Random(1)):
        found += [document(record) for record in batch if record.offset_start >= start]
    return [comparable(record) for record in found]


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what is the relay's own: when it came in, and from whom."""
    return {name: value for name, value in record.items() if name not in ("ts_ms", "source")}


def delivered(directory: Path) -> list[dict[str, Any]]:
    """All records in all files."""
    lines = b"".join(map(unpacked, files(directory))).splitlines()
    return [comparable(json.loads(line)) for line in lines]


def file_worker(
    lab: Lab,
    relay: Relay,
    path: Path,
    *,
    start: bool = False,
    before: Sequence[str] = (),
    **settings: str | int | float,
) -> Worker:
    """Make a worker that writes to files."""
    directory = lab.directory / "worker"
    worker = Worker(
        directory, relay.data_dir, f"file:{path}", sink="audit", settings=settings, before=before
    )
    return lab.add(worker, start)


def out(lab: Lab) -> Path:
    directory = lab.directory / "out"
    directory.mkdir()
    return directory


def held(directory: Path) -> int:
    """How much there is in all files."""
    found = 0
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # it has another name now
            found += path.stat().st_size
    return found


def features(master: Server) -> frozenset[Feature]:
    """Fields of hashes that expire would not agree on when."""
    return frozenset(master.flavour.features) - {Feature.HASH_TTL}


def assert_same(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    """As ==, but with one difference shown and not all of them."""
    for mine, theirs in zip(found, expected, strict=False):
        assert mine == theirs
    assert len(found) == len(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sink", "kills"),
    [
        ({"rotate_bytes": "64kb", "compression": "zstd", "commit_seconds": 0.1}, KILLS),
        ({"commit_bytes": "64kb"}, 10),
    ],
    ids=["rotated", "one file"],
)
def test_killed_at_any_moment(lab: Lab, sink: dict[str, str | int | float], kills: int) -> None:
    """Under load, `kill -9` at a random moment again and again."""
    rng = random.Random(5)
    directory = out(lab)
    # The raw replica acknowledges nothing.
    master = lab.master(PROGRAM, repl_timeout=3600)
    with Capture(master) as capture:
        relay = lab.relay(master)
        relay.wait_link()
        start = relay.status()["journal"]["first_offset"]
        worker = file_worker(lab, relay, directory / "audit.jsonl", **sink)
        places = set()
        with Load(master, features=features(master), pause_seconds=0.001):
            for _ in range(kills):
                worker.start()
                # Some while it starts, some right behind a commit, most in its work.
                before = worker.place.get("offset")
                if rng.random() < 0.7:
                    wait_for("it commits", lambda: worker.place.get("offset") != before, 60)  # noqa: B023
                Load(master, features=features(master), seed=rng.random()).write(rng.randrange(60))
                worker.kill()
                places.add(worker.place.get("offset"))
                capture.read(master.offset)
        end = master.offset
        wait_for("the relay has all", lambda: relay.offset >= end)
        worker.deliver_all()
        capture.read(worker.place["offset"])  # keys expire, so the master may be further
        expected = executed(capture, start)
    assert_same(delivered(directory), expected)
    assert worker.place["offset"] >= end
    assert len(places) > kills // 3
    assert len(expected) > 40 * kills
    names = [path.name for path in files(directory)]
    assert "rotate_bytes" not in sink or len(names) > 5
    assert sum(name.endswith(".part") for name in names) <= 1


def test_the_worker_of_a_relay_is_killed(lab: Lab) -> None:
    """And the relay itself, with what was not committed."""
    directory = out(lab)
    # The raw replica acknowledges nothing.
    master = lab.master(PROGRAM, repl_timeout=3600)
    with Capture(master) as capture:
        spec = f"file:{directory}/audit.jsonl,rotate_bytes=64kb,commit_seconds=0.05"
        relay = lab.relay(master, sink=spec)
        relay.wait_link()
        start = relay.status()["journal"]["first_offset"]
        for seed in range(4):
            before = held(directory)
            Load(master, features=features(master), seed=seed).write(150)
            wait_for("something is written", lambda: held(directory) > before, 60)  # noqa: B023
            workers = relay.children()
            if seed % 2:
                for worker in workers:
                    with suppress(psutil.NoSuchProcess):
                        worker.kill()
            else:
                relay.kill()
                psutil.wait_procs(workers, PATIENCE_SECONDS)
                relay.restart()
                relay.wait_link()
        master.call("SET", "the", "end")
        capture.read(master.offset)
        expected = executed(capture, start)
        end = f'"id":"{expected[-1]["id"]}"'.encode()

        def has_ended() -> bool:
            try:
                return any(end in unpacked(path) for path in files(directory))
            except FileNotFoundError:
                return False  # it has another name now

        wait_for("all is written", has_ended, 60)
        workers = relay.children()
        relay.stop()
        psutil.wait_procs(workers, PATIENCE_SECONDS)  # keys expire: it may be writing just now
    found = delivered(directory)
    assert_same(found[: len(expected)], expected)
    assert len(files(directory)) > 3


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_commands_with_a_snapshot_make_the_same_dataset(lab: Lab, compression: str) -> None:
    """The files one after the other into an empty server; killed within the snapshot, too."""
    directory = out(lab)
    master = lab.master(PROGRAM)
    Load(master, features=features(master), seed=3).write(300)
    rng = random.Random(5)  # what gzip can't make small, so that files are rotated
    with master.client() as client:
        client.pipeline([("SET", f"many:{n}", rng.randbytes(100)) for n in range(20_000)])
        client.call("RPUSH", "long", *("element" * 3 for _ in range(50_000)))
    relay = lab.relay(master)
    relay.wait_link()
    worker = file_worker(
        lab,
        relay,
        directory / "commands.resp",
        format="resp",
        snapshot="initial",
        rotate_bytes="100kb",
        compression=compression,
        commit_seconds=0.01,
    )
    ordinals = set()
    for _ in range(4):
        before = worker.place
        worker.start()
        wait_for("it commits", lambda: worker.place != before, 60)  # noqa: B023
        worker.kill()
        ordinals.add((worker.place["phase"], worker.place.get("ordinal")))
    Load(master, features=features(master), seed=4).write(300)
    wait_for("nothing expires any more", lambda: not expiring(master))
    wait_for("the relay has all", lambda: relay.offset == master.offset)
    worker.deliver_all()
    assert len(ordinals) > 1
    copy = lab.master(PROGRAM, "copy")
    assert len(files(directory)) > 3
    for path in files(directory):
        replay(copy, unpacked(path))
    assert copy.digest() == master.digest()


def replay(server: Server, commands: bytes) -> None:
    """Pipe commands into a server, over a connection of their own."""
    reader = hiredis.Reader()
    reader.feed(commands)
    with server.client() as client:
        batch = []
        while (words := reader.gets()) is not False:
            batch.append(words)
            if len(batch) >= 500:
                client.pipeline(batch)
                batch = []
        client.pipeline(batch)


def test_one_replay_by_redis_cli(lab: Lab) -> None:
    """`cat FILES | redis-cli --pipe`, without an error."""
    cli = shutil.which("redis-cli")
    if cli is None:
        pytest.skip("redis-cli is absent")
    directory = out(lab)
    master = lab.master(PROGRAM)
    with master.client() as client:
        client.pipeline([("SET", f"k{n}", "v") for n in range(500)])
    relay = lab.relay(master)
    relay.wait_link()
    path = directory / "c"
    worker = file_worker(lab, relay, path, format="resp", snapshot="initial", rotate_bytes="10kb")
    with master.client() as client:
        for n in range(300):
            client.pipeline(
                [("SELECT", n % 3), ("MULTI",), ("INCR", "n"), ("INCR", "m"), ("EXEC",)]
            )
    wait_for("the relay has all", lambda: relay.offset == master.offset)
    worker.deliver_all()
    copy = lab.master(PROGRAM, "copy")
    joined = b"".join(map(unpacked, files(directory)))
    done = subprocess.run(
        [cli, "-p", str(copy.port), "--pipe"], input=joined, capture_output=True, check=True
    )
    assert b"errors: 0" in done.stdout
    assert copy.digest() == master.digest()


def test_a_disk_that_fills_up(lab: Lab) -> None:
    """It says so, goes on when there is room, and nothing is missing or twice."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    directory = out(lab)
    # The raw replica acknowledges nothing.
    master = lab.master(PROGRAM, repl_timeout=3600)
    with Capture(master) as capture:
        relay = lab.relay(master)
        relay.wait_link()
        start = relay.status()["journal"]["first_offset"]
        mount = f'mount -t tmpfs -o size=4m tmpfs "{directory}" && exec "$@"'
        before = [unshare, "-m", "sh", "-c", mount, "sh"]
        path = directory / "audit.jsonl"
        worker = file_worker(lab, relay, path, start=True, before=before, commit_seconds=0.05)
        with master.client() as client:
            client.call("SET", "first", "1")
            wait_for("it has begun", lambda: worker.place.get("offset") == master.offset)
            inside = Path(f"/proc/{worker.pid}/root{directory}")
            (inside / "filler").write_bytes(bytes(3 << 20))
            client.pipeline([("SET", "k", f"{n:01000}") for n in range(1500)])
            wait_for("it says that it is full", lambda: "No space left on device" in worker.log)
            assert worker.running
            (inside / "filler").unlink()
            client.call("SET", "last", "1")
        wait_for("it has caught up", lambda: worker.place.get("offset") == master.offset, 60)
        found = delivered(inside)
        capture.read(worker.place["offset"])
        expected = executed(capture, start)
    assert_same(found, expected)
    assert worker.log.count("\n") < 30
    assert "Traceback" not in worker.log
