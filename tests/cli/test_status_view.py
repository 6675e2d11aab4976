"""What a person gets to see, on a terminal and in a file."""

import pytest

from repltap.cli.sections import as_text
from repltap.cli.status_view import sections
from repltap.position import NO_REPLID, Offset
from repltap.status.access import ReloadStatus
from repltap.status.certificates import CertificateStatus
from repltap.status.counters import Counters
from repltap.status.link import LinkState, SyncProgress
from repltap.status.refresh import RefreshFailureStatus, RefreshReason, RefreshStatus
from repltap.status.relay import RelayStatus
from repltap.status.replicas import DisconnectStatus, ReplicaState
from repltap.status.store import CheckStatus
from tests.net.admin.fakes import NOW, journal, relay_status, replica, upstream


def text(status: RelayStatus) -> str:
    return as_text(sections(status))


def test_plain_text_is_aligned() -> None:
    behind = replica(
        ip="10.0.0.2",
        state=ReplicaState.WAITING,
        acked_offset=None,
        lag_bytes=None,
        lag_seconds=None,
        version="",
    )
    shown = text(relay_status(replicas=(replica(), behind)))
    assert shown == (
        "repltap 0.1.0\n"
        "  listening  127.0.0.1:6390\n"
        "  up         1d 1h\n"
        "  clients    3 of 1024\n"
        "  memory     22.0 MiB, peak 44.0 MiB\n"
        "  data       data\n"
        "  disk       5.0 GiB free\n"
        "\n"
        "Upstream\n"
        "  master        127.0.0.1:6379\n"
        "  link          up for 10m 0s\n"
        "  version       7.0.15\n"
        "  last byte     2s ago\n"
        "  acknowledged  4900 (received)\n"
        "\n"
        "Journal\n"
        "  replid   416457422e4a6438949045ca729ca19c0ab99b5a\n"
        "  before   e34e9c37940fb25bdbd69053c301fc0781789f86 up to 100\n"
        "  offsets  50 to 5050 (4.9 KiB)\n"
        "  synced   5000 (50 B to go)\n"
        "  on disk  8.0 KiB\n"
        "\n"
        "Snapshots\n"
        "  offset     size  format       age     tail\n"
        "    3000  118 MiB  REDIS0010  2h 0m  2.0 KiB\n"
        "\n"
        "Replicas (2)\n"
        "  replica          state    acked   lag  in time  last ack  version\n"
        "  127.0.0.1:21002  online    5000  50 B       0s        1s  7.0.15\n"
        "  10.0.0.2:21002   waiting      -     -        -        1s  -"
    )


def test_those_who_left() -> None:
    gone = (
        DisconnectStatus(
            at=NOW - 5, replica="10.0.0.2:6379", reason="lag_bytes", detail="6100 bytes behind"
        ),
        DisconnectStatus(
            at=NOW - 200, replica="10.0.0.3:6379", reason="closed", acked_offset=Offset(77)
        ),
    )
    counters = Counters(replica_disconnects={"lag_bytes": 1, "closed": 9})
    shown = text(relay_status(counters=counters, recent_disconnects=gone))
    assert shown.endswith(
        "\n"
        "Recent disconnects (10 since the start)\n"
        "  replica           ago  acked  why\n"
        "  10.0.0.2:6379      5s      -  6100 bytes behind\n"
        "  10.0.0.3:6379  3m 20s     77  closed"
    )
    many = text(relay_status(counters=counters, recent_disconnects=gone[:1] * 32))
    assert many.count("6100 bytes behind") == 8


def test_a_link_that_is_down_says_why_and_when_next() -> None:
    link = upstream(
        state=LinkState.CONNECT,
        down_since=NOW - 200,
        next_try_at=NOW + 1.23,
        last_error="connection refused",
    )
    shown = text(relay_status(upstream=link))
    assert "link          not connected, down for 3m 20s, next try in 1.2s\n" in shown
    assert "last error    connection refused\n" in shown


@pytest.mark.parametrize(
    ("total", "shown"), [(1000, "250 B of 1000 B (25%)"), (None, "250 B"), (0, "250 B of 0 B")]
)
def test_a_first_snapshot_on_its_way(total: int | None, shown: str) -> None:
    sync = SyncProgress(
        offset=Offset(0), total_bytes=total, received_bytes=250, started_at=NOW, last_io_at=NOW
    )
    link = upstream(state=LinkState.SYNC, sync=sync, acked_offset=None, server_version="")
    found = text(relay_status(upstream=link, journal=None, replicas=()))
    assert f"snapshot   {shown}\n" in found
    assert found.endswith("Journal\n  state  empty: no snapshot has been granted yet")


