"""PING to QUIT, byte for byte as redis-server 7.0 answers them."""

import pytest

from repltap.net.admin.context import ClientState
from tests.net.admin.fakes import FakeClient, FakeContext, ask


@pytest.mark.parametrize(
    ("line", "wire"),
    [
        ("PING", b"+PONG\r\n"),
        ("ping x", b"$1\r\nx\r\n"),
        ("PING x y", b"-ERR wrong number of arguments for 'ping' command\r\n"),
        ("ECHO x", b"$1\r\nx\r\n"),
        ("SELECT 0", b"+OK\r\n"),
        ("SELECT 99", b"-ERR DB index is out of range\r\n"),
        ("SELECT x", b"-ERR value is not an integer or out of range\r\n"),
        ("HELLO x", b"-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 4", b"-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 2 FOO", b"-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("HELLO 2 AUTH a", b"-ERR Syntax error in HELLO option 'AUTH'\r\n"),
        ("HELLO 2 SETNAME", b"-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
        (
            "HELLO 2 AUTH a b",
            b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ),
        (
            "AUTH x",
            (
                b"-ERR AUTH <password> called without any password configured for the default user."
                b" Are you sure your configuration is correct?\r\n"
            ),
        ),
        ("AUTH a b", b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("AUTH default b", b"+OK\r\n"),
        ("AUTH a b c", b"-ERR syntax error\r\n"),
        ("RESET", b"+RESET\r\n"),
        ("QUIT", b"+OK\r\n"),
    ],
)
def test_replies(line: str, wire: bytes) -> None:
    assert ask(line) == wire


def test_hello_in_both_versions() -> None:
    client = FakeClient(id=5)
    fields = (
        b"$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:%d\r\n"
        b"$2\r\nid\r\n:5\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$7\r\nreplica\r\n"
        b"$7\r\nmodules\r\n*0\r\n"
    )
    assert ask("HELLO", client) == b"*14\r\n" + fields % 2
    assert ask("HELLO 3", client) == b"%7\r\n" + fields % 3
    # Without a version the one in use stays.
    assert ask("HELLO", client) == b"%7\r\n" + fields % 3
    assert ask("HELLO 2", client) == b"*14\r\n" + fields % 2


def stranger() -> tuple[FakeClient, FakeContext]:
    client = FakeClient(state=ClientState(authenticated=False))
    return client, FakeContext(password=b"pw", connected=[client])


@pytest.mark.parametrize("line", ["AUTH pw", "AUTH default pw", "HELLO 2 AUTH default pw"])
def test_the_right_password(line: str) -> None:
    client, context = stranger()
    assert not ask(line, client, context).startswith(b"-")
    assert client.state.authenticated


@pytest.mark.parametrize(
    "line", ["AUTH bad", "AUTH default bad", "AUTH root pw", "HELLO 3 AUTH default bad SETNAME x"]
)
def test_a_wrong_password_changes_nothing(line: str) -> None:
    client, context = stranger()
    assert ask(line, client, context).startswith(b"-WRONGPASS ")
    assert client.state == ClientState(authenticated=False, last_command=client.state.last_command)


def test_hello_asks_for_authentication() -> None:
    client, context = stranger()
    assert ask("HELLO 3", client, context).startswith(b"-NOAUTH HELLO must be called with")
    assert client.state.resp == 2
    assert ask("HELLO 9", client, context).startswith(b"-NOPROTO ")


def test_hello_authenticates_names_and_chooses_at_once() -> None:
    client, context = stranger()
    assert ask("HELLO 3 SETNAME me AUTH default pw", client, context).startswith(b"%7\r\n")
    assert client.state.authenticated
    assert (client.state.name, client.state.resp) == (b"me", 3)


def test_hello_with_a_bad_name_keeps_the_version() -> None:
    client = FakeClient()
    assert ask([b"hello", b"3", b"setname", b"a b"], client).startswith(b"-ERR Client names cannot")
    assert client.state.resp == 2


def test_reset_forgets_the_password_too() -> None:
    client, context = stranger()
    ask("HELLO 3 AUTH default pw SETNAME me", client, context)
    ask("CLIENT NO-EVICT on", client, context)
    assert ask("RESET", client, context) == b"+RESET\r\n"
    assert client.state == ClientState(authenticated=False, last_command="reset")
    assert ask("PING", client, context) == b"-NOAUTH Authentication required.\r\n"


def test_quit_closes_after_its_reply() -> None:
    client, context = stranger()
    assert ask("QUIT", client, context) == b"+OK\r\n"
    assert client.state.close_after_reply
