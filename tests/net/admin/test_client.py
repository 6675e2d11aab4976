"""CLIENT: what is shown, and who is closed."""

import pytest

from repltap.net.admin.client import MAX_NAME_BYTES, client_line
from repltap.net.admin.context import ClientKind, ClientState
from tests.net.admin.fakes import NOW, FakeClient, FakeContext, ask

# The fields of redis-server 7.0.15, and the two that 7.2 added.
REDIS_FIELDS = (
    "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem"
    " rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver"
)


def crowd() -> tuple[FakeClient, FakeContext]:
    """Four clients; the second is a replica, the third subscribes. The first asks."""
    clients = [
        FakeClient(id=1, address="127.0.0.1:1001"),
        FakeClient(id=2, address="127.0.0.1:1002", kind=ClientKind.REPLICA),
        FakeClient(id=3, address="127.0.0.1:1003", kind=ClientKind.PUBSUB, created_at=NOW - 5),
        FakeClient(id=4, address="127.0.0.1:1004", local_address="127.0.0.2:6390"),
    ]
    return clients[0], FakeContext(connected=clients)


def test_the_line_has_the_fields_of_redis_in_its_order() -> None:
    line = client_line(FakeClient(), NOW)
    assert [field.split("=")[0] for field in line.split()] == REDIS_FIELDS.split()
    assert line.endswith(" lib-name= lib-ver=\n")


def test_the_line_tells_the_truth() -> None:
    state = ClientState(authenticated=True, name=b"n", lib_name=b"l", resp=3, no_evict=True)
    client = FakeClient(
        id=9,
        kind=ClientKind.REPLICA,
        input_buffered_bytes=10,
        output_buffered_bytes=32,
        state=state,
    )
    fields = dict(field.split("=") for field in client_line(client, NOW).split())
    wanted = {
        "id": "9",
        "addr": "127.0.0.1:40001",
        "name": "n",
        "age": "30",
        "idle": "5",
        "flags": "Se",
        "qbuf": "10",
        "omem": "32",
        "tot-mem": "42",
        "events": "rw",
        "resp": "3",
        "lib-name": "l",
        "cmd": "NULL",
    }
    assert {name: fields[name] for name in wanted} == wanted


def ids(answer: bytes) -> list[int]:
    body = answer.split(b"\r\n", 1)[1]
    return [int(line.split(b" ")[0][3:]) for line in body.split(b"\n") if line.startswith(b"id=")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("CLIENT LIST", [1, 2, 3, 4]),
        ("CLIENT LIST TYPE normal", [1, 4]),
        ("CLIENT LIST TYPE SLAVE", [2]),
        ("CLIENT LIST TYPE replica", [2]),
        ("CLIENT LIST TYPE pubsub", [3]),
        ("CLIENT LIST TYPE master", []),
        ("CLIENT LIST ID 4 2 99", [2, 4]),
        ("CLIENT INFO", [1]),
    ],
)
def test_list(line: str, found: list[int]) -> None:
    assert ids(ask(line, *crowd())) == found


def test_a_list_is_text_for_people_in_resp3() -> None:
    client, context = crowd()
    ask("HELLO 3", client, context)
    assert ask("CLIENT LIST", client, context)[:1] == b"="


@pytest.mark.parametrize(
    ("line", "wire"),
    [
        ("CLIENT ID", b":1\r\n"),
        ("CLIENT GETNAME", b"$-1\r\n"),
        ("CLIENT LIST x", b"-ERR syntax error\r\n"),
        ("CLIENT LIST ID", b"-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE", b"-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE normal FOO", b"-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE foo", b"-ERR Unknown client type 'foo'\r\n"),
        ("CLIENT LIST ID x", b"-ERR Invalid client ID\r\n"),
        ("CLIENT SETINFO foo b", b"-ERR Unrecognized option 'foo'\r\n"),
        ("CLIENT NO-EVICT on", b"+OK\r\n"),
        ("CLIENT NO-EVICT x", b"-ERR syntax error\r\n"),
        ("CLIENT NO-TOUCH OFF", b"+OK\r\n"),
        ("CLIENT REPLY on", b"+OK\r\n"),
        ("CLIENT REPLY x", b"-ERR syntax error\r\n"),
    ],
)
def test_replies(line: str, wire: bytes) -> None:
    assert ask(line, *crowd()) == wire


