"""What a sink is given of the records."""

from __future__ import annotations

import itertools

import pytest

from repltap.config import SinkConfig
from repltap.delivery.settings import read_settings
from repltap.delivery.treatment import Treatment
from repltap.rdb.entries import Members
from tests.delivery.sinks import ListSink
from tests.delivery.snapshots import key, library
from tests.delivery.wire import TABLE, records_of
from tests.stored import command


def treatment(**given: object) -> Treatment:
    config = SinkConfig(name="s", type="list", settings=given, origin="x")
    return Treatment(read_settings(config, ListSink, {}), TABLE)


def given_of(raw: bytes, **settings: object) -> list[list[bytes]]:
    treated = treatment(**settings)
    return [one.words for one in treated.commands(records_of(raw, accepts=treated.accepts))]


def test_nothing_to_do() -> None:
    treated = treatment()
    assert treated.accepts is None
    assert treated.takes_all
    assert not treated.changes
    records = records_of(command(b"SET", b"k", b"v"))
    assert treated.commands(records) is records
    record = key(b"v")
    assert treated.snapshot(record) is record


def test_redacted_and_then_cut() -> None:
    raw = command(b"SET", b"user:1", b"x" * 100) + command(b"SET", b"k", b"y" * 100)
    found = given_of(raw, redact="hash", redact_prefix="user:", max_value_bytes=40)
    assert [len(words[2]) for words in found] == [37, 40]
    treated = treatment(redact="hash", redact_prefix="user:", max_value_bytes=40)
    sizes = []
    for name in (b"user:1", b"k"):
        made = treated.snapshot(key(b"x" * 100, name=name, length=100))
        assert made is not None
        sizes.append((len(made.value or b""), made.redacted, made.size))
    assert sizes == [(37, True, None), (40, False, 100)]


CONDITIONS: dict[str, tuple[str, object, tuple[bytes, ...], tuple[int, ...]]] = {
    # setting, value, keys that match, databases that match
    "db": ("db", [0, 3], (b"user:1", b"order:1"), (0, 3)),
    "key": ("key", "u*:[0-9]", (b"user:1",), (0, 3, 5)),
    "prefix": ("prefix", "user:;admin:", (b"user:1",), (0, 3, 5)),
    "regex": ("regex", r"^us.*\\d$;^user:1$", (b"user:1",), (0, 3, 5)),
}
KEYS, DBS = (b"user:1", b"order:1"), (0, 3, 5)


@pytest.mark.parametrize("included", [None, *CONDITIONS])
@pytest.mark.parametrize("excluded", [None, *CONDITIONS])
@pytest.mark.parametrize("command_too", [False, True])
def test_snapshots_and_commands_are_chosen_alike(
    included: str | None, excluded: str | None, command_too: bool
) -> None:
    """What a SET of the key would do decides, and conditions on commands are not asked."""
    given: dict[str, object] = {}
    for prefix, name in (("include", included), ("exclude", excluded)):
        if name is not None:
            setting, value, _, _ = CONDITIONS[name]
            given[f"{prefix}_{setting}"] = value
    treated = treatment(**given)
    with_commands = treatment(**given, include_command="DEL", exclude_command="SET")
    for db, name_ in itertools.product(DBS, KEYS):
        wanted = _matches(included, db, name_, True) and not _matches(excluded, db, name_, False)
        raw = command(b"SELECT", b"%d" % db) + command(b"SET", name_, b"v")
        assert bool(records_of(raw, accepts=treated.accepts)) is wanted
        chosen = with_commands if command_too else treated
        assert (chosen.snapshot(key(b"v", name=name_, db=db)) is not None) is wanted


def _matches(condition: str | None, db: int, name: bytes, otherwise: bool) -> bool:
    if condition is None:
        return otherwise
    _, _, keys, dbs = CONDITIONS[condition]
    return name in keys and db in dbs


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, True),
        ({"include_db": 3}, True),
        ({"exclude_db": 0}, True),
        ({"include_key": "a"}, False),
        ({"exclude_key": "a"}, True),
        ({"include_command": "SET"}, True),
    ],
)
def test_libraries(given: dict[str, object], passes: bool) -> None:
    assert (treatment(**given).snapshot(library(b"code")) is not None) is passes


def test_only_some_are_redacted() -> None:
    treated = treatment(redact="remove", redact_db=3, redact_command="GET")
    for db, redacted in ((0, False), (3, True)):
        made = treated.snapshot(key(Members([b"a"]), "set", db=db))
        assert made is not None
        assert made.redacted is redacted
