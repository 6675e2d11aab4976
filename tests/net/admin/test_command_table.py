"""COMMAND, in the shapes that redis-cli and client libraries read."""

import hiredis
import pytest

from repltap.net.admin.dispatch import COMMANDS
from tests.net.admin.fakes import FakeClient, ask


def read(line: str, resp: int = 2) -> object:
    client = FakeClient()
    client.state.resp = resp
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(ask(line, client))
    return reader.gets()


def test_all_and_count() -> None:
    everything = read("COMMAND")
    assert isinstance(everything, list)
    assert read("COMMAND COUNT") == len(everything) == len(COMMANDS)
    assert read("COMMAND INFO") == everything
    assert read("COMMAND LIST") == [each[0] for each in everything]


def test_info_as_redis_sends_it() -> None:
    assert ask("COMMAND INFO ping nosuch") == (
        b"*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
        b"*2\r\n+@fast\r\n+@connection\r\n*0\r\n*0\r\n*0\r\n*-1\r\n"
    )
    client = FakeClient()
    client.state.resp = 3
    assert ask("COMMAND INFO ping nosuch", client) == (
        b"*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
        b"~2\r\n+@fast\r\n+@connection\r\n~0\r\n~0\r\n~0\r\n_\r\n"
    )


def test_info_of_a_subcommand() -> None:
    (details,) = read("COMMAND INFO Client|LIST")  # type: ignore[misc]
    assert details[:3] == ["client|list", -2, ["admin", "noscript", "loading", "stale"]]
    assert details[6] == ["@admin", "@slow", "@dangerous", "@connection"]
    assert read("COMMAND INFO client|nosuch nosuch|list") == [None, None]


@pytest.mark.parametrize("resp", [2, 3])
def test_docs(resp: int) -> None:
    docs = read("COMMAND DOCS ping nosuch", resp)
    if resp == 2:
        assert isinstance(docs, list)
        docs = {docs[0]: dict(zip(docs[1][::2], docs[1][1::2], strict=True))}
    assert docs == {
        "ping": {"summary": "Show that the relay answers", "since": "1.0.0", "group": "connection"}
    }
    assert read("COMMAND DOCS nosuch", resp) in ([], {})


def test_docs_of_a_container_explain_its_subcommands() -> None:
    docs = read("COMMAND DOCS config", 3)
    assert isinstance(docs, dict)
    assert list(docs["config"]["subcommands"]) == [
        "config|get",
        "config|set",
        "config|rewrite",
        "config|resetstat",
    ]


def test_list_with_filters() -> None:
    assert read("COMMAND LIST FILTERBY PATTERN mem*|s*") == ["memory|stats"]
    found = read("COMMAND LIST FILTERBY ACLCAT connection")
    assert isinstance(found, list)
    assert {"ping", "client|kill"} <= set(found)
    assert read("COMMAND LIST FILTERBY MODULE x") == []
    for wrong in ("COMMAND LIST FOO", "COMMAND LIST FILTERBY FOO x"):
        assert ask(wrong) == b"-ERR syntax error\r\n"


def test_no_command_has_keys() -> None:
    assert ask("COMMAND GETKEYS ping") == b"-ERR The command has no key arguments\r\n"