def test_a_full_disk_is_said_first() -> None:
    shown = text(relay_status(disk_full=True, upstream=upstream(state=LinkState.PAUSED)))
    assert "disk       5.0 GiB free: too little, reading has stopped\n" in shown
    assert "link          paused\n" in shown


def test_a_replica_in_transfer_shows_how_far() -> None:
    loading = replica(
        state=ReplicaState.TRANSFER, snapshot_sent_bytes=30, snapshot_total_bytes=100, port=0
    )
    shown = text(relay_status(replicas=(loading,)))
    assert "127.0.0.1:40100  snapshot 30%" in shown


def test_a_history_without_a_predecessor() -> None:
    shown = text(relay_status(journal=journal(replid2=NO_REPLID, second_offset=-1)))
    assert "before" not in shown


def test_a_refresh() -> None:
    refresh = RefreshStatus(
        reason=RefreshReason.TAIL, started_at=NOW, waiters=2, receivers=1, received_bytes=1 << 20
    )
    assert "refresh       1.0 MiB; tail; 2 wait, 1 receive it\n" in text(
        relay_status(refresh=refresh)
    )


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        (None, ""),
        (CheckStatus(checked_bytes=5 << 30, total_bytes=5 << 30, damaged=0), ""),
        (CheckStatus(checked_bytes=1 << 20, total_bytes=5 << 30, damaged=0), "1.0 MiB of 5.0 GiB"),
        (CheckStatus(checked_bytes=1, total_bytes=1, damaged=2), "1 B of 1 B, 2 damaged, given up"),
    ],
)
def test_the_background_check_while_it_says_something(
    check: CheckStatus | None, shown: str
) -> None:
    found = [
        line
        for line in text(relay_status(journal=journal(check=check))).splitlines()
        if "checked" in line
    ]
    assert found == ([f"  checked  {shown}"] if shown else [])


def test_what_is_left_within_a_quota_is_not_called_disk() -> None:
    """A new user read the quota's rest as the disk's."""
    assert "disk       5.0 GiB free\n" in text(relay_status())
    shown = text(relay_status(quota_bytes=8 << 30))
    assert "disk       5.0 GiB left within the quota of 8.0 GiB and the disk\n" in shown


def test_lag_behind_the_master() -> None:
    def shown(**changes: object) -> str:
        return text(relay_status(upstream=upstream(**changes)))

    known = shown(master_offset=6000, lag_bytes=950, lag_seconds=1.54)
    assert "950 B, 1.5s (the master is at 6000)" in known
    assert "0 B (the master" in shown(master_offset=5050, lag_bytes=0, lag_seconds=0.0)
    assert "not known: refused" in shown(master_offset_error="refused")
    assert "at 5050" not in shown()


def test_a_refresh_that_failed_and_when_the_next_try_is() -> None:
    failed = RefreshFailureStatus(
        at=NOW - 2, reason="tail", message="the master went away", next_try_at=NOW + 28.5
    )
    assert "failed: the master went away; again in 28s if wanted" in text(
        relay_status(refresh_failure=failed)
    )


def test_a_reload_that_failed_is_shown() -> None:
    good = ReloadStatus(part="users of the port", at=NOW, result="nothing changed")
    bad = ReloadStatus(part="HTTP token", at=NOW, error="/f: can't be read")
    (relay, *_) = sections(relay_status(reloads=(good, bad)))
    shown = str(relay)
    assert "not reloaded: /f: can't be read" in shown
    assert "users of the port" not in shown


def test_a_master_behind_a_unix_socket_has_no_port() -> None:
    shown = text(relay_status(upstream=upstream(host="/run/redis.sock", port=0)))
    assert "  master        /run/redis.sock\n" in shown


def test_the_address_with_tls_and_the_ends_of_certificates() -> None:
    made = [
        CertificateStatus(side=side, name="", file=f"/{side}.crt", expires_at=NOW + days * 86400)
        for side, days in (("upstream", 90), ("listen", 3), ("http", -2))
    ]
    shown = text(relay_status(listen_tls="0.0.0.0:6391", certificates=tuple(made)))
    assert "127.0.0.1:6390, 0.0.0.0:6391 (TLS)\n" in shown
    assert "listen TLS    ends in 3d" in shown
    assert "http TLS      expired 2d" in shown
    alone = text(relay_status(listen_tls="127.0.0.1:6390"))
    assert "listening  127.0.0.1:6390 (TLS)\n" in alone
