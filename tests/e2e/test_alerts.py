"""Every alert that ships, in its true fault: a real Prometheus sees it fire, and clear afterwards.

The rules are those of `deploy/prometheus`, quickened by `tests/servers/alerts.py`.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers.alerts import PATIENCE_SECONDS, RULES, Watch
from tests.servers.bulk import write
from tests.servers.jotter import TYPE
from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.servers.prometheus import quicken, substitute
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.relay import Relay
from tests.servers.sentinel import MASTER_NAME
from tests.servers.server import Server
from tests.servers.tmpfs import on_tmpfs
from tests.servers.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.relay_only]

PROGRAM = "redis-7.0"

# Which test sees which alerts fire; `test_no_alert_is_left_out` compares it with the rules.
PROCESS = {"RepltapDown", "RepltapRestarting", "RepltapSentinelsAway"}
LINK = {
    "RepltapUpstreamDown",
    "RepltapUpstreamSilent",
    "RepltapUpstreamLag",
    "RepltapLinkFlapping",
    "RepltapFullResyncs",
    "RepltapPartialResyncDenied",
}
REPLICAS = {
    "RepltapReplicaLost",
    "RepltapReplicaLagBytes",
    "RepltapReplicaLagSeconds",
    "RepltapConsumerNearRetention",
    "RepltapFullResyncsServed",
    "RepltapPartialResyncDenied",
}
TARGET = {
    "RepltapSinkLag",
    "RepltapSinkDown",
    "RepltapSinkDiscards",
    "RepltapCheckpointStale",
}
WORKER = {"RepltapSinkRestarting", "RepltapConsumerNearRetention"}
DISK = {"RepltapDiskLow", "RepltapDiskFilling", "RepltapUpstreamDown"}
QUOTA = {"RepltapQuotaNear", "RepltapSinkDiscards", "RepltapCertificateExpiring"}
STORED = {"RepltapSnapshotOld", "RepltapStoreDamaged"}


def _master(lab: Lab) -> Server:
    return lab.master(PROGRAM, repl_ping_replica_period=1)


def test_durations_are_divided_and_nothing_else() -> None:
    rule = """
      - alert: One
        expr: 'increase(x_total[10m] offset 1h) > 60 or y{z="5m"} > 7 * 86400'
        for: 1m
      - alert: Two
        expr: 'x > 60'
        for: 0s
"""
    assert quicken(rule, 60) == (
        rule.replace("[10m]", "[10000ms]")
        .replace("offset 1h", "offset 60000ms")
        .replace("for: 1m", "for: 1000ms")
        .replace("for: 0s", "for: 0ms")
    )
    assert "for: 400ms" in quicken(rule, 1000)  # two scrapes
    changed = substitute(rule, {"Two": {"> 60": "> 1"}})
    assert changed == rule.replace("'x > 60'", "'x > 1'")
    with pytest.raises(AssertionError):
        substitute(rule, {"One": {"> 61": "> 1"}})


def test_no_alert_is_left_out() -> None:
    names = re.findall(r"- alert: (\w+)", RULES.read_text())
    seen = PROCESS | LINK | REPLICAS | TARGET | WORKER | DISK | QUOTA | STORED
    assert set(names) == seen
    assert len(names) > 20


def test_the_link(lab: Lab) -> None:
    """Stalled, cut, cut again and again, and without the master's history."""
    master = _master(lab)
    stall = Fault(direction=Direction.TO_CLIENT, action=Action.STALL, at=b"stall-here")
    proxy = lab.proxy(master, stall)
    relay = lab.relay(proxy, upstream_poll_seconds=0.25)
    relay.wait_link()
    watch = Watch(lab, relay, LINK)
    watch.all_is_well()

    master.call("SET", "key", "stall-here")
    master.call("SET", "key", "behind it")
    watch.wait_fires("RepltapUpstreamLag", "RepltapUpstreamSilent")
    proxy.cut()
    watch.wait_clear()

    proxy.weather.refusing = True
    proxy.cut()
    watch.wait_fires("RepltapUpstreamDown")
    proxy.weather.refusing = False
    watch.wait_clear()

    def interrupt() -> None:
        before = relay.status()["upstream"]["connects"]
        proxy.cut()
        wait_for("another link", lambda: relay.status()["upstream"]["connects"] > before)

    watch.provoke("RepltapLinkFlapping", interrupt)
    watch.wait_clear()

    def forget() -> None:
        master.call("DEBUG", "CHANGE-REPL-ID")
        interrupt()

    watch.provoke("RepltapFullResyncs", forget)
    watch.provoke("RepltapPartialResyncDenied", forget)  # it fires for five seconds each time
    watch.done()


