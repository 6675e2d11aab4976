"""What a sink is given when it is opened."""

from __future__ import annotations

import json
import logging

import pytest

from repltap.config import SinkConfig
from repltap.delivery.context import DeliveryContext, emptied_databases
from repltap.delivery.report import WorkerReport
from repltap.delivery.resp_output import PAYLOADS
from repltap.delivery.settings import SinkSettings, read_settings
from repltap.rdb.entries import Members
from repltap.sink import Kind, Notice, SinkContext, SinkError
from tests.delivery.sinks import ListSink
from tests.delivery.snapshots import OFFSET, key
from tests.delivery.wire import TABLE, stream
from tests.stored import REPLID, SET, command

LOG = logging.getLogger("repltap.sink.s")


class StoppedBell:
    """Stops whoever has waited so often."""

    def __init__(self, waits: int = 0) -> None:
        self.waits = waits
        self.waited: list[float] = []

    @property
    def stopping(self) -> bool:
        return len(self.waited) >= self.waits

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)

    def report(self, report: WorkerReport) -> None: ...

    def want_snapshot(self) -> None: ...


class Tally:
    """Counts."""

    def __init__(self) -> None:
        self.bytes = 0
        self.records: list[tuple[int, bool]] = []

    def sent(self, size: int) -> None:
        self.bytes += size

    def discard(self, count: int, *, intentional: bool) -> None:
        self.records.append((count, intentional))


def settings(**given: object) -> SinkSettings:
    config = SinkConfig(name="s", type="list", settings=given, origin="x")
    return read_settings(config, ListSink, {})


def context(bell: StoppedBell | None = None, **given: object) -> DeliveryContext:
    return DeliveryContext(settings(**given), "master", bell or StoppedBell(), Tally(), LOG)


def test_it_is_what_sinks_are_promised() -> None:
    made: SinkContext = context()
    assert (made.name, made.source, made.place, made.state) == ("s", "master", None, {})
    full = context()
    full.begin("a place", {"length": 5})
    assert (full.place, full.state) == ("a place", {"length": 5})
    assert full.log.name == "repltap.sink.s"


def test_after_a_reset_an_older_place_does_not_count() -> None:
    made = context()
    made.begin(None, {})
    assert (made.reset, made.counts("of anybody")) == (False, True)
    made.begin(None, {}, "9f2c")
    assert made.reset
    assert [made.counts(text) for text in ("", '{"v":1}', '{"reset":"9f2d"}')] == [False] * 3
    assert made.counts('{"v":1,"reset":"9f2c"}')
    made.begin(None, {})
    assert not made.reset


def test_records_are_treated_before_they_are_written() -> None:
    made = context(redact="remove", include_db=0)
    tap = stream()
    records = made.prepare(tap.feed(SET, REPLID, 0), *tap.window)
    assert json.loads(made.json_lines(records))["args"] == ["key"]
    found = made.prepare([key(b"v"), key(b"v", db=1)], b"", 0)
    assert [json.loads(one).get("value") for one in made.json_lines(found).splitlines()] == [None]
    notice = Notice(Kind.HEARTBEAT, "x", "m", REPLID, 1, 1, 1, {})
    assert made.prepare([notice], b"", 0) == [notice]
    assert made.prepare([], b"", 0) == []


def test_parts_that_were_given_before() -> None:
    made = context(redact="cut", redact_keep_bytes=3)
    made.pass_over(key(b"ab", last=False))
    (record,) = made.prepare([key(b"cd", part=1)], b"", 0)
    assert record.value == b"c"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, b"VALUE"),
        ({"include_key": "*"}, b"VALUE"),
        ({"redact": "cut"}, b""),
        ({"max_value_bytes": 100}, b"value"),
    ],
)
def test_what_was_changed_is_not_copied(given: dict[str, object], written: bytes) -> None:
    made = context(**given)
    form = made.resp_form()
    tap = stream()
    records = tap.feed(SET, REPLID, 0)
    data, start = tap.window
    prepared = made.prepare(records, data.replace(b"value", b"VALUE"), start)
    assert form.write(prepared) == command(b"SELECT", b"0") + command(b"SET", b"key", written)
    made.begin(None, {})  # what was the window then is no more
    assert b"VALUE" not in made.resp_form().write(records)


def test_serialized_forms_are_asked_for_by_outputs_of_commands() -> None:
    made = context()
    assert not made.payloads
    form = made.resp_form(target="redis-6.2")
    assert made.payloads == PAYLOADS
    assert "string" not in PAYLOADS
    made.begin_snapshot("REDIS0010", {"redis-ver": "7.0.15"})
    record = key(Members([b"a"]), "list", payload=b"\x12")
    assert b"RPUSH" in form.write([record])
    assert b"RESTORE" in made.resp_form().write([record])
    made.begin(None, {})
    assert not made.payloads
    with pytest.raises(SinkError, match="no server such as"):
        made.resp_form(target="oracle")


def test_waiting() -> None:
    bell = StoppedBell(3)
    assert context(bell).wait(1000)
    assert len(bell.waited) == 3
    assert all(990 < seconds <= 1000 for seconds in bell.waited)
    bell = StoppedBell(3)
    assert not context(bell).wait(0)
    assert bell.waited == []


def test_counting() -> None:
    tally = Tally()
    made = DeliveryContext(settings(), "m", StoppedBell(), tally, LOG)
    made.sent(5)
    made.discarded(2, intentional=False)
    made.resp_form().write([key(None)._replace(entry=())])
    assert (tally.bytes, tally.records) == (5, [(2, False), (1, True)])


@pytest.mark.parametrize(
    ("given", "emptied"),
    [
        ({}, None),
        ({"include_db": [3, 0]}, [0, 3]),
        ({"include_db": [3, 0], "exclude_db": 3}, [0]),
        ({"exclude_db": 3}, []),
        ({"include_key": "a"}, []),
        ({"exclude_regex": "a"}, []),
        ({"include_db": 0, "include_key": "a"}, []),
        ({"exclude_command": "flushall"}, []),
        ({"include_command": "SET"}, []),
        ({"include_command": "@write"}, None),
        ({"include_db": 0, "exclude_command": "@dangerous"}, []),
    ],
)
def test_what_a_snapshot_replaces(given: dict[str, object], emptied: list[int] | None) -> None:
    found = emptied_databases(settings(**given), TABLE)
    assert (None if found is None else list(found)) == emptied
    made = context(**given)
    begin = Notice(Kind.SNAPSHOT_BEGIN, "x", "m", REPLID, OFFSET, OFFSET, 1, {})
    written = made.resp_form().write([begin])
    assert (command(b"FLUSHALL") in written) == (emptied is None)
    assert written.count(b"FLUSHDB") == len(emptied or [])
