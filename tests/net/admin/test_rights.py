"""Which right a command asks for: the table, and that it is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from repltap.access import Right
from repltap.net.admin.dispatch import COMMANDS
from repltap.net.admin.rights import RIGHTS, right_of
from tests.net.admin.fakes import FakeClient, FakeContext, ask

EACH = sorted(
    (
        each
        for command in COMMANDS.values()
        for each in (*command.subcommands, command)
        if each.handler is not None
    ),
    key=lambda command: command.name,
)
REPLICATION = ("psync", "sync", "replconf")  # answered by the protocol, before there are commands


def test_what_changes_the_relay_is_for_administrators() -> None:
    guarded = {each.name for each in EACH if right_of(each) is Right.ADMINISTER}
    assert {"replicaof", "slaveof", "shutdown", "client|kill", "config|set"} <= guarded
    assert not {"info", "role", "client|list"} & guarded


def test_each_command_is_refused_without_its_right_and_only_then() -> None:
    for command in EACH:
        right = right_of(command)
        if command.name in REPLICATION:
            continue
        words = command.name.replace("|", " ").split()
        words += ["1"] * (abs(command.arity) - len(words))
        refused = f"-NOPERM User default has no permissions to run the '{command.name}' command"
        for given in ((), *((each,) for each in Right)):
            context = FakeContext(rights=frozenset(given), connected=[FakeClient()])
            answer = ask(" ".join(words), None, context)
            allowed = right is None or right in given
            assert answer.startswith(refused.encode()) is not allowed, (command.name, given)


@pytest.mark.parametrize("name", sorted(RIGHTS))
def test_what_is_listed_is_a_command(name: str) -> None:
    assert name == "monitor" or name in {each.name for each in EACH}


def test_the_wrong_number_of_arguments_is_told_first() -> None:
    context = FakeContext(rights=frozenset())
    assert ask("INFO", None, context).startswith(b"-NOPERM")
    assert ask("ROLE 1", None, context).startswith(b"-ERR wrong number")


def documented() -> dict[str, set[str]]:
    """The table of docs/access.md: commands by right."""
    text = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (none|`status`|`replicate`)[^|]*\| (.+) \|$", text, re.MULTILINE)
    return {
        right.strip("`"): {
            command.lower().replace(" ", "|") for command in re.findall("`([A-Z -]+)`", commands)
        }
        for right, commands in rows
    }


def test_the_document_shows_this_table() -> None:
    shown = documented()
    assert set(shown) == {"none", "status", "replicate"}
    for right in (None, Right.STATUS, Right.REPLICATE):
        own = {name for name, asked in RIGHTS.items() if asked is right}
        assert shown[right.value if right else "none"] == own