def test_the_process(lab: Lab) -> None:
    """Without the sentinel that names its master, gone, and ending again and again."""
    master = _master(lab)
    (sentinel,) = lab.sentinels(PROGRAM, master, 1, quorum=1)
    relay = lab.relay(master, start=False)
    relay.upstream_url = f"redis-sentinel://127.0.0.1:{sentinel.port}/{MASTER_NAME}"
    relay.start()
    relay.wait_link()
    watch = Watch(lab, relay, PROCESS)
    watch.all_is_well()
    sentinel.kill()
    watch.wait_fires("RepltapSentinelsAway")
    sentinel.restart()
    watch.wait_clear()
    relay.kill()
    watch.wait_fires("RepltapDown")
    relay.restart()

    def crash() -> None:
        before = watch.started
        relay.kill()
        relay.restart()
        wait_for("it is scraped", lambda: watch.started not in ("", before))

    watch.provoke("RepltapRestarting", crash)
    watch.done()


def test_the_replicas(lab: Lab) -> None:
    """One that is frozen, gone, and one that has to be given everything again and again."""
    master = _master(lab)
    relay = lab.relay(master, store_retain_bytes="8mb", store_segment_bytes="1mb")
    relay.wait_link()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_ready()
    replica.wait_link()
    watch = Watch(lab, relay, REPLICAS)
    watch.all_is_well()

    replica.freeze()
    write(master, 16)
    watch.wait_fires(
        "RepltapReplicaLagBytes", "RepltapReplicaLagSeconds", "RepltapConsumerNearRetention"
    )
    replica.thaw()
    watch.wait_clear()

    def lose() -> None:
        if not replica.running:
            replica.restart()
            replica.wait_link()
            watch.wait_seen('repltap_downstream_replicas{state="online"} == 1')
        replica.kill()
        watch.wait_seen('repltap_downstream_replicas{state="online"} == 0')

    watch.provoke("RepltapReplicaLost", lose, 7.5)
    replica.restart()
    replica.wait_link()
    watch.wait_clear()

    def promote() -> None:
        """It gets a history of its own, and can't be continued."""
        replica.call("REPLICAOF", "NO", "ONE")
        replica.follow(relay)
        replica.wait_link()

    watch.provoke("RepltapFullResyncsServed", promote)
    watch.provoke("RepltapPartialResyncDenied", promote)  # it fires for five seconds each time
    watch.done()


def test_the_target(lab: Lab) -> None:
    """Of a sink: it hangs, is away, and refuses what does not fit to what others wrote there."""
    master = _master(lab)
    target = lab.master(PROGRAM, "target", appendonly="yes", appendfsync="always")
    url = f"redis://127.0.0.1:{target.port}"
    relay = lab.relay(master, sink=f"redis:{url},sink=mirror,on_error=log")
    relay.wait_link()
    master.call("SET", "key", "value")
    wait_for("the sink", lambda: target.call("GET", "key"))
    watch = Watch(lab, relay, TARGET)
    watch.all_is_well()

    target.freeze()
    master.call("SET", "key", "blocked")
    watch.wait_fires("RepltapSinkLag", "RepltapCheckpointStale")
    target.thaw()
    watch.wait_clear()

    target.kill()
    master.call("SET", "key", "away")
    watch.wait_fires("RepltapSinkDown")
    target.restart()
    watch.wait_clear()

    target.call("SET", "list", "somebody else's")
    watch.provoke("RepltapSinkDiscards", lambda: master.call("RPUSH", "list", "value"), 5)
    watch.done()


def test_the_worker(lab: Lab) -> None:
    """Of a sink: it crashes at each start, and is frozen."""
    notes = lab.directory / "notes.jsonl"
    master = _master(lab)
    relay = lab.relay(
        master,
        sink=f"{TYPE}:{notes},sink=notes",
        store_retain_bytes="8mb",
        store_segment_bytes="1mb",
    )
    relay.wait_link()
    master.call("SET", "key", "value")
    wait_for("the sink", notes.exists)
    watch = Watch(lab, relay, WORKER)
    watch.all_is_well()

    fault = notes.with_suffix(".jsonl.fault")
    fault.write_text("exit")
    master.call("SET", "key", "crash")
    watch.wait_fires("RepltapSinkRestarting")
    fault.unlink()
    wait_for("it stays", lambda: _suspended(relay, "notes"))
    write(master, 16)
    watch.wait_fires("RepltapConsumerNearRetention")
    psutil.Process(_pid(relay, "notes")).resume()
    watch.done()


