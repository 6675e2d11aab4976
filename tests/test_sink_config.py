"""How sinks are named and set up, which source goes first, and what is said where one is wrong."""

from datetime import date
from pathlib import Path

import pytest

from repltap.errors import ConfigError
from repltap.sink_config import MAX_SINKS, SinkConfig, read_sinks
from repltap.sinkspec import TARGET

FILE = Path("repltap.toml")


def sinks(
    *specs: str, environ: dict[str, str] | None = None, table: object = None
) -> dict[str, SinkConfig]:
    return {each.name: each for each in read_sinks(specs, environ or {}, table, FILE)}


def refusal(*specs: str, environ: dict[str, str] | None = None, table: object = None) -> str:
    with pytest.raises(ConfigError) as caught:
        sinks(*specs, environ=environ, table=table)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_nothing_is_no_sink() -> None:
    assert sinks() == {}
    assert sinks(environ={"REPLTAP_SINK": " ", "REPLTAP_SINK_PORT": "tcp://x"}, table={}) == {}


def test_a_spec() -> None:
    assert sinks("kafka:b1:9092,b2:9092,sink=audit,topic=writes") == {
        "audit": SinkConfig(
            name="audit",
            type="kafka",
            settings={TARGET: "b1:9092,b2:9092", "topic": "writes"},
            origin="--sink audit",
        )
    }


def test_a_setting_can_be_a_table() -> None:
    table = {"audit": {"type": "kafka", "kafka": {"linger": {"ms": 5}, "debug": "broker"}}}
    assert sinks(table=table)["audit"].settings == {"kafka": table["audit"]["kafka"]}


def test_a_table_of_the_file() -> None:
    table = {"audit": {"type": "file", "path": "/a", "include_db": [0, 1], "sync": True}}
    assert sinks(table=table) == {
        "audit": SinkConfig(
            name="audit",
            type="file",
            settings={"path": "/a", "include_db": [0, 1], "sync": True},
            origin="repltap.toml: [sink.audit]",
        )
    }


def test_sources_add_up_and_the_stronger_has_a_name_for_itself() -> None:
    found = sinks(
        "file:/flag,sink=b",
        environ={"REPLTAP_SINK": "file:/env,sink=b\n file:/env,sink=c"},
        table={"a": {"type": "file"}, "b": {"type": "file", "x": 1}, "c": {"type": "file"}},
    )
    assert list(found) == ["a", "b", "c"]
    assert [each.settings for each in found.values()] == [{}, {TARGET: "/flag"}, {TARGET: "/env"}]
    assert found["c"].origin == "REPLTAP_SINK c"


def test_values_are_not_shown() -> None:
    assert "hunter2" not in repr(sinks("redis:h,password=hunter2"))
    assert "hunter2" not in refusal("=hunter2")


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([""], "--sink: it does not begin with TYPE"),
        (["file,sink=a/b"], "--sink: 'a/b' is no name"),
        (["file,sink=-a"], "--sink: '-a' is no name"),  # its checkpoint would have none either
        (["file:a", "file:b"], "--sink file: there are two sinks of this name"),
        (["file,sink=a-b", "file,sink=A_b"], "both have variables REPLTAP_SINK_A_B_"),
        ([f"file,sink=s{n}" for n in range(MAX_SINKS + 1)], f"at most {MAX_SINKS}"),
    ],
)
def test_wrong_specs(specs: list[str], said: str) -> None:
    assert said in refusal(*specs)


def test_as_many_as_there_may_be() -> None:
    assert len(sinks(*(f"file,sink=s{n}" for n in range(MAX_SINKS)))) == MAX_SINKS


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file", "repltap.toml: sink: must be a table"),
        ({"type": "file"}, "repltap.toml: [sink] type: must be a table (write [sink.NAME]"),
        ({"a": {}}, "[sink.a] type: must name a type of sink"),
        ({"a": {"type": 3}}, "[sink.a] type: must name"),
        ({"a.b": {"type": "file"}}, "[sink.a.b]: 'a.b' is no name"),
        ({"a": {"type": "file", "path": {"b": [[1]]}}}, "[sink.a] path.b: must be text, a number"),
        ({"a": {"type": "x", "b": {"c": {"d": date(2026, 1, 1)}}}}, "[sink.a] b.c.d: must be text"),
        ({"a": {"type": "file", "path": [[1]]}}, "[sink.a] path: must be text, a number"),
    ],
)
def test_wrong_tables(table: object, said: str) -> None:
    assert said in refusal(table=table)
