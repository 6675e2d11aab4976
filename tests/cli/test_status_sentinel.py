"""What `repltap status` says of sentinels and of a re-point."""

from __future__ import annotations

import orjson

from repltap.cli.sections import as_text
from repltap.cli.status_document import decode_status
from repltap.cli.status_view import sections
from repltap.net.web import status_document
from repltap.status.sentinel import SentinelSeen, SentinelState, SentinelStatus
from tests.net.admin.fakes import NOW, relay_status, upstream

NAMED = SentinelStatus(
    master_name="mymaster",
    sentinels=(
        SentinelSeen(
            address="10.0.1.1:26379",
            configured=True,
            state=SentinelState.ANSWERING,
            master="127.0.0.1:6379",
            epoch=4,
            told_at=NOW - 3,
            listening=True,
        ),
        SentinelSeen(
            address="10.0.1.2:26379", configured=False, state=SentinelState.AWAY, error="no answer"
        ),
    ),
    epoch=4,
    told_by=("10.0.1.1:26379",),
    followed_since=NOW - 7200,
    switches=2,
)


def test_who_names_the_master() -> None:
    status = relay_status(upstream=upstream(sentinel=NAMED))
    lines = [" ".join(line.split()) for line in as_text(sections(status)).splitlines()]
    assert "named by Sentinel, 'mymaster': 1 of 2 answer, since 2h 0m, 2 switches" in lines
    assert "10.0.1.1:26379 answering 127.0.0.1:6379 4 3s ago yes" in lines
    assert "10.0.1.2:26379 away: no answer - - - no" in lines
    assert decode_status(orjson.dumps(status_document(status))) == status


def test_before_a_master_is_known() -> None:
    nobody = SentinelStatus(master_name="m", objection="it says that it is a replica")
    shown = as_text(sections(relay_status(upstream=upstream(host="", port=0, sentinel=nobody))))
    assert "not known yet" in shown
    assert "0 of 0 answer; they name another, not followed yet: it says that it is a" in shown


def test_a_start_without_them() -> None:
    def shown(**values: object) -> str:
        named = SentinelStatus(master_name="m", last_known="10.0.0.9:6379", **values)  # type: ignore[arg-type]
        return " ".join(as_text(sections(relay_status(upstream=upstream(sentinel=named)))).split())

    assert "sentinels away, following the last known master since 1m 30s" in shown(
        followed_since=NOW - 90
    )
    assert "10.0.0.9:6379, the last known master, is not followed: can't connect" in shown(
        objection="can't connect"
    )


def test_a_re_point() -> None:
    kept = relay_status(upstream=upstream(configured="10.0.0.9:6379", kept=True))
    assert "10.0.0.9:6379; another is followed by REPLICAOF, kept over a restart" in as_text(
        sections(kept)
    )
    until = relay_status(upstream=upstream(configured="10.0.0.9:6379"))
    assert "until the next start" in as_text(sections(until))