def _suspended(relay: Relay, sink: str) -> bool:
    """Suspend the process of a sink, if it is not one that still ends, or has."""
    ends = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    try:
        process = psutil.Process(_pid(relay, sink))
        process.suspend()
        wait_for("it stands still, or has ended", lambda: process.status() in ends)
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _pid(relay: Relay, sink: str) -> int:
    """Of the process of a sink."""

    def found() -> int:
        return next(s["pid"] for s in relay.status()["sinks"] if s["name"] == sink) or 0

    return wait_for(f"the process of {sink}", found)


def test_the_disk(lab: Lab) -> None:
    """It fills up, and is full."""
    master = _master(lab)
    relay = on_tmpfs(lab, master, "size=100m")
    relay.wait_link()
    watch = Watch(lab, relay, DISK)
    watch.all_is_well()
    filler = Path(f"/proc/{relay.pid}/root{relay.data_dir.parent}/filler")

    def fill() -> None:
        """By a part of what is left: it goes on long enough, however seldom Prometheus looks."""
        with filler.open("ab") as file:
            file.write(bytes(_room(filler.parent) // 80))
        time.sleep(0.2)  # real time: what is predicted is how it goes on

    watch.provoke("RepltapDiskFilling", fill)
    with filler.open("ab") as file:
        file.write(bytes(max(0, _room(filler) - (10 << 20))))
    watch.wait_fires("RepltapDiskLow")
    write(master, 20)
    watch.wait_fires("RepltapUpstreamDown")
    filler.unlink()
    watch.done()


def _room(path: Path) -> int:
    """What the file system has left."""
    return psutil.disk_usage(str(path)).free


def test_the_quota(lab: Lab) -> None:
    """A sink that hangs has the store keep more and more for it, and then lose it.

    Before that, a certificate ends soon and is renewed.
    """
    notes = lab.directory / "notes.jsonl"
    pair = lab.authority.issue()
    master = _master(lab)
    relay = lab.relay(
        master,
        sink=f"{TYPE}:{notes},sink=notes",
        store_quota_bytes="16mb",
        store_retain_bytes="1mb",
        store_min_free_bytes=0,
        listen_tls_address=f"127.0.0.1:{free_port()}",
        **pair.options("listen_tls_"),
    )
    relay.wait_link()
    master.call("SET", "key", "value")
    wait_for("the sink", notes.exists)
    watch = Watch(lab, relay, QUOTA)
    watch.all_is_well()
    lab.authority.issue(days=3, into=pair)
    os.kill(relay.pid, signal.SIGHUP)
    watch.wait_fires("RepltapCertificateExpiring")
    lab.authority.issue(days=90, into=pair)
    os.kill(relay.pid, signal.SIGHUP)
    watch.wait_clear()
    fault = notes.with_suffix(".jsonl.fault")
    fault.write_text("hang")
    write(master, 9)
    watch.wait_fires("RepltapQuotaNear")
    assert not watch.fires("RepltapSinkDiscards")  # there is still time
    watch.provoke("RepltapSinkDiscards", lambda: write(master, 9), 5)
    fault.unlink()
    psutil.Process(_pid(relay, "notes")).kill()
    watch.done()


def test_what_is_stored(lab: Lab) -> None:
    """A snapshot that gets old, and one that is damaged."""
    master = _master(lab)
    write(master, 1)
    relay = lab.relay(master)
    relay.wait_link()
    watch = Watch(lab, relay, STORED, {"RepltapSnapshotOld": {"> 7 * 86400": "> 8"}})
    watch.all_is_well("RepltapSnapshotOld")  # it gets old while Prometheus starts
    watch.wait_fires("RepltapSnapshotOld")
    relay.stop()
    for snapshot in _snapshots(relay):
        data = bytearray(snapshot.read_bytes())
        data[len(data) // 2] ^= 1
        snapshot.write_bytes(data)
    relay.restart()
    watch.wait_fires("RepltapStoreDamaged")
    relay.stop()
    relay.options["snapshot_refresh_seconds"] = 1
    relay.restart()
    relay.wait_link()
    write(master, 1)
    wait_for("another snapshot", relay.snapshots)
    wait_for("it clears", lambda: not watch.fires("RepltapSnapshotOld"), PATIENCE_SECONDS)


def _snapshots(relay: Relay) -> Iterator[Path]:
    yield from relay.data_dir.glob("histories/*/snapshots/*.rdb")
