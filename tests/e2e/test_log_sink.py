"""The sink `log` behind a real master and relay: it has what the master executed, each once."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from repltap.sink import Record
from sinks._partitions import Partitions
from sinks.eventlog.batch import LogRecord
from sinks.eventlog.reader import LogReader
from tests.e2e.test_sinks import attached, settle
from tests.servers.effort import times
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.waiting import wait_for
from tests.servers.worker import Worker

pytestmark = pytest.mark.relay_only


class LogWorker(Worker):
    """A worker whose sink is a log of so many partitions."""

    def __init__(self, lab: Lab, relay: Relay, partitions: int, **settings: str | int) -> None:
        name = f"log{partitions}"
        self.log_dir = lab.directory / name
        self.partitions = partitions
        given = {"partitions": partitions, "commit_seconds": 0.05, **settings}
        super().__init__(
            lab.directory / f"worker-{name}",
            relay.data_dir,
            f"log:{self.log_dir}",
            sink=name,
            settings=given,
        )

    def size(self) -> int:
        """Bytes of all its segments, committed or not."""
        found = 0
        for path in self.log_dir.rglob("*.log"):
            try:
                found += path.stat().st_size
            except FileNotFoundError:
                continue  # cut off just then
        return found

    def read(self, directory: Path | None = None) -> list[list[LogRecord]]:
        """Read all partitions; the offsets are all there."""
        log = LogReader(directory or self.log_dir)
        found: list[list[LogRecord]] = [[] for _ in range(self.partitions)]
        for number, records in enumerate(found):
            with log.partition(number) as reader:
                while more := reader.read(len(records)):
                    records += more
            assert [record.offset for record in records] == list(range(len(records)))
        return found


def commands(values: list[bytes], until: int) -> list[tuple[object, ...]]:
    """The commands of JSON values, up to an offset: keys go on expiring."""
    documents = [json.loads(value) for value in values]
    return [
        (found["id"], found.get("db"), found["cmd"], args_of(found), found.get("tx"))
        for found in documents
        if found["kind"] == "command" and found["offset_end"] <= until
    ]


def args_of(document: Mapping[str, Any]) -> list[bytes]:
    if document.get("enc") == "base64":
        return [b64decode(arg) for arg in document["args"]]
    return [arg.encode() for arg in document["args"]]


def executed(records: list[Record]) -> list[tuple[object, ...]]:
    """What a log has to have of what the master has sent."""
    return [
        (
            record.id,
            record.db,
            record.cmd,
            record.args,
            record.tx and {"id": record.tx.id, "index": record.tx.ordinal, "last": record.tx.last},
        )
        for record in records
    ]


def last_offset(records: list[LogRecord]) -> int:
    """Up to where the stream is in a partition; 0 where nothing is."""
    return int(dict(records[-1].headers)[b"offset"]) if records else 0


def assert_holds(worker: LogWorker, found: list[list[LogRecord]], records: list[Record]) -> None:
    """Each partition has exactly its records, each once, in the order of the stream."""
    rule = Partitions(worker.partitions, crc32)
    end = records[-1].offset_end
    for number, held in enumerate(found):
        mine = [
            record
            for record in records
            if any(partition == number for _, partition in rule.targets(record))
        ]
        assert commands([record.value for record in held], end) == executed(mine)
        ids = [dict(record.headers)[b"id"].decode() for record in held]
        assert len(set(ids)) == len(ids)
        assert [json.loads(record.value)["id"] for record in held] == ids
        keys = {one.id: key for one in mine for key, at in rule.targets(one) if at == number}
        for name, record in zip(ids, held, strict=True):
            assert keys.get(name, record.key) == record.key


@pytest.mark.slow
def test_killed_again_and_again_it_has_each_record_once(lab: Lab) -> None:
    """Workers of one and of three partitions, killed under load; 50 times in a full run."""
    master, relay, oracle = attached(lab)
    # The oracle says nothing until it reads, however long that takes.
    master.call("CONFIG", "SET", "repl-timeout", 3600)
    rng = random.Random(1)
    one = LogWorker(lab, relay, 1, segment_bytes="64kb")
    three = LogWorker(lab, relay, 3, segment_bytes="32kb", compression="zstd")
    workers = [one, three]
    try:
        with Load(master, features=master.flavour.features, pause_seconds=0.02):
            for _ in range(times(25)):
                before = [worker.size() for worker in workers]
                for worker in workers:
                    worker.start()
                for worker, size in zip(workers, before, strict=True):
                    limit = size + rng.randrange(1, 60_000) // worker.partitions
                    wait_for(
                        "the log grows",
                        lambda w=worker, limit=limit: w.size() > limit,  # type: ignore[misc]
                        60,
                    )
                    worker.kill()
        end = settle(master, relay)
        for worker in workers:
            worker.start(until_end=True)
            assert worker.wait(60) == 0, worker.log_tail
    finally:
        for worker in workers:
            worker.kill()
    records = oracle.records(end)
    assert len(records) > times(2000)
    for worker in workers:
        assert len(list(worker.log_dir.rglob("*.log"))) > worker.partitions
        assert_holds(worker, worker.read(), records)
        verified = repltap("sink", "log", "verify", "--topic-dir", str(worker.log_dir))
        assert verified.returncode == 0, verified.stderr
    which = ("--sink", "log1", "--data-dir", str(relay.data_dir))
    values: list[bytes] = []
    for limit in ["700", "1", "900", "1000000"]:
        done = repltap("sink", "log", "read", *which, "--group", "g", "--max", limit)
        assert done.returncode == 0, done.stderr
        values += done.stdout.splitlines()
    assert commands(values, end) == executed(records)


def test_a_disk_that_was_full_costs_nothing(lab: Lab) -> None:
    """It says so, and goes on by itself when there is room; nothing is missing or there twice."""
    master, relay, oracle = attached(lab)
    # The oracle says nothing until it reads, however long that takes.
    master.call("CONFIG", "SET", "repl-timeout", 3600)
    worker = _on_tmpfs(lab, relay)
    worker.start()
    try:
        Load(master, features=master.flavour.features).write(50)
        wait_for("the log is there", lambda: inside(worker, "log1/commit.json").exists())
        filler = inside(worker, "filler")
        _fill(filler)
        with master.client() as client:
            for number in range(200):
                client.call("SET", f"key:{number}", "v" * 5000)
        wait_for("it says so", lambda: "No space left on device" in worker.log_tail, 60)
        assert worker.running
        filler.unlink()
        Load(master, features=master.flavour.features, seed=2).write(50)
        end = settle(master, relay)
        records = oracle.records(end)
        log = inside(worker, "log1")
        wait_for(
            "all of it is there",
            lambda: any(
                json.loads(last.value)["offset_end"] >= records[-1].offset_end
                for last in worker.read(log)[0][-1:]
            ),
            60,
        )
        assert_holds(worker, worker.read(log), records)
        assert "Traceback" not in worker.log_tail
    finally:
        worker.kill()


def _fill(filler: Path) -> None:
    """Take all the room that there is."""
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(fd, bytes(4096))
    finally:
        os.close(fd)


class _OnTmpfs(LogWorker):
    """A worker whose log is in a tmpfs that only it (and /proc) sees."""

    def spawn(self, argv: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> None:
        place = self.log_dir.parent
        place.mkdir(exist_ok=True)
        script = f'mount -t tmpfs -o size=3m tmpfs "{place}" && exec "$@"'
        super().spawn(["unshare", "-m", "sh", "-c", script, "sh", *argv], environ)


def inside(worker: LogWorker, name: str) -> Path:
    return Path(f"/proc/{worker.pid}/root{worker.log_dir.parent}/{name}")


def _on_tmpfs(lab: Lab, relay: Relay) -> LogWorker:
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    worker = _OnTmpfs(lab, relay, 1, segment_bytes="64kb")
    worker.log_dir = lab.directory / "small/log1"
    worker.spec = worker.spec.replace(str(lab.directory / "log1"), str(worker.log_dir))
    return worker


def repltap(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "repltap", *words], capture_output=True, check=False, timeout=120
    )
