"""ROLE, REPLICAOF, and what a relay refuses."""

import pytest

from tests.net.admin.fakes import FakeClient, FakeContext, ask


def test_role() -> None:
    assert ask("ROLE") == (
        b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:5050\r\n"
    )


@pytest.mark.parametrize("name", ["REPLICAOF", "slaveof"])
def test_follow_another_master(name: str) -> None:
    context = FakeContext()
    assert ask(f"{name} master.example 6380", None, context) == b"+OK\r\n"
    assert context.repointed == [("master.example", 6380)]


def test_follow_the_same_master() -> None:
    assert ask("REPLICAOF 127.0.0.1 6379") == b"+OK Already connected to specified master\r\n"


@pytest.mark.parametrize("line", ["REPLICAOF NO ONE", "slaveof no one"])
def test_a_relay_is_never_promoted(line: str) -> None:
    context = FakeContext()
    assert ask(line, None, context).startswith(b"-ERR repltap is a replication relay and is never")
    assert context.repointed == []


@pytest.mark.parametrize("port", ["x", "0", "-1", "65536", "99999999999999999999999", "1.5", "01"])
def test_a_wrong_port(port: str) -> None:
    context = FakeContext()
    assert ask(f"REPLICAOF a {port}", None, context) == b"-ERR Invalid master port\r\n"
    assert context.repointed == []


@pytest.mark.parametrize("host", [b"", b"a b", b"a\r\nb", b"\xff", b"x" * 256])
def test_a_wrong_host(host: bytes) -> None:
    assert ask([b"replicaof", host, b"6379"]) == b"-ERR Invalid master host\r\n"


def test_a_re_pointing_that_fails_is_answered() -> None:
    context = FakeContext(repoint_fails=True)
    answer = ask("REPLICAOF a 1", FakeClient(), context)
    assert answer == b"-ERR cannot follow it (try another)\r\n"


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("FAILOVER", b"-ERR FAILOVER is not valid when server is a replica.\r\n"),
        ("WAIT 0 0", b"-ERR WAIT cannot be used with replica instances."),
        ("WAITAOF 0 0 0", b"-ERR WAITAOF cannot be used with replica instances."),
    ],
)
def test_refused_as_by_every_replica(line: str, start: bytes) -> None:
    assert ask(line).startswith(start)
