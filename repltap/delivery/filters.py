"""Which records a sink wants.

A record has to match each kind of condition that is included (a database, a command or category, a
key) and none that is excluded. What would change the data that a sink keeps is never left out for
what it can't be asked:

- a command without keys that changes a whole database (FLUSHALL, FLUSHDB, SWAPDB), or that nobody
  knows, passes every condition on keys; one like PUBLISH matches none;
- one with several keys is wanted if any of them is, and left out only if all are excluded;
- one that belongs to no database (FLUSHALL, PUBLISH, FUNCTION) passes every condition on
  databases; SWAPDB, MOVE and COPY ... DB belong to both.

A record of a snapshot is no command: conditions on commands are not asked. A library of functions,
which has no key and no database, passes where FUNCTION would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from repltap.delivery.commands import CommandTable
from repltap.delivery.patterns import glob_pattern
from repltap.sink import Record, SnapshotRecord

_WHOLE_DATABASES = frozenset({"FLUSHALL", "FLUSHDB", "SWAPDB"})
_NO_DATABASE = frozenset({"FLUSHALL", "PUBLISH", "SPUBLISH", "FUNCTION", "SCRIPT"})


@dataclass(frozen=True, slots=True)
class KeyPatterns:
    """Conditions on keys; one of them has to hold.

    Attributes:
        globs: As KEYS takes them.
        prefixes: What a key begins with.
        regexes: Searched for anywhere in a key; what they cost is the operator's choice.
    """

    globs: tuple[bytes, ...] = ()
    prefixes: tuple[bytes, ...] = ()
    regexes: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any condition."""
        return bool(self.globs or self.prefixes or self.regexes)


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions; what is empty is none.

    Attributes:
        dbs: Numbers of databases.
        commands: Names in either case; `@write` and the like are categories.
        keys: What keys look like.
    """

    dbs: frozenset[int] = frozenset()
    commands: frozenset[str] = frozenset()
    keys: KeyPatterns = field(default_factory=KeyPatterns)


class KeyMatcher:
    """Tells whether a key matches one of the patterns.

    Raises:
        re.error: A regular expression is none.
    """

    def __init__(self, patterns: KeyPatterns) -> None:
        self._prefixes = patterns.prefixes
        self._globs = [glob_pattern(glob).match for glob in patterns.globs]
        self._searches = [re.compile(regex).search for regex in patterns.regexes]

    def matches(self, key: bytes) -> bool:
        """Tell whether it does."""
        return (
            key.startswith(self._prefixes)
            or any(match(key) for match in self._globs)
            or any(search(key) for search in self._searches)
        )


class RecordFilter:
    """Tells which records are wanted.

    Args:
        include: What a record has to match; nothing in it: all do.
        exclude: What it must not match.
        table: Says which commands a category has.

    Raises:
        ValueError: A category is unknown.
        re.error: A regular expression is none.
    """

    def __init__(self, include: Selection, exclude: Selection, table: CommandTable) -> None:
        self._dbs, self._not_dbs = include.dbs, exclude.dbs
        self._commands = command_names(include.commands, table)
        self._not_commands = command_names(exclude.commands, table)
        self._keys = KeyMatcher(include.keys) if include.keys else None
        self._not_keys = KeyMatcher(exclude.keys) if exclude.keys else None
        self._known = frozenset[str]().union(*table.categories.values())

    def __call__(self, record: Record) -> bool:
        """Tell whether it is wanted."""
        cmd = record.cmd
        if self._commands and cmd not in self._commands:
            return False
        if cmd in self._not_commands:
            return False
        if (self._dbs or self._not_dbs) and not self._wanted_dbs(record):
            return False
        if self._keys is None and self._not_keys is None:
            return True
        if not record.key_positions:
            passes = cmd in _WHOLE_DATABASES or cmd not in self._known
            return passes or self._keys is None
        keys = record.keys
        if self._keys is not None and not any(map(self._keys.matches, keys)):
            return False
        return self._not_keys is None or not all(map(self._not_keys.matches, keys))

    def snapshot(self, record: SnapshotRecord) -> bool:
        """Tell whether a record of a snapshot is wanted."""
        db, key = record.db, record.key
        if db is not None and ((self._dbs and db not in self._dbs) or db in self._not_dbs):
            return False
        if key is None:
            return self._keys is None
        if self._keys is not None and not self._keys.matches(key):
            return False
        return self._not_keys is None or not self._not_keys.matches(key)

    def _wanted_dbs(self, record: Record) -> bool:
        dbs = databases(record)
        if dbs is None:
            return True
        if self._dbs and dbs.isdisjoint(self._dbs):
            return False
        return not dbs <= self._not_dbs


def command_names(names: frozenset[str], table: CommandTable) -> frozenset[str]:
    """Resolve categories to the commands that they have.

    Raises:
        ValueError: A category is unknown.
    """
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name.upper())
            continue
        category = name[1:].lower()
        if category not in table.categories:
            raise ValueError(f"there is no category {name}")
        found |= table.categories[category]
    return frozenset(found)


def databases(record: Record) -> set[int] | None:
    """Tell which databases a record belongs to; None for all, and where that is not known."""
    cmd, words = record.cmd, record.words
    if record.db is None or cmd in _NO_DATABASE:
        return None
    others: list[bytes] = []
    if cmd == "SWAPDB":
        return {int(word) for word in words[1:3] if word.isdigit()}
    if cmd == "MOVE":
        others = words[2:3]
    elif cmd == "COPY" and len(words) > 4:
        others = [
            word for at, word in enumerate(words) if at > 3 and words[at - 1].upper() == b"DB"
        ]
    return {record.db, *(int(word) for word in others if word.isdigit())}
