"""CONFIG GET in both protocol versions, and the refusals."""

import pytest

from tests.net.admin.fakes import FakeClient, ask


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


@pytest.mark.parametrize("line", ["CONFIG SET port 1", "CONFIG REWRITE"])
def test_settings_are_changed_elsewhere(line: str) -> None:
    assert ask(line).startswith(b"-ERR repltap's settings come from its configuration")


def test_counters_are_not_reset() -> None:
    assert ask("CONFIG RESETSTAT").startswith(b"-ERR repltap's counters run since its start")
