"""CONFIG GET in both protocol versions, and the refusals."""

import pytest

from tests.net.admin.fakes import FakeClient, FakeContext, ask


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("CONFIG GET maxclients", ["maxclients"]),
        ("CONFIG GET PORT re*", ["port", "repl-timeout", "replica-priority"]),
        ("CONFIG GET *", ["maxclients", "port", "repl-timeout", "replica-priority"]),
        ("CONFIG GET nosuch", []),
    ],
)
def test_get(line: str, names: list[str]) -> None:
    client = FakeClient()
    answer = ask(line, client)
    assert answer.startswith(b"*%d\r\n" % (2 * len(names)))
    assert answer.split(b"\r\n")[2::4] == [name.encode() for name in names]
    ask("HELLO 3", client)
    assert ask(line, client) == b"%%%d\r\n" % len(names) + answer.split(b"\r\n", 1)[1]


def test_settings_are_changed_elsewhere() -> None:
    assert ask("CONFIG SET port 1").startswith(
        b"-ERR repltap's settings come from its configuration"
    )


def test_rewrite_keeps_whom_the_relay_follows() -> None:
    context = FakeContext()
    assert ask("CONFIG REWRITE", None, context) == b"+OK\r\n"
    assert context.kept == 1


def test_counters_are_not_reset() -> None:
    assert ask("CONFIG RESETSTAT").startswith(b"-ERR repltap's counters run since its start")