def test_replies_are_never_switched_off() -> None:
    assert ask("CLIENT REPLY OFF").startswith(b"-ERR repltap always answers")


def test_names() -> None:
    client = FakeClient()
    assert ask("CLIENT SETNAME me", client) == b"+OK\r\n"
    assert ask("CLIENT GETNAME", client) == b"$2\r\nme\r\n"
    assert ask("CLIENT SETINFO LIB-NAME lib", client) == b"+OK\r\n"
    assert ask("CLIENT SETINFO lib-ver 1", client) == b"+OK\r\n"
    assert (client.state.lib_name, client.state.lib_ver) == (b"lib", b"1")
    assert ask([b"client", b"setname", b""], client) == b"+OK\r\n"
    assert ask("CLIENT GETNAME", client) == b"$-1\r\n"


@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"\xff", b"\x1b[2J"])
def test_names_cannot_break_the_list(name: bytes) -> None:
    wrong = b" cannot contain spaces, newlines or special characters.\r\n"
    assert ask([b"client", b"setname", name]) == b"-ERR Client names" + wrong
    assert ask([b"client", b"setinfo", b"lib-name", name]) == b"-ERR lib-name" + wrong


def test_names_are_bounded() -> None:
    client = FakeClient()
    longest = b"x" * MAX_NAME_BYTES
    assert ask([b"client", b"setname", longest], client) == b"+OK\r\n"
    assert ask([b"client", b"setname", longest + b"x"], client).startswith(b"-ERR ")
    assert client.state.name == longest


@pytest.mark.parametrize(
    ("options", "killed"),
    [
        ("ID 4", [4]),
        ("ID 99", []),
        ("ADDR 127.0.0.1:1004", [4]),
        ("LADDR 127.0.0.2:6390", [4]),
        ("TYPE normal", [4]),
        ("TYPE pubsub", [3]),
        ("TYPE replica", [2]),
        ("TYPE slave", [2]),
        ("TYPE master", []),
        ("USER default TYPE pubsub", [3]),
        ("MAXAGE 30", [2, 4]),
        ("MAXAGE 31", []),
        ("ID 4 ADDR 127.0.0.1:1003", []),
        ("SKIPME yes", [2, 3, 4]),
    ],
)
def test_kill(options: str, killed: list[int]) -> None:
    client, context = crowd()
    assert ask(f"CLIENT KILL {options}", client, context) == b":%d\r\n" % len(killed)
    assert context.killed == killed
    assert not client.state.close_after_reply


def test_what_sentinel_sends_spares_the_replicas() -> None:
    client, context = crowd()
    for kind in ("normal", "pubsub"):
        ask(f"CLIENT KILL TYPE {kind} SKIPME no", client, context)
    assert 2 not in context.killed


def test_killing_oneself_still_answers() -> None:
    client, context = crowd()
    assert ask("CLIENT KILL TYPE normal SKIPME no", client, context) == b":2\r\n"
    assert context.killed == [4]
    assert client.state.close_after_reply


def test_kill_by_address_alone() -> None:
    client, context = crowd()
    assert ask("CLIENT KILL 127.0.0.1:1003", client, context) == b"+OK\r\n"
    assert context.killed == [3]
    assert ask("CLIENT KILL 127.0.0.1:1001", client, context) == b"+OK\r\n"
    assert client.state.close_after_reply
    assert ask("CLIENT KILL 1.2.3.4:5", client, context) == b"-ERR No such client\r\n"
    assert ask("CLIENT KILL ID", client, context) == b"-ERR No such client\r\n"
