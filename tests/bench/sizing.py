"""What deploy/sizing.md is made of: memory, disk and network of a relay and its sinks.

`python -m tests.bench.sizing` prints JSON. Nothing is timed, so a busy machine changes little:
resident memory is VmRSS and its peak VmHWM of /proc/PID/status, disk is what the files take,
network what the relay counts. One stream for all of it: SETs of 64-byte values to 100,000 keys.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.bench.crowd import Crowd
from tests.bench.stage import choose_server
from tests.bench.writer import Heartbeat, write_paced, write_stream
from tests.servers.kafka import Broker
from tests.servers.lab import Lab, laboratory
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

WRITES = 200_000
PACED, PER_SECOND = 10_000, 1_000
REPLICAS = (1, 10, 100, 300)
_WAIT_SECONDS = 300.0
_SINKS = ("file", "log", "metrics", "stdout", "redis")


def main() -> None:
    """Measure and print."""
    found: dict[str, Any] = {"server": choose_server().name}
    with laboratory() as lab:
        master = lab.master(choose_server(), rdbcompression="no")
        found["relay"] = _relay(lab, master)
    for kind in _SINKS:
        print(kind, file=sys.stderr)
        with laboratory() as lab:
            found[f"sink {kind}"] = _sink(lab, kind)
    for stalled in (False, True):
        print("kafka", "stalled" if stalled else "", file=sys.stderr)
        with laboratory() as lab:
            found["sink kafka, broker stalled" if stalled else "sink kafka"] = _kafka(lab, stalled)
    print(json.dumps(found, indent=2))


def _relay(lab: Lab, master: Server) -> dict[str, Any]:
    empty = int(master.info("memory")["used_memory"])
    write_stream(master.port, WRITES, _WAIT_SECONDS)
    used = int(master.info("memory")["used_memory"]) - empty
    keys = int(master.call("DBSIZE"))
    relay = lab.relay(master)
    relay.wait_link(_WAIT_SECONDS)
    wait_for("the snapshot", relay.snapshots, _WAIT_SECONDS)
    found: dict[str, Any] = {
        "rss_bytes": {"no replica": relay.memory_bytes()},
        "keys": keys,
        "dataset_bytes": used,
        "snapshot_bytes": relay.snapshots()[0]["size_bytes"],
    }
    with Crowd() as crowd:
        there = 0
        for count in REPLICAS:
            with Heartbeat(master):
                crowd.attach(relay.port, count - there)
                crowd.wait_online(_WAIT_SECONDS)
            there = count
            write_stream(master.port, 10_000, _WAIT_SECONDS)
            crowd.wait_offset(master.offset, _WAIT_SECONDS)
            found["rss_bytes"][f"{count} replicas"] = relay.memory_bytes()
    found["peak_rss_bytes"] = relay.memory_bytes("VmHWM")
    found["full speed"] = _journal(
        master, relay, lambda: write_stream(master.port, WRITES, _WAIT_SECONDS), WRITES
    )
    found["paced"] = _journal(
        master, relay, lambda: write_paced(master.port, PACED, PER_SECOND), PACED
    )
    return found


def _journal(
    master: Server, relay: Relay, write: Callable[[], None], commands: int
) -> dict[str, Any]:
    """What a number of commands take on the disk, and on the wire from the master."""
    _caught_up(master, relay)
    before = relay.status()
    write()
    _caught_up(master, relay)
    after = relay.status()

    def grown(*names: str) -> int:
        old: Any = before
        new: Any = after
        for name in names:
            old, new = old[name], new[name]
        return int(new - old)

    return {
        "commands": commands,
        "stream_bytes_per_command": grown("journal", "end_offset") / commands,
        "disk_bytes_per_command": grown("journal", "disk_bytes") / commands,
        "received_bytes_per_command": grown("counters", "net_repl_input_bytes") / commands,
    }


def _caught_up(master: Server, relay: Relay) -> None:
    wait_for("the relay", lambda: relay.offset == master.offset, _WAIT_SECONDS)


def _sink(lab: Lab, kind: str) -> dict[str, Any]:
    """The memory of one sink's process, and what it has written, after a snapshot and a stream."""
    master = lab.master(choose_server())
    write_stream(master.port, WRITES // 2, _WAIT_SECONDS)
    written: Path | None = None
    spec = kind
    if kind in ("file", "log"):
        written = lab.directory / "out"
        spec = f"{kind}:{written}"
    elif kind == "redis":
        target = lab.master(choose_server(), "target")
        spec = f"redis:redis://127.0.0.1:{target.port}"
    relay = lab.relay(master, sink=f"{spec},snapshot=always")
    relay.wait_link(_WAIT_SECONDS)
    write_stream(master.port, WRITES, _WAIT_SECONDS)

    def done() -> Any:
        (sink,) = relay.status()["sinks"]
        return sink["records"] > WRITES and sink["lag_bytes"] == 0 and sink

    shown = wait_for("the sink", done, _WAIT_SECONDS)
    memory = psutil.Process(shown["pid"]).memory_info().rss
    found = {
        "rss_bytes": memory,
        "peak_rss_bytes": _peak_bytes(shown["pid"]),
        "records": shown["records"],
    }
    if written is not None:
        files = [written] if written.is_file() else list(written.rglob("*"))
        size = sum(file.stat().st_size for file in files if file.is_file())
        found["bytes_per_record"] = round(size / shown["records"], 1)
    return found


def _kafka(lab: Lab, stalled: bool) -> dict[str, Any]:
    """The memory of a kafka sink's process, whose broker takes all, or nothing any more."""
    master = lab.master(choose_server())
    with Broker(lab.directory / "broker", proxied=True) as broker:
        assert broker.proxy is not None
        relay = lab.relay(master, sink=f"kafka:{broker.address}/redis,create_partitions=1")
        relay.wait_link(_WAIT_SECONDS)
        write_stream(master.port, WRITES // 2, _WAIT_SECONDS)

        def shown() -> Any:
            return relay.status()["sinks"][0]

        wait_for("the sink", lambda: shown()["records"] >= WRITES // 2, _WAIT_SECONDS)
        wait_for("its commit", lambda: shown()["lag_bytes"] == 0, _WAIT_SECONDS)
        if stalled:
            broker.proxy.weather.stall()
        write_stream(master.port, 2 * WRITES, _WAIT_SECONDS)
        pid = shown()["pid"]
        if stalled:
            wait_for("its first error", lambda: shown()["last_error"], _WAIT_SECONDS)
        else:
            wait_for("its commit", lambda: shown()["lag_bytes"] == 0, _WAIT_SECONDS)
        return {
            "rss_bytes": psutil.Process(pid).memory_info().rss,
            "peak_rss_bytes": _peak_bytes(pid),
            "records": shown()["records"],
        }


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return (
        int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
        * 1024
    )


if __name__ == "__main__":
    main()
