"""INFO, SHUTDOWN and the diagnostics that monitors ask for."""

import pytest

from repltap.access import ALL_RIGHTS, Right
from tests.net.admin.fakes import FakeClient, FakeContext, ask, relay_status


def test_info_is_text_for_people() -> None:
    client = FakeClient()
    text = b"# Cluster\r\ncluster_enabled:0\r\n"
    assert ask("INFO cluster", client) == b"$%d\r\n%b\r\n" % (len(text), text)
    ask("HELLO 3", client)
    assert ask("INFO CLUSTER", client) == b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)
    assert ask("INFO nosuch") == b"$0\r\n\r\n"


def test_info_names_the_system() -> None:
    assert b"\r\nos:Linux " in ask("INFO server")


@pytest.mark.parametrize(
    ("line", "wire"),
    [
        ("TIME", b"*2\r\n$10\r\n1800000000\r\n$6\r\n250000\r\n"),
        ("LASTSAVE", b":1799992800\r\n"),
        ("SLOWLOG LEN", b":0\r\n"),
        ("SLOWLOG GET", b"*0\r\n"),
        ("SLOWLOG GET -1", b"*0\r\n"),
        ("SLOWLOG GET x", b"-ERR count should be greater than or equal to -1\r\n"),
        ("SLOWLOG GET 1 2", b"-ERR syntax error\r\n"),
        ("SLOWLOG RESET", b"+OK\r\n"),
        ("LATENCY LATEST", b"*0\r\n"),
        ("LATENCY HISTORY foo", b"*0\r\n"),
        ("LATENCY RESET", b":0\r\n"),
        ("LATENCY HISTOGRAM", b"*0\r\n"),
    ],
)
def test_replies(line: str, wire: bytes) -> None:
    assert ask(line) == wire


def test_memory_is_what_is_resident() -> None:
    client = FakeClient()
    ask("HELLO 3", client)
    answer = ask("MEMORY STATS", client)
    assert answer.startswith(b"%5\r\n$14\r\npeak.allocated\r\n:46137344\r\n")
    assert b"total.allocated\r\n:23068672\r\n" in answer
    assert ask("MEMORY USAGE key").startswith(b"-ERR this is repltap")


def test_no_snapshot_no_save() -> None:
    context = FakeContext(shown=relay_status(journal=None))
    assert ask("LASTSAVE", None, context) == b":0\r\n"


@pytest.mark.parametrize(
    ("line", "now"),
    [("SHUTDOWN", False), ("shutdown nosave", False), ("SHUTDOWN SAVE NOW FORCE", True)],
)
def test_shutdown_answers_nothing(line: str, now: bool) -> None:
    context = FakeContext()
    assert ask(line, None, context) == b""
    assert context.shutdowns == [now]


@pytest.mark.parametrize(
    ("line", "wire"),
    [
        ("SHUTDOWN FOO", b"-ERR syntax error\r\n"),
        ("SHUTDOWN NOSAVE SAVE", b"-ERR syntax error\r\n"),
        ("SHUTDOWN ABORT NOW", b"-ERR syntax error\r\n"),
        ("SHUTDOWN ABORT", b"-ERR No shutdown in progress.\r\n"),
    ],
)
def test_a_shutdown_that_is_refused(line: str, wire: bytes) -> None:
    context = FakeContext()
    assert ask(line, None, context) == wire
    assert context.shutdowns == []


def test_monitor_is_a_mode() -> None:
    client = FakeClient()
    context = FakeContext(connected=[client])
    assert ask("MONITOR", client, context) == b"+OK\r\n"
    assert context.monitors == [7]
    assert b"flags=O " in ask("CLIENT INFO", client, context)
    # Redis says nothing the second time.
    assert ask("MONITOR", client, context) == b""
    other = FakeClient(id=8)
    assert ask("MONITOR", other, context) == (b"-ERR max number of monitoring clients reached\r\n")
    assert not other.state.monitoring
    assert ask("RESET", client, context) == b"+RESET\r\n"
    assert context.monitors == []
    assert b"flags=N " in ask("CLIENT INFO", client, context)
    assert ask("RESET", client, context) == b"+RESET\r\n"
    assert ask("MONITOR x") == b"-ERR wrong number of arguments for 'monitor' command\r\n"


def test_who_may_not_replicate_may_not_monitor() -> None:
    client = FakeClient()
    context = FakeContext(connected=[client], rights=ALL_RIGHTS - {Right.REPLICATE})
    assert ask("MONITOR", client, context).startswith(b"-NOPERM ")
    assert context.monitors == []
    assert not client.state.monitoring
