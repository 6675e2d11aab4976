"""What happened between two looks, told by two statuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from repltap.net.changes import EventKind, EventLevel, changes, started
from repltap.position import ReplId
from repltap.status.access import LoginFailureStatus, ReloadStatus
from repltap.status.counters import Counters
from repltap.status.link import LinkState
from repltap.status.refresh import RefreshReason, RefreshStatus
from repltap.status.replicas import DisconnectStatus, ReplicaState
from repltap.status.sentinel import SentinelSeen, SentinelState, SentinelStatus
from repltap.status.sinks import SinkState, SinkStatus
from repltap.status.store import CheckStatus
from tests.net.admin.fakes import NOW, REPLID, journal, relay_status, replica, upstream

OTHER = ReplId("c" * 40)


def told(before: dict[str, object], after: dict[str, object]) -> list[tuple[str, str, str, str]]:
    found = changes(relay_status(**before), relay_status(**after))
    return [(e.kind.value, e.level.value, e.subject, e.text) for e in found]


def gone(name: str, reason: str, detail: str = "") -> DisconnectStatus:
    return DisconnectStatus(at=NOW - 0.2, replica=name, reason=reason, detail=detail)


def sink(state: SinkState = SinkState.STREAMING, **values: Any) -> SinkStatus:
    return SinkStatus(name="audit", type="file", state=state, **values)


def test_nothing_happened() -> None:
    assert told({}, {"now": NOW + 1, "rss_bytes": 5}) == []


def test_the_start() -> None:
    event = started(relay_status())
    assert (event.kind, event.at) == (EventKind.START, NOW - 90_000)
    assert event.detail["run_id"] == "ab" * 20


def test_the_link_breaks_and_comes_back() -> None:
    down = upstream(state=LinkState.CONNECT, last_error="closed by the master", disconnects=3)
    counted = Counters(upstream_disconnects={"closed": 1})
    assert told({}, {"upstream": down, "counters": counted}) == [
        ("link", "error", "upstream", "the link to the master broke: closed by the master")
    ]
    back = replace(down, state=LinkState.CONNECTED, connects=4)
    after = {"upstream": back, "counters": replace(counted, upstream_sync_partial_ok=1)}
    assert told({"upstream": down, "counters": counted}, after) == [
        ("link", "info", "upstream", "the stream from the master runs"),
        ("resync", "info", "upstream", "the master granted a partial resync"),
    ]


def test_a_link_that_broke_and_came_back_between_two_looks() -> None:
    after = upstream(disconnects=3, connects=4, last_error="reset")
    found = told({}, {"upstream": after, "counters": Counters(upstream_disconnects={"x": 1})})
    assert [(kind, level) for kind, level, *_ in found] == [("link", "error"), ("link", "info")]


def test_a_master_that_stays_away_is_told_once() -> None:
    def away(error: str, times: int) -> dict[str, object]:
        link = upstream(state=LinkState.CONNECT, last_error=error, disconnects=3)
        return {
            "upstream": link,
            "counters": Counters(upstream_disconnects={"connect_failed": times}),
        }

    found = told(away("closed", 0), away("connection refused", 1))
    assert found == [
        ("link", "error", "upstream", "the master can't be followed: connection refused")
    ]
    assert told(away("connection refused", 1), away("connection refused", 2)) == []


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (LinkState.SYNC, "warning"),
        (LinkState.PAUSED, "error"),
        (LinkState.STOPPED, "info"),
    ],
)
def test_the_link_changes_its_state(state: LinkState, level: str) -> None:
    ((kind, seen, subject, _),) = told({}, {"upstream": upstream(state=state)})
    assert (kind, seen, subject) == ("link", level, "upstream")


def test_another_master() -> None:
    ((kind, _, _, text),) = told({}, {"upstream": upstream(host="10.0.0.9")})
    assert (kind, text) == ("repointed", "another master is followed: 10.0.0.9:6379")


def test_sentinels_name_another_and_go_and_come() -> None:
    def seen(*states: SentinelState, **changes: Any) -> dict[str, Any]:
        sentinels = tuple(
            SentinelSeen(address=f"10.0.1.{n}:26379", configured=True, state=state)
            for n, state in enumerate(states)
        )
        named = SentinelStatus(
            master_name="m", sentinels=sentinels, epoch=4, told_by=("10.0.1.0:26379",)
        )
        return {"upstream": upstream(sentinel=named, **changes)}

    here, away = SentinelState.ANSWERING, SentinelState.AWAY
    ((kind, _, _, text),) = told(seen(here, away), seen(here, away, host="10.0.0.9"))
    assert kind == "repointed"
    assert text.endswith("10.0.0.9:6379, as Sentinel says: 10.0.1.0:26379")
    assert told(seen(here, here), seen(here, away)) == []
    # At the start there was none before.
    ((_, level, _, text),) = told(seen(here, here, host="", port=0), seen(here, here))
    assert level == "info"
    assert text.startswith("a master is followed: 127.0.0.1:6379, as Sentinel")
    nobody = seen(away, away, host="10.0.0.9")
    alone = replace(nobody["upstream"].sentinel, told_by=(), last_known="10.0.0.9:6379")
    nobody["upstream"] = replace(nobody["upstream"], sentinel=alone)
    assert told(seen(away, away), nobody)[0][3].endswith(
        "10.0.0.9:6379: the last known one; no sentinel answers"
    )
    assert told(seen(here, away), seen(away, away))[0][:2] == ("sentinel", "error")
    assert told(seen(away, away), seen(here, away))[0] == (
        "sentinel",
        "info",
        "upstream",
        "a sentinel answers again",
    )


def test_another_replid() -> None:
    failover = journal(replid=OTHER, replid2=REPLID)
    ((kind, _, _, text),) = told({}, {"journal": failover})
    assert (kind, text) == ("history", f"the replication id is now {OTHER}")
    ((_, _, _, text),) = told({}, {"journal": journal(replid=OTHER)})
    assert text.endswith(": another history")
    assert told({"journal": None}, {}) == []


def test_resyncs_below() -> None:
    old = {"counters": Counters(sync_partial_err_by_reason={"ahead": 1})}
    new = Counters(
        sync_full=2, sync_partial_ok=1, sync_partial_err_by_reason={"ahead": 1, "not_retained": 1}
    )
    full, partial = told(old, {"counters": new})
    assert full[3] == (
        "a replica gets a full resync (a partial one was not possible: not_retained), 2 times"
    )
    assert partial == ("resync", "info", "relay", "a replica got a partial resync")


def test_a_first_full_resync_is_no_warning() -> None:
    def taken(empty: bool, before: int, after: int) -> list[str]:
        held = {"journal": None} if empty else {}
        state = upstream(state=LinkState.HANDSHAKE)
        old = {"counters": Counters(upstream_sync_full=before), "upstream": state}
        new = {"counters": Counters(upstream_sync_full=after)}
        new_link = {"upstream": replace(state, state=LinkState.SYNC)}
        return [level for _, level, *_ in told({**held, **old}, {**held, **new, **new_link})]

    assert taken(empty=True, before=0, after=1) == ["info", "info"]
    assert taken(empty=False, before=0, after=1) == ["warning", "warning"]
    assert taken(empty=True, before=1, after=2) == ["warning", "warning"]
    # A replica that asked for no partial one, and one that did.
    assert told({}, {"counters": Counters(sync_full=1)})[0][1] == "info"
    denied = Counters(sync_full=1, sync_partial_err_by_reason={"ahead": 1})
    assert told({}, {"counters": denied})[0][1] == "warning"


def test_replicas_come_and_go_on() -> None:
    waiting = replica(state=ReplicaState.WAITING)
    assert told({"replicas": ()}, {"replicas": (waiting,)}) == [
        ("replica", "info", "127.0.0.1:21002", "waits for a snapshot")
    ]
    sent = replica(state=ReplicaState.TRANSFER)
    assert told({"replicas": (waiting,)}, {"replicas": (sent,)})[0][3] == "is sent a snapshot"
    assert told({"replicas": (sent,)}, {})[0][3] == "is online"


def test_a_herd_is_told_in_short() -> None:
    herd = tuple(replica(connection_id=100 + number) for number in range(80))
    found = told({"replicas": ()}, {"replicas": herd})
    assert len(found) == 51
    assert found[-1][3] == "30 more replicas changed their state"


def test_replicas_go() -> None:
    counted = Counters(replica_disconnects={"closed": 1, "shutdown": 1})
    first, second = gone("a:1", "closed"), gone("b:2", "shutdown", "repltap is shutting down")
    found = changes(
        relay_status(), relay_status(counters=counted, recent_disconnects=(second, first))
    )
    assert [(e.subject, e.level, e.text, e.at) for e in found] == [
        ("a:1", EventLevel.ERROR, "disconnected: closed by the replica", NOW - 0.2),
        ("b:2", EventLevel.INFO, "disconnected: repltap is shutting down", NOW - 0.2),
    ]
    assert found[0].detail == {"reason": "closed", "acked_offset": None}


def test_more_go_than_are_remembered() -> None:
    counted = Counters(replica_disconnects={"closed": 40})
    shown = tuple(gone(f"a:{n}", "closed") for n in range(32))
    found = told({}, {"counters": counted, "recent_disconnects": shown})
    assert len(found) == 33
    assert found[0][3] == "8 more replicas went"


def test_another_snapshot() -> None:
    asked = RefreshStatus(reason=RefreshReason.AGE, started_at=NOW)
    assert told({}, {"refresh": asked})[0][3] == "another snapshot is fetched (age)"
    assert told({"refresh": asked}, {"refresh": replace(asked, received_bytes=5)}) == []
    stored = told({"refresh": asked}, {"counters": Counters(snapshot_refreshes=1)})
    assert stored[0][3] == "another snapshot has arrived"
    failed = told({"refresh": asked}, {"counters": Counters(snapshot_refresh_failures=1)})
    assert failed[0][:2] == ("snapshot", "warning")


def test_sinks() -> None:
    retrying = sink(SinkState.RETRYING, last_error="no such directory")
    assert told({"sinks": (sink(),)}, {"sinks": (retrying,)}) == [
        ("sink", "warning", "audit", "retrying: no such directory")
    ]
    assert told({"sinks": (retrying,)}, {"sinks": (sink(last_error="old"),)}) == [
        ("sink", "info", "audit", "streaming")
    ]
    again = told({"sinks": (sink(),)}, {"sinks": (sink(restarts=1, last_error="killed"),)})
    assert again == [("sink", "error", "audit", "its process was started again; streaming: killed")]
    lost = told({"sinks": (sink(),)}, {"sinks": (sink(lost_bytes=7),)})
    assert lost == [("sink", "error", "audit", "7 bytes were let go before they were delivered")]


def test_the_disk() -> None:
    assert told({}, {"disk_full": True})[0][:2] == ("disk", "error")
    assert told({"disk_full": True}, {})[0][3] == "there is room again"
    check = CheckStatus(checked_bytes=10, total_bytes=10, damaged=2)
    found = told({}, {"journal": journal(check=check)})
    assert found[0][3] == "2 stored files are damaged and are not served"


def test_failed_logins() -> None:
    failure = LoginFailureStatus(at=NOW, address="10.0.0.7", count=12)
    (found,) = told({}, {"login_failure": failure})
    assert found == ("access", "warning", "relay", "12 logins failed, the last from 10.0.0.7")
    assert told({"login_failure": failure}, {"login_failure": failure}) == []


def test_reloads() -> None:
    old = ReloadStatus(part="users", at=NOW - 9, result="nothing changed")
    good = ReloadStatus(part="users", at=NOW, result="changed: default")
    bad = ReloadStatus(part="token", at=NOW, error="/f: can't be read")
    assert told({"reloads": (old,)}, {"reloads": (good, bad)}) == [
        ("reload", "info", "relay", "users: reloaded: changed: default"),
        ("reload", "error", "relay", "token: not reloaded: /f: can't be read"),
    ]
    assert told({"reloads": (good,)}, {"reloads": (good,)}) == []
