"""The commands that look into the store, beside relays that work and after real damage."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.secrets import assert_no_secret, secret
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

# A stored snapshot holds the journal back, as far as the second allows.
TIGHT: dict[str, str | int] = {"store_retain_bytes": "256kb", "store_pin_limit_bytes": "256kb"}


def run(*words: str, environ: Mapping[str, str], code: int = 0) -> bytes:
    """Run a command, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "repltap", *words],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert_no_secret((" ".join(words), done.stdout + done.stderr))
    assert done.returncode == code, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def repltap(relay: Relay, *words: str, code: int = 0) -> bytes:
    """Run a command on a relay's data directory, and give what it printed."""
    return run(*words, "--data-dir", str(relay.data_dir), environ=relay.environ(), code=code)


def as_json(relay: Relay, *words: str, code: int = 0) -> dict[str, Any]:
    found = json.loads(repltap(relay, *words, "--json", code=code))
    assert isinstance(found, dict)
    return found


def test_verify_beside_a_relay_that_appends_rolls_and_trims(lab: Lab) -> None:
    """Whatever the relay does meanwhile, nothing looks damaged."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features)
    relay = lab.relay(master, store_segment_bytes="64kb", **TIGHT)
    relay.wait_link()
    with load:
        wait_for("it trims", lambda: relay.status()["journal"]["first_offset"] > 300_000)
        for _ in range(12):
            found = as_json(relay, "journal", "verify")
            assert found["owner"] == relay.pid
            (history,) = found["histories"]
            assert history["checked_bytes"] > 0
            assert as_json(relay, "journal", "ls", "--segments")["histories"]
            assert as_json(relay, "snapshot", "verify")["damages"] == []
    assert master.syncs.full == 1


def test_verify_names_what_was_damaged_on_the_disk(lab: Lab) -> None:
    """After a stop: bytes flipped in a segment, an index and a snapshot, a segment removed."""
    master = lab.master("redis-7.0")
    relay = lab.relay(master, store_segment_bytes="64kb")
    relay.wait_link()
    Load(master, features=master.flavour.features).write(1500)
    wait_for("all is stored", lambda: relay.offset == master.offset)
    assert relay.stop() == 0
    repltap(relay, "journal", "verify")
    repltap(relay, "snapshot", "verify")
    segments = sorted(relay.data_dir.glob("histories/*/journal/*.seg"))
    assert len(segments) > 6
    flip(segments[1], 5000)
    flip(segments[2].with_suffix(".idx"), 3)
    segments[4].unlink()
    segments[4].with_suffix(".idx").unlink()
    damages = as_json(relay, "journal", "verify", code=5)["damages"]
    assert [damage["file"] for damage in damages] == [
        str(segments[1]),
        str(segments[2].with_suffix(".idx")),
        str(segments[4]),
    ]
    (snapshot,) = relay.data_dir.glob("histories/*/snapshots/*.rdb")
    flip(snapshot, 40)
    (damage,) = as_json(relay, "snapshot", "verify", code=5)["damages"]
    assert damage["file"] == str(snapshot)


def test_cat_prints_what_a_replica_received(lab: Lab) -> None:
    """The whole range, in bytes; piped into an empty server it gives the same dataset."""
    master = lab.master("redis-7.0")
    relay = lab.relay(master, store_segment_bytes="64kb")
    relay.wait_link()
    start = relay.status()["journal"]["first_offset"]
    Load(master, features=master.flavour.features).write(1500)
    middle = master.offset
    master.call("FLUSHALL")
    with master.client() as client:
        for number in range(300):
            client.call("RPUSH", f"list:{number % 7}", bytes(range(256)), number)
    wait_for("all is stored", lambda: relay.offset == master.offset)
    end = relay.offset
    with RawReplica(relay.port) as replica:
        replid = relay.status()["journal"]["replid"]
        replica.send(f"PSYNC {replid} {start + 1}\r\n".encode())
        assert replica.line().startswith(b"+CONTINUE")
        received = replica.read(end - start)
    words = ("journal", "cat", "--from", str(start), "--to", str(end))
    # A relay covers what has just come in within 50 ms.
    wait_for("it is covered", lambda: covered(relay) >= end)
    raw = repltap(relay, *words, "--format", "raw")
    assert raw == received
    commands = [
        json.loads(line) for line in repltap(relay, *words, "--format", "json").split(b"\n") if line
    ]
    assert (commands[0]["offset_start"], commands[-1]["offset_end"]) == (start, end)
    assert all(a["offset_end"] == b["offset_start"] for a, b in pairwise(commands))
    assert len(repltap(relay, *words).splitlines()) == len(commands)
    copy = lab.master("redis-7.0", "copy")
    subprocess.run(
        ["redis-cli", "-p", str(copy.port), "--pipe"],
        input=repltap(relay, "journal", "cat", "--from", str(middle), "--format", "raw"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert copy.digest() == master.digest()


@pytest.mark.parametrize("program", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
def test_fetched_snapshots_load(lab: Lab, program: str) -> None:
    """From the master with a password, from the relay, and out of the store: equal datasets."""
    master = lab.master(program, requirepass=secret())
    # Nothing that expires: the copies would not agree on when.
    with master.client() as client:
        for number in range(200):
            client.call("RPUSH", f"list:{number % 7}", bytes(range(256)), number)
            client.call("HSET", f"hash:{number % 5}", f"field:{number}", "x" * number)
            client.call("XADD", "stream", "*", "n", number)
    relay = lab.relay(master, upstream_password=secret())
    relay.wait_link()
    clean = {key: value for key, value in relay.environ().items() if "UPSTREAM" not in key}
    given = {"REPLTAP_UPSTREAM_PASSWORD": secret()}
    before = master.syncs.full
    for number, (words, environ) in enumerate(
        [
            (("--upstream", f"redis://127.0.0.1:{master.port}"), clean | given),
            (("--upstream", f"redis://127.0.0.1:{relay.port}"), clean),
            (("--data-dir", str(relay.data_dir)), clean),
        ]
    ):
        copy = lab.server(program, f"copy-{number}", start=False, dbfilename="dump.rdb")
        copy.directory.mkdir(exist_ok=True)
        output = ("--output", str(copy.directory / "dump.rdb"))
        run("snapshot", "fetch", *words, *output, environ=environ)
        copy.start()
        copy.wait_ready()
        assert copy.digest() == master.digest(), words
    assert master.syncs.full <= before + 1
    refused = ("--upstream", f"redis://127.0.0.1:{master.port}", "--output", "/dev/null/x")
    run("snapshot", "fetch", *refused, environ=clean | given, code=4)
    wrong = ("--upstream", f"redis://127.0.0.1:{master.port}", "--output", str(lab.directory / "x"))
    run("snapshot", "fetch", *wrong, environ=clean, code=1)
    assert not list(lab.directory.glob("*x*"))


def test_follow_beside_a_relay_that_trims(lab: Lab) -> None:
    """Follow prints every command once, while what it has printed is trimmed."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features)
    limits: dict[str, str | int] = dict.fromkeys(TIGHT, "2mb")
    relay = lab.relay(master, store_segment_bytes="64kb", **limits)
    relay.wait_link()
    words = ("journal", "cat", "--follow", "--format", "json", "--data-dir", str(relay.data_dir))
    command = [sys.executable, "-m", "repltap", *words]
    with subprocess.Popen(command, env=relay.environ(), stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        end, written = None, 0
        while end is None or end < 4_000_000:
            # It reads while more comes, and is never so far behind that this is trimmed before.
            load.write(60)
            before, written = written, master.offset
            while end is None or end < before:
                one = json.loads(following.stdout.readline())
                assert end in (None, one["offset_start"])
                end = one["offset_end"]
        following.stdout.close()
        wait_for("its end", lambda: (load.write(5), following.poll())[1] is not None)
        assert following.returncode == 141
    wait_for("it trims", lambda: relay.status()["journal"]["first_offset"] > 500_000)


def test_damage_is_found_without_any_reader(lab: Lab) -> None:
    """The background check gives up what is damaged, through a restart; nobody asked for it."""
    master = lab.master("redis-7.0")
    relay = lab.relay(master, store_segment_bytes="64kb", store_check_bytes_per_second="64kb")
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_link()
    Load(master, features=master.flavour.features).write(1500)
    wait_for("all is stored", lambda: relay.offset == master.offset)
    assert relay.stop() == 0
    segments = sorted(relay.data_dir.glob("histories/*/journal/*.seg"))
    assert len(segments) > 20  # so many seconds, but for a few, until it is come to
    damaged, behind = segments[-4:-2]
    flip(damaged, 5000)
    relay.start()
    relay.wait_ready()
    wait_for("it has begun", lambda: checked(relay)["checked_bytes"] > 0)
    relay.kill()  # in the middle of the check: the next start does it again
    relay.options["store_check_bytes_per_second"] = "1gb"
    relay.start()
    relay.wait_ready()
    wait_for("it is found", lambda: checked(relay)["damaged"] == 1)
    wait_for("all is checked", lambda: is_done(checked(relay)))
    assert f"{damaged}: damaged at offset " in relay.log
    assert relay.status()["journal"]["first_offset"] == int(behind.stem)
    wait_for("its file goes", lambda: not damaged.exists())  # after all those before it
    wait_for("the links are up", lambda: relay.link_up and replica.link_up)
    Load(master, features=master.flavour.features).write(50)
    wait_same(master, replica)
    assert (master.syncs.full, replica.full_syncs_received) == (1, 1)
    repltap(relay, "journal", "verify")


def checked(relay: Relay) -> dict[str, int]:
    return dict(relay.status()["journal"]["check"])


def is_done(check: dict[str, int]) -> bool:
    return check["checked_bytes"] == check["total_bytes"]


def covered(relay: Relay) -> int:
    return int(as_json(relay, "journal", "ls")["histories"][0]["end_offset"])


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)
