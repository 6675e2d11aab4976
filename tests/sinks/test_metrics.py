"""The sink that counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from repltap.delivery.commands import builtin_table
from repltap.sink import AnyRecord, Record, SinkError
from sinks.metrics import COMMANDS, MetricsSink
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import StubContext, place_of
from tests.sinks.records import Batch, Stream, entry


def metrics_sink(**settings: object) -> MetricsSink:
    values = {option.name: option.default for option in MetricsSink.options}
    return MetricsSink(values | settings)


def run(sink: MetricsSink, *batches: Batch, state: Mapping[str, Any] | None = None) -> Any:
    """Open a sink, give it batches, commit; returns its state as a checkpoint keeps it."""
    sink.open(StubContext(state=None if state is None else dict(state)))
    for batch in batches:
        sink.write(batch)
    return json.loads(json.dumps(sink.commit(place_of(1))))


def samples(sink: MetricsSink) -> dict[tuple[str, str], float]:
    return {(s.name, next(iter(s.labels.values()))): s.value for s in sink.samples()}


class KeptSink(MetricsSink):
    """Shows what it has committed last, also from a process that is killed."""

    def __init__(self, path: Path) -> None:
        super().__init__({"prefixes": ("k",), "commands": ()})
        self._path = path

    def commit(self, place: str) -> Mapping[str, Any]:
        state = super().commit(place)
        self._path.write_text(json.dumps(state))
        return state


class CountersTarget(Target):
    exactly_once = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def sink(self) -> MetricsSink:
        return KeptSink(self._path)

    def delivered(self) -> list[Any]:
        state = json.loads(self._path.read_text())
        return [{name: n for name, (n, _) in state["cmd"].items()}, state["prefix"]]

    def expected(self, records: Sequence[AnyRecord]) -> list[Any]:
        commands = [record for record in records if isinstance(record, Record)]
        counts = Counter(r.cmd if r.cmd in COMMANDS else "other" for r in commands)
        touching = [r for r in commands if any(key.startswith(b"k") for key in r.keys)]
        return [dict(counts), {"k": len(touching)}]


class TestContract(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> CountersTarget:
        return CountersTarget(tmp_path / "state.json")


def test_commands_and_their_bytes() -> None:
    stream = Stream()
    sink = metrics_sink(commands=("json.set",))
    batch: Batch = [
        stream.command(b"set", b"k", b"v"),
        stream.command(b"SET", b"k", b"v"),
        stream.command(b"JSON.SET", b"k", b"$", b"1"),
        stream.command(b"FT.ADD", b"k"),
        stream.command(b"NOSUCH", b"k"),
    ]
    run(sink, batch)
    lengths = [r.offset_end - r.offset_start for r in batch if isinstance(r, Record)]
    assert samples(sink) == {
        ("commands_total", "set"): 2,
        ("command_bytes_total", "set"): lengths[0] + lengths[1],
        ("commands_total", "json.set"): 1,
        ("command_bytes_total", "json.set"): lengths[2],
        ("commands_total", "other"): 2,
        ("command_bytes_total", "other"): lengths[3] + lengths[4],
    }


def test_prefixes() -> None:
    stream = Stream()
    sink = metrics_sink(prefixes=("user:", "us", "cart:", "ü"))
    run(
        sink,
        [
            stream.command(b"SET", b"user:1", b"cart:"),
            stream.command(b"DEL", b"user:1", b"user:2", b"cart:1"),
            stream.command(b"SET", b"used", b"v"),
            stream.command(b"SET", b"other", b"v"),
            stream.command(b"SET", "ü".encode(), b"v"),
            stream.command(b"FLUSHALL"),
        ],
    )
    found = {name: n for (kind, name), n in samples(sink).items() if kind.startswith("keyspace")}
    # Of several keys each prefix counts a command once.
    assert found == {"user:": 2, "us": 3, "cart:": 1, "ü": 1}


def test_every_prefix_is_there_from_the_start() -> None:
    sink = metrics_sink(prefixes=("a", "b"))
    assert samples(sink) == {}
    sink.open(StubContext())
    assert samples(sink) == {("keyspace_writes_total", "a"): 0, ("keyspace_writes_total", "b"): 0}


def test_what_is_not_committed_is_not_shown() -> None:
    sink = metrics_sink()
    batch: Batch = [Stream().command(b"SET", b"k", b"v")]
    state = run(sink, batch)
    sink.write(batch)
    assert samples(sink)["commands_total", "set"] == 1
    sink.close()
    sink.open(StubContext(state=state))
    assert samples(sink)["commands_total", "set"] == 1


def test_other_prefixes_after_a_restart() -> None:
    stream = Stream()
    batch: Batch = [stream.command(b"SET", b"a1", b"v"), stream.command(b"SET", b"b1", b"v")]
    state = run(metrics_sink(prefixes=("a",)), batch)
    sink = metrics_sink(prefixes=("b", "a"))
    run(sink, batch, state=state)
    assert samples(sink)["keyspace_writes_total", "a"] == 2
    assert samples(sink)["keyspace_writes_total", "b"] == 1


def test_snapshots_are_not_counted() -> None:
    sink = metrics_sink()
    run(sink, *Stream().snapshot([entry(b"k", "string", b"v")]))
    assert samples(sink) == {}


@pytest.mark.parametrize(
    "state", [{"version": 2, "cmd": {}, "prefix": {}}, {"cmd": {}}, {"version": 1, "cmd": [1]}]
)
def test_a_state_of_another_version_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(SinkError, match="repltap sink reset contract"):
        metrics_sink().open(StubContext(state=state))


def test_names_without_end_are_one_series() -> None:
    stream = Stream()
    sink = metrics_sink()
    run(sink, [stream.command(b"CMD%d" % n) for n in range(10_000)])
    assert len(sink._labels) < 2_000
    assert len(sink.samples()) == 2
    assert samples(sink)["commands_total", "other"] == 10_000


def test_the_largest_state_is_kept() -> None:
    names = tuple("x" * 197 + f"{n:03}" for n in range(100))
    sink = metrics_sink(prefixes=names, commands=names)
    stream = Stream()
    batch: Batch = [stream.command(name.encode(), b"k") for name in (*COMMANDS, *names)]
    assert len(json.dumps(run(sink, batch))) < 64 << 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([f"p{n}" for n in range(101)], "101 are too many: at most 100"),
        (["x" * 201], "is longer than 200 bytes"),
        ([1], "is none"),
    ],
)
def test_prefixes_are_bounded(given: object, said: str) -> None:
    (option, _) = MetricsSink.options
    with pytest.raises(ValueError, match=said):
        option.parse(given)
    assert option.parse("a;b;a") == ("a", "b")


def test_every_command_that_writes_is_known() -> None:
    assert builtin_table().categories["write"] <= COMMANDS
