"""Write repltap/delivery/command_data.py from what real servers answer to COMMAND.

`python -m tests.servers.command_data > repltap/delivery/command_data.py`. With several servers that
say different things of one command, the last in the table of `tests.servers.find` counts.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from typing import Any

from repltap.delivery.commands import read_command_reply
from tests.servers.find import flavours
from tests.servers.lab import laboratory

_HEAD = '''"""Which words of a command are keys, and the categories of commands.

Written by `python -m tests.servers.command_data` from what these servers answer to COMMAND:
{servers}.
The words for key specifications are explained at `commands._key_spec_text`.
"""'''


def ask() -> dict[str, Any]:
    """Return the answer of each server that is present."""
    with laboratory() as lab:
        return {name: lab.master(name, name).call("COMMAND") for name in flavours()}


def module(replies: dict[str, Any]) -> str:
    """Return the module's text."""
    specs: dict[str, str] = {}
    categories: dict[str, set[str]] = defaultdict(set)
    for reply in replies.values():
        for name, text, groups in read_command_reply(reply):
            specs[name] = text or specs.get(name, "")
            for group in groups:
                categories[group].add(name)
    by_spec: dict[str, set[str]] = defaultdict(set)
    for name, text in specs.items():
        by_spec[text].add(name)
    del by_spec[""]
    servers = textwrap.fill(", ".join(replies), 96)
    parts = [_HEAD.format(servers=servers), _table("KEY_SPECS", by_spec)]
    return "\n\n".join([*parts, _table("CATEGORIES", categories)]) + "\n"


def _table(name: str, table: dict[str, set[str]]) -> str:
    lines = [f"{name} = {{"]
    for key, names in sorted(table.items()):
        words = textwrap.wrap(" ".join(sorted(names)), 88, break_on_hyphens=False)
        lines += [f'    "{key}": """', *(f"        {line}" for line in words), '    """,']
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    print(module(ask()), end="")
