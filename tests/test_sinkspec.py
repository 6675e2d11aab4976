"""A sink in one word."""

import pytest

from repltap.sinkspec import TARGET, parse_spec, sink_name, sink_variable


@pytest.mark.parametrize(
    ("spec", "name", "kind", "settings"),
    [
        ("stdout", "stdout", "stdout", {}),
        ("file:/a/b.jsonl", "file", "file", {TARGET: "/a/b.jsonl"}),
        ("file:a,b,format=json", "file", "file", {TARGET: "a,b", "format": "json"}),
        ("file:a\\,b=c,d=e", "file", "file", {TARGET: "a,b=c", "d": "e"}),
        (
            "kafka:one:9092,two:9092,topic=t,sink=audit",
            "audit",
            "kafka",
            {TARGET: "one:9092,two:9092", "topic": "t"},
        ),
        (
            "redis:redis://h:1/0?a=b,include_key=u:{1,2},include_db=0;3",
            "redis",
            "redis",
            {TARGET: "redis://h:1/0?a=b", "include_key": "u:{1,2}", "include_db": "0;3"},
        ),
        ("log,dir=/x,include_key=a,include_key=b", "log", "log",
         {"dir": "/x", "include_key": ("a", "b")}),
        ("stdout,pattern=\\d+$,x=", "stdout", "stdout", {"pattern": "\\d+$", "x": ""}),
        ("my.mod:Sink:there,a=b=c", "sink", "my.mod:Sink", {TARGET: "there", "a": "b=c"}),
        ("my.mod:Sink,sink=x", "x", "my.mod:Sink", {}),
    ],
)  # fmt: skip
def test_read(spec: str, name: str, kind: str, settings: dict[str, object]) -> None:
    read = parse_spec(spec)
    assert (read.name, read.type, read.settings) == (name, kind, settings)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "does not begin with TYPE"),
        (":x", "does not begin with TYPE"),
        ("/tmp/x", "does not begin with TYPE"),
        ("file=x", "does not begin with TYPE"),
        ("file,x", "does not begin with TYPE"),
        ("file:", "file: there is nothing behind the colon"),
        ("file:,a=b", "file: there is nothing behind the colon"),
        ("file:a,type=kafka", "the type is given again"),
        ("file:a,sink=a,sink=b", "sink= is given more than once"),
        ("file:a,sink=a/b", "'a/b' is no name for a sink"),
        ("file:a,sink=" + "x" * 65, "at most 64"),
    ],
)
def test_refused(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_spec(spec)


def test_no_value_is_shown() -> None:
    read = parse_spec("kafka:b,password=hunter2")
    assert "hunter2" not in repr(read)
    with pytest.raises(ValueError) as caught:
        parse_spec("kafka:b,password=hunter2,sink=a b")
    assert "hunter2" not in str(caught.value)


def test_names() -> None:
    assert sink_name("a-B_9") == "a-B_9"
    assert sink_variable("my-sink", "sasl_password") == "REPLTAP_SINK_MY_SINK_SASL_PASSWORD"
