"""Which sinks there are, and what is said of one that can't be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.delivery.registry import find_sink, sink_types
from repltap.errors import ConfigError

MODULE = """
from repltap.sink import Sink

class Good(Sink):
    def open(self, context): return None
    def write(self, records): pass
    def commit(self, place): return None
    def close(self): pass

class Abstract(Sink):
    def open(self, context): return None

class Other: pass
"""
ENTRIES = """
[repltap.sinks]
good = rt_plugin:Good
abstract = rt_plugin:Abstract
other = rt_plugin:Other
nowhere = rt_plugin:Nowhere
broken = rt_broken:Sink
exits = rt_exits:Sink
twice = rt_plugin:Good
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a distribution with sinks."""
    (tmp_path / "rt_plugin.py").write_text(MODULE)
    (tmp_path / "rt_broken.py").write_text("1 / 0")
    (tmp_path / "rt_exits.py").write_text("raise SystemExit('no\\nway')")
    (tmp_path / "rt_lacks.py").write_text("import confluent_kafka")
    for number, entries in enumerate((ENTRIES, "[repltap.sinks]\ntwice = rt_plugin:Other\n")):
        info = tmp_path / f"plugin{number}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin{number}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)  # as if it was not installed
    yield
    for name in [name for name in sys.modules if name.startswith("rt_")]:
        del sys.modules[name]


def refusal(kind: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_sink(kind, "repltap.toml: [sink.x]")
    message = str(caught.value)
    assert message.startswith("repltap.toml: [sink.x]: type: ")
    assert "\n" not in message
    return message


def test_found_by_entry_point() -> None:
    assert find_sink("good", "x").__name__ == "Good"
    assert {"good", "broken"} <= set(sink_types())
    assert sink_types() == sorted(set(sink_types()))


def test_found_by_place() -> None:
    assert find_sink("rt_plugin:Good", "x") is find_sink("good", "x")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("goood", "there is no sink 'goood' (did you mean good? known: "),
        ("qqqqqq", "there is no sink 'qqqqqq' (known: "),
        ("twice", "more than one sink 'twice': rt_plugin:Good, rt_plugin:Other"),
        ("abstract", "'abstract' (rt_plugin:Abstract) lacks methods: close, commit, write"),
        ("other", "is no class that derives from repltap.sink.Sink"),
        ("nowhere", "can't be imported: AttributeError: "),
        ("broken", "'broken' (rt_broken:Sink) can't be imported: ZeroDivisionError: "),
        ("exits", "can't be imported: SystemExit: no way"),
        ("rt_absent:Sink", "can't be imported: ModuleNotFoundError: No module named 'rt_absent'"),
        ("rt_absent:Sink", "(install it, or name its directory in PYTHONPATH)"),
        ("rt_lacks:Sink", "(pip install 'repltap[kafka]')"),
        ("rt_plugin:", "is not package.module:Class"),
        (":Good", "is not package.module:Class"),
    ],
)
def test_refused(kind: str, said: str) -> None:
    assert said in refusal(kind)
