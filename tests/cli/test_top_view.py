"""What a screen of `repltap top` shows."""

import io

import pytest
from rich.console import Console

from repltap.cli.top_view import Order, rows, screen
from repltap.position import Offset, ReplId
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState
from repltap.status.sinks import SinkState, SinkStatus
from tests.net.admin.fakes import NOW, journal, relay_status, replica, upstream


def sink(name: str, committed: int | None, **changes: object) -> SinkStatus:
    values = {"name": name, "type": "file", "state": SinkState.STREAMING, "lag_bytes": 9} | changes
    return SinkStatus(committed_offset=committed, **values)  # type: ignore[arg-type]


def later(seconds: float = 2.0, **changes: object) -> RelayStatus:
    return relay_status(now=NOW + seconds, **changes)


def drawn(status: RelayStatus, width: int, height: int, **more: str) -> list[str]:
    found = rows(status, None, Order.LAG)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(screen(status, found, order=Order.LAG, width=width, height=height, **more))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_rates_are_what_moved_between_two_statuses() -> None:
    before = relay_status(sinks=(sink("a", 1000),))
    after = later(
        journal=journal(end_offset=Offset(9050)),
        replicas=(replica(acked_offset=Offset(8000)),),
        sinks=(sink("a", 2000),),
    )
    assert [row.rate for row in rows(after, before, Order.LAG)] == [2000.0, 1500.0, 500.0]


def test_the_masters_row_has_the_lag_of_the_link() -> None:
    link = upstream(lag_bytes=5 << 20, lag_seconds=7.4)
    (line,) = [x for x in drawn(relay_status(upstream=link), 100, 20) if x.startswith("master")]
    assert "5.0 MiB       7s" in line
    unknown = rows(relay_status(), None, Order.LAG)[0]
    assert (unknown.lag_bytes, unknown.lag_seconds) == (None, None)


@pytest.mark.parametrize(
    "before",
    [
        None,
        relay_status(run_id="cd" * 20),  # it was started again meanwhile
        relay_status(now=NOW + 2),
        relay_status(journal=None, replicas=(), sinks=()),
        relay_status(
            journal=journal(end_offset=Offset(9999)),
            replicas=(replica(acked_offset=Offset(9999)),),
            sinks=(sink("a", 9999),),
        ),
    ],
)
def test_no_rate_is_made_up(before: RelayStatus | None) -> None:
    after = later(sinks=(sink("a", 2000),))
    assert [row.rate for row in rows(after, before, Order.LAG)] == [None, None, None]


def test_the_rate_of_a_transfer_is_the_snapshots() -> None:
    def at(sent: int) -> tuple[object, ...]:
        return (
            replica(
                state=ReplicaState.TRANSFER,
                acked_offset=None,
                lag_bytes=None,
                snapshot_sent_bytes=sent,
                snapshot_total_bytes=1000,
            ),
        )

    found = rows(later(replicas=at(500)), relay_status(replicas=at(100)), Order.LAG)
    assert found[1].rate == 200.0
    assert found[1].state.text == "snapshot 50%"


def test_orders() -> None:
    before = relay_status(
        replicas=tuple(replica(connection_id=i, acked_offset=Offset(100)) for i in range(3))
    )
    after = later(
        replicas=(
            replica(connection_id=0, port=3, acked_offset=Offset(400), lag_bytes=7),
            replica(connection_id=1, port=1, acked_offset=Offset(200), lag_bytes=8),
            replica(connection_id=2, port=2, acked_offset=None, lag_bytes=None),
        ),
        sinks=(sink("b", 1), sink("a", 1, lag_bytes=100)),
    )

    def names(order: Order) -> list[str]:
        return [row.name.rpartition(":")[2] for row in rows(after, before, order)]

    assert names(Order.LAG) == ["6379", "2", "1", "3", "a", "b"]
    assert names(Order.RATE) == ["6379", "3", "1", "2", "a", "b"]
    assert names(Order.NAME) == ["6379", "1", "2", "3", "a", "b"]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (40, 8), (200, 60)])
def test_it_fits(width: int, height: int) -> None:
    many = tuple(replica(connection_id=i, port=20000 + i, ip="2001:db8::1234") for i in range(99))
    status = relay_status(replicas=many, sinks=(sink("s" * 64, 10**15),))
    for trouble in ("", "cannot reach " * 20):
        lines = drawn(status, width, height, trouble=trouble)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        assert lines[-1].startswith("l lag")
        assert any(line.startswith("... and ") for line in lines)
        assert any(line.startswith("master") for line in lines)


def test_all_of_a_few_are_shown_at_80_by_24() -> None:
    status = relay_status(sinks=(sink("audit", 4000),))
    lines = drawn(status, 80, 24)
    assert lines[0].startswith("repltap 0.1.0  127.0.0.1:6390  up 1d 1h  clients 3/1024")
    assert [line.split()[:2] for line in lines[4:7]] == [
        ["master", "127.0.0.1:6379"],
        ["replica", "127.0.0.1:21002"],
        ["sink", "audit"],
    ]
    assert "5000" in lines[5]
    assert not any("more" in line for line in lines)


def test_what_is_wrong_is_said() -> None:
    down = upstream(state=LinkState.CONNECT, down_since=NOW - 5)
    assert "not connected" in "".join(drawn(relay_status(upstream=down), 100, 24))
    assert "too little" in drawn(relay_status(disk_full=True), 80, 24)[1]
    assert "nothing is stored" in drawn(relay_status(journal=None), 80, 24)[1]


def test_what_a_peer_says_does_not_steer_the_terminal() -> None:
    status = relay_status(replicas=(replica(ip="\x1b[2J[red]"),))
    shown = "".join(drawn(status, 100, 24))
    assert "\x1b[2J" not in shown
    assert "[red]" in shown
    assert ReplId("4" * 40) not in shown
