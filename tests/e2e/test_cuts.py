"""Connections that break, stall, crawl or split, at every stage, above and below the relay."""

from __future__ import annotations

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.server import Server
from tests.servers.waiting import wait_for

PROGRAM = "redis-7.0"
UP, DOWN = Direction.TO_SERVER, Direction.TO_CLIENT

# In the order of the handshake. Before the grant a cut costs the server above nothing.
BEFORE_THE_GRANT = (
    Fault(direction=UP, at=b"PI"),
    Fault(direction=UP, at=b"PING\r\n", action=Action.RESET),
    Fault(direction=DOWN, at=b"+PO"),
    Fault(direction=DOWN, at=b"+PONG\r\n"),
    Fault(direction=UP, at=b"listening-port"),
    Fault(direction=UP, at=b"capa"),
    Fault(direction=DOWN, at=b"+OK\r\n+OK"),
    Fault(direction=UP, at=b"PSYN"),
)
AFTER_THE_GRANT = (
    Fault(direction=DOWN, at=b"+FULLRE"),
    Fault(direction=DOWN, at=b"+FULLRESYNC "),
    Fault(direction=DOWN, at=b"+FULLRESYNC ", after_bytes=55, action=Action.RESET),
    Fault(direction=DOWN, at=b"\n$"),
    Fault(direction=DOWN, at=b"REDIS00"),
    Fault(direction=DOWN, at=b"REDIS00", after_bytes=3_000),
)


def _master_with_data(lab: Lab, **options: str) -> tuple[Server, Load]:
    master = lab.master(PROGRAM, **options)
    load = Load(master, features=master.flavour.features)
    load.write(150)
    return master, load


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
def test_cuts_above_in_each_stage_of_the_first_sync(lab: Lab, diskless: str) -> None:
    """Each try is cut a little later; the last one gets through."""
    master, load = _master_with_data(lab, repl_diskless_sync=diskless)
    faults = (*BEFORE_THE_GRANT, *AFTER_THE_GRANT)
    proxy = lab.proxy(master, *faults)
    middle = lab.middle(master, upstream=proxy)
    replica = lab.server(PROGRAM, "replica", upstream=middle)
    with load:
        middle.wait_link(150)  # fifteen links
        replica.wait_link()
    wait_same(master, replica)
    assert proxy.connections == len(faults) + 1
    assert master.syncs.full <= len(AFTER_THE_GRANT) + 1
    assert replica.full_syncs_received == 1


def test_cuts_below_in_each_stage_of_the_first_sync(lab: Lab) -> None:
    """A replica that is cut again and again costs the master nothing."""
    master, load = _master_with_data(lab)
    middle = lab.middle(master)
    middle.wait_link()
    faults = (*BEFORE_THE_GRANT[2::2], *AFTER_THE_GRANT[1::2])
    proxy = lab.proxy(middle, *faults)
    replica = lab.server(PROGRAM, "replica", upstream=proxy)
    other = lab.server(PROGRAM, "other", upstream=middle)
    with load:
        other.wait_link()
        replica.wait_link(120)  # eight links, and the waits between them
    wait_same(master, replica, other)
    assert proxy.connections == len(faults) + 1
    assert (replica.full_syncs_received, other.full_syncs_received) == (1, 1)
    assert master.syncs.full == 1


@pytest.mark.parametrize(
    ("place", "after"),
    [(b"MULTI\r\n", 0), (b"\r\nSET\r\n$", 1), (b"*", 0), (b"EXE", 0), (b"\r\n", 20_000)],
    ids=["in-multi", "in-command", "first-byte", "in-exec", "later"],
)
def test_cuts_within_the_stream(lab: Lab, place: bytes, after: int) -> None:
    """A link that breaks inside a command or a transaction continues with the right byte."""
    master, load = _master_with_data(lab)
    above = lab.proxy(master)
    middle = lab.middle(master, upstream=above)
    middle.wait_link()
    below = lab.proxy(middle)
    replica = lab.server(PROGRAM, "replica", upstream=below)
    replica.wait_link()
    for proxy in (above, below):
        # The first fault is for the link that is made now, and then for the one after it.
        fault = Fault(direction=DOWN, at=place, after_bytes=after)
        proxy.faults.extend([fault, fault])
        proxy.cut()
    with load:
        wait_for(
            "each link was cut three times", lambda: min(above.connections, below.connections) >= 4
        )
        wait_for("both links are up", lambda: middle.link_up and replica.link_up)
    wait_same(master, replica)
    assert master.syncs.full == 1
    assert master.syncs.partial_ok >= 2
    assert replica.full_syncs_received == 1


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
def test_everything_byte_by_byte(lab: Lab, diskless: str) -> None:
    """Handshake, header, snapshot and mark arrive in packets of one byte."""
    master = lab.master(PROGRAM, repl_diskless_sync=diskless)
    load = Load(master, features=master.flavour.features)
    load.write(14)
    split = Fault(direction=DOWN, action=Action.SPLIT, count=60_000)
    middle = lab.middle(master, upstream=lab.proxy(master, split))
    middle.wait_link()
    replica = lab.server(PROGRAM, "replica", upstream=lab.proxy(middle, split))
    load.write(14)
    replica.wait_link()
    wait_same(master, replica)
    assert (master.syncs.full, replica.full_syncs_received) == (1, 1)


@pytest.mark.relay_only
def test_stalled_link_above_is_replaced(lab: Lab) -> None:
    """A link on which nothing passes any more (a lost route) is given up after the timeout."""
    master, load = _master_with_data(lab, repl_ping_replica_period="1")
    stall = Fault(direction=DOWN, action=Action.STALL, at=b"ping\r\n")
    proxy = lab.proxy(master, stall)
    # A master that gets no turn for so long is silent, too.
    relay = lab.relay(proxy, upstream_timeout_seconds=5)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    with load:
        wait_for("a new link was made", lambda: proxy.connections >= 2)
        relay.wait_link()
    wait_same(master, replica)
    assert (master.syncs.full, master.syncs.partial_ok) == (1, proxy.connections - 1)
    assert replica.full_syncs_received == 1


@pytest.mark.relay_only
def test_stalled_replica_does_not_hold_the_others(lab: Lab) -> None:
    """One replica reads nothing; the other one and the master's link don't notice."""
    master, load = _master_with_data(lab)
    relay = lab.relay(master, listen_timeout_seconds=4)
    relay.wait_link()
    proxy = lab.proxy(relay, Fault(direction=DOWN, action=Action.STALL, at=b"REDIS00"))
    stuck = lab.server(PROGRAM, "stuck", upstream=proxy)
    good = lab.server(PROGRAM, "good", upstream=relay)
    with load:
        good.wait_link()
        load.write(2_000)
    wait_same(master, good)
    assert master.syncs.full == 1
    proxy.cut()
    stuck.wait_link()
    wait_same(master, stuck)
