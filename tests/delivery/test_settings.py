"""What a sink is told, put together and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repltap.config import SinkConfig
from repltap.delivery.filters import KeyPatterns, Selection
from repltap.delivery.options import OnGap, Start
from repltap.delivery.redaction import Action
from repltap.delivery.registry import find_sink
from repltap.delivery.settings import (
    RedactionSettings,
    SinkSettings,
    read_all_settings,
    read_settings,
    unknown_commands,
)
from repltap.errors import ConfigError
from repltap.sink import Option, SnapshotMode, text
from tests.delivery.sinks import ListSink


class Snapshots(ListSink):
    snapshots = SnapshotMode.INITIAL
    commit_seconds = 0.25
    commit_bytes = 1 << 20
    options = (Option(name="colour", parse=text, help="Which.", default="red"),)


def settings(**given: object) -> SinkSettings:
    config = SinkConfig(name="s", type="snapshots", settings=given, origin="r.toml: [sink.s]")
    return read_settings(config, Snapshots, {})


def refusal(**given: object) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(**given)
    message = str(caught.value)
    assert message.startswith("r.toml: [sink.s]: ")
    return message


def test_defaults() -> None:
    assert settings() == SinkSettings(
        sink=Snapshots,
        name="s",
        type="snapshots",
        origin="r.toml: [sink.s]",
        options={"colour": "red"},
        snapshot=SnapshotMode.INITIAL,
        commit_seconds=0.25,
        commit_bytes=1 << 20,
    )


def test_everything() -> None:
    made = settings(
        colour="blue",
        snapshot="Always",
        start="latest",
        include_db=[1, 2],
        include_key="a*;b*",
        include_prefix="p",
        include_regex=r"\d",
        include_command="@write;get",
        exclude_db="3",
        exclude_command="DEL",
        redact="hash",
        redact_secret="key",
        redact_hash_keys="yes",
        redact_prefix="ü",
        max_value_bytes="1kb",
        commit_seconds="0.5",
        commit_bytes="2mb",
        heartbeat_seconds=3,
        on_gap="stop",
    )
    assert made.options == {"colour": "blue"}
    assert made.snapshot is SnapshotMode.ALWAYS
    assert made.start is Start.LATEST
    assert made.include == Selection(
        dbs=frozenset({1, 2}),
        commands=frozenset({"@write", "get"}),
        keys=KeyPatterns((b"a*", b"b*"), (b"p",), (rb"\d",)),
    )
    assert made.exclude == Selection(dbs=frozenset({3}), commands=frozenset({"DEL"}))
    assert made.redaction == RedactionSettings(
        action=Action.HASH,
        secret=b"key",
        hash_keys=True,
        where=Selection(keys=KeyPatterns(prefixes=("ü".encode(),))),
    )
    assert made.max_value_bytes == 1024
    assert (made.commit_seconds, made.commit_bytes) == (0.5, 2 << 20)
    assert made.heartbeat_seconds == 3
    assert made.on_gap is OnGap.STOP


def test_redaction_of_all_records() -> None:
    assert settings(redact="remove").redaction == RedactionSettings(action=Action.REMOVE)
    cut = settings(redact="cut", redact_keep_bytes=0).redaction
    assert cut == RedactionSettings(action=Action.CUT)


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(settings(redact="hash", redact_secret="hunter2"))
    assert "hunter2" not in repr(settings(colour="hunter2"))


def test_options_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        settings().options["colour"] = "green"  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"include_regex": "a;("}, "include_regex: '(' is no regular expression: missing )"),
        ({"exclude_command": "@writ"}, "exclude_command: there is no category @writ (did you mean"),
        ({"redact": "cut", "redact_command": "@x"}, "redact_command: there is no category @x"),
        ({"redact_key": "a"}, "redact_key: redact is missing"),
        ({"redact_keep_bytes": 0}, "redact_keep_bytes: redact is missing"),
        ({"redact_secret": "x"}, "redact_secret: redact is missing"),
        ({"redact_hash_keys": True}, "redact_hash_keys: redact is missing"),
        ({"redact": "hash", "redact_keep_bytes": 3}, "redact_keep_bytes: goes with redact = cut"),
        ({"redact": "cut", "redact_secret": "x"}, "redact_secret: nothing is hashed"),
        ({"redact": "hash", "redact_secret": "x" * 65}, "redact_secret: is longer than 64 bytes"),
        ({"snapshot": "sometimes"}, "snapshot: 'sometimes' is none of never, initial, when_needed"),
        ({"redact": "hide"}, "redact: 'hide' is none of hash, cut, remove"),
        ({"max_value_bytes": 0}, "max_value_bytes: 0 is less than 1 bytes"),
    ],
)
def test_refused(given: dict[str, object], said: str) -> None:
    assert said in refusal(**given)


def test_settings_that_do_not_go_together_are_told_by_the_sink() -> None:
    class Choosy(Snapshots):
        def __init__(self, settings: Mapping[str, Any]) -> None:
            super().__init__(settings)
            if settings["colour"] == "blue":
                raise ValueError("colour: blue goes with nothing")

    config = SinkConfig(name="s", type="x", settings={"colour": "blue"}, origin="r.toml: [sink.s]")
    with pytest.raises(
        ConfigError, match=r"^r\.toml: \[sink\.s\]: colour: blue goes with nothing$"
    ):
        read_settings(config, Choosy, {})
    assert read_settings(replace(config, settings={}), Choosy, {}).options == {"colour": "red"}


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("file", {"path": "x", "keep_files": 3}, "keep_files: goes with rotate_bytes"),
        ("kafka", {"brokers": "a:1"}, "topic: is missing"),
        ("kafka", {"brokers": "a:1/t", "value": "resp", "oversize": "truncate"}, "oversize: "),
    ],
)
def test_of_sinks_that_ship(kind: str, given: dict[str, object], said: str) -> None:
    config = SinkConfig(name="s", type=kind, settings=given, origin="r.toml: [sink.s]")
    with pytest.raises(ConfigError, match=said):
        read_settings(config, find_sink(kind, "x"), {})


def sink(name: str, kind: str, **given: object) -> SinkConfig:
    return SinkConfig(name=name, type=kind, settings=given, origin=f"r.toml: [sink.{name}]")


def test_two_sinks_with_the_same_file_are_refused() -> None:
    """They deleted and renamed each other's files."""
    rotated = {"path": "x/a-{sequence}.jsonl", "rotate_bytes": "1mb"}
    absolute = rotated | {"path": str(Path("x/a-{sequence}.jsonl").absolute())}
    with pytest.raises(ConfigError, match=r"\[sink.b\]: path: .* is that of the sink a, too"):
        read_all_settings([sink("a", "file", **rotated), sink("b", "file", **absolute)], {})
    logs = [sink("a", "log", dir="x"), sink("b", "log")]
    with pytest.raises(ConfigError, match="dir: x is that of the sink a"):
        read_all_settings(logs, {"REPLTAP_SINK_B_DIR": "x"})
    both = [sink("a", "stdout"), sink("b", "stdout"), sink("c", "file", **rotated)]
    assert [each.name for each in read_all_settings(both, {})] == ["a", "b", "c"]


def test_commands_that_nobody_knows_are_told() -> None:
    given = [
        sink("a", "stdout", include_command="SETT;HSTE;get;@write;json.set"),
        sink(
            "b",
            "stdout",
            redact="cut",
            redact_command=["hset", "qqq"],
            exclude_command="get,json.set",
        ),
    ]
    told = unknown_commands(read_all_settings(given, {}))
    assert [each.removeprefix("r.toml: ") for each in told] == [
        "[sink.a]: include_command: HSTE is no known command: did you mean HSET?",
        "[sink.a]: include_command: SETT is no known command: did you mean SET?",
        "[sink.b]: exclude_command: GET,JSON.SET is no known command: semicolons separate several",
        "[sink.b]: redact_command: QQQ is no known command",
    ]
