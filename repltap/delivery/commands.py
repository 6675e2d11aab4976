"""The table of commands: a built-in one, and what a master's COMMAND adds to it.

The built-in one joins what Redis 6.2 to 8.2 and Valkey 8.1 and 9.1 say, so that keys are known
where COMMAND is not allowed. What a master says goes before it: that has its modules' commands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from repltap.delivery._hot.commands import CommandInfo, KeySpec
from repltap.delivery.command_data import CATEGORIES, KEY_SPECS

Reply = bytes | int | None | list["Reply"]
"""What COMMAND answers, as a RESP2 parser gives it."""

_SPEC = re.compile(
    r"(?:(?P<keyword>[A-Z]+)@)?(?P<start>-?\d+)"
    r"(?:#(?P<count_at>\d+)\+(?P<first>\d+)|(?P<last>[+-]\d+))/(?P<step>\d+)(?::(?P<limit>\d+))?"
)


class CommandTable:
    """What is known of commands, by name.

    Args:
        specs: Key specifications by upper-case name, as `key_spec_text` writes them.
        categories: The upper-case names of a category's commands, by its name without the @.
    """

    def __init__(self, specs: Mapping[str, str], categories: Mapping[str, frozenset[str]]) -> None:
        self._specs = specs
        self.categories = categories
        self._known: dict[str, CommandInfo] = {}

    def find(self, name: str) -> CommandInfo:
        """Look a command up; one that nobody knows has no keys.

        Args:
            name: In upper case.
        """
        info = self._known.get(name)
        if info is None:
            info = CommandInfo(name, [_spec(text) for text in self._specs.get(name, "").split()])
            if name in self._specs:  # what is not comes from the stream, in any number
                self._known[name] = info
        return info

    def extended(self, reply: Reply) -> CommandTable:
        """Give a table that knows what a master says of its commands, too.

        Args:
            reply: Its answer to COMMAND. What is malformed in it is passed over.
        """
        specs = dict(self._specs)
        categories = {name: set(commands) for name, commands in self.categories.items()}
        for name, text, groups in read_command_reply(reply):
            # A master before 7.0 knows ranges only: what is built in says more.
            if text or name not in specs:
                specs[name] = text
            for group in groups:
                categories.setdefault(group, set()).add(name)
        return CommandTable(specs, {name: frozenset(found) for name, found in categories.items()})


def builtin_table() -> CommandTable:
    """Give the table that needs no master."""
    specs = {name: text for text, names in KEY_SPECS.items() for name in names.split()}
    categories = {name: frozenset(names.split()) for name, names in CATEGORIES.items()}
    return CommandTable(specs, categories)


def read_command_reply(reply: Reply) -> list[tuple[str, str, set[str]]]:
    """Read an answer to COMMAND.

    Returns:
        For each command its upper-case name, its key specifications as text, and its categories,
        those of its subcommands among them.
    """
    found = []
    for entry in reply if isinstance(reply, list) else []:
        if not isinstance(entry, list) or len(entry) < 6 or not isinstance(entry[0], bytes):
            continue
        name = entry[0].decode("ascii", "backslashreplace").upper()
        subcommands = _items(entry, 9)
        texts, groups = [_specs_of(entry)], _categories(entry)
        for subcommand in subcommands:
            texts.append(_specs_of(_as_list(subcommand)))
            groups |= _categories(_as_list(subcommand))
        # Subcommands that have keys have them in the same place.
        found.append((name, next(filter(None, texts), ""), groups))
    return found


def _specs_of(entry: Sequence[Reply]) -> str:
    if len(entry) > 8:
        return " ".join(filter(None, (_key_spec_text(_as_list(s)) for s in _items(entry, 8))))
    flags = {flag for flag in _items(entry, 2) if isinstance(flag, bytes)}
    if len(entry) < 6 or flags & {b"movablekeys", b"pubsub"}:
        return ""
    first, last, step = entry[3:6]
    if not (isinstance(first, int) and isinstance(last, int) and isinstance(step, int)):
        return ""
    return "" if first < 1 else f"{first}{last - first if last > 0 else last:+}/{step}"


def _key_spec_text(spec: Sequence[Reply]) -> str:
    """Write a key specification in one word; empty where it names no key, or is "unknown".

    `1+0/1`: begin at 1, to 0 words behind, every word. `1-1/2`: to the last word, every second.
    `STREAMS@4-1/1:2`: behind STREAMS, searched from 4, the first half. `2#0+1/1`: begin at 2, the
    number of keys there, the first one word behind.
    """
    fields = _mapping(spec)
    begin, find = _mapping(fields.get("begin_search")), _mapping(fields.get("find_keys"))
    where, what = _mapping(begin.get("spec")), _mapping(find.get("spec"))
    if b"not_key" in _as_list(fields.get("flags")):
        return ""
    if begin.get("type") == b"index":
        start = f"{_number(where, 'index')}"
    elif begin.get("type") == b"keyword" and isinstance(word := where.get("keyword"), bytes):
        start = f"{word.decode('ascii', 'replace').upper()}@{_number(where, 'startfrom')}"
    else:
        return ""
    step = _number(what, "keystep")
    if find.get("type") == b"range":
        limit = _number(what, "limit")
        text = f"{start}{_number(what, 'lastkey'):+}/{step}" + (f":{limit}" if limit else "")
    elif find.get("type") == b"keynum":
        text = f"{start}#{_number(what, 'keynumidx')}+{_number(what, 'firstkey')}/{step}"
    else:
        return ""
    return text if _SPEC.fullmatch(text) else ""


def _spec(text: str) -> KeySpec:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(f"not a key specification: {text!r}")
    return KeySpec(
        keyword=(match["keyword"] or "").encode("ascii"),
        start=int(match["start"]),
        count_at=int(match["count_at"] or -1),
        first=int(match["first"] or 0),
        last=int(match["last"] or 0),
        step=int(match["step"]),
        limit=int(match["limit"] or 0),
    )


def _categories(entry: Sequence[Reply]) -> set[str]:
    names = [name for name in _items(entry, 6) if isinstance(name, bytes)]
    return {name.decode("ascii", "backslashreplace").removeprefix("@") for name in names}


def _items(entry: Sequence[Reply], position: int) -> list[Reply]:
    return _as_list(entry[position]) if len(entry) > position else []


def _number(fields: Mapping[str, Reply], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def _as_list(value: Reply) -> list[Reply]:
    return value if isinstance(value, list) else []


def _mapping(value: Reply | Sequence[Reply]) -> dict[str, Reply]:
    """Read a map, which RESP2 writes as a flat list of names and values."""
    items = list(value) if isinstance(value, list | tuple) else []
    return {
        name.decode("ascii", "backslashreplace"): item
        for name, item in zip(items[::2], items[1::2], strict=False)
        if isinstance(name, bytes)
    }
