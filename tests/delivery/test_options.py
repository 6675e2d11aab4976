"""Where the value of an option comes from, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import SinkConfig
from repltap.delivery.options import COMMON, OptionReader
from repltap.errors import ConfigError
from repltap.sink import Option, integer, path, secret, text
from repltap.sinkspec import TARGET
from tests.delivery.sinks import ListSink


class Configured(ListSink):
    target = "url"
    options = (
        Option(name="url", parse=text, help="Where to.", required=True),
        Option(name="tries", parse=integer(1, 9), help="How often.", default=3),
        Option(name="password", parse=secret, help="The password.", secret=True),
        Option(name="pin", parse=integer(1000, 9999), help="The number.", secret=True),
        Option(name="file", parse=path, help="A file."),
        Option(name="words", parse=dict, help="Words.", table=True),
    )


def read(
    settings: dict[str, object],
    environ: dict[str, str] | None = None,
    origin: str = "r.toml: [sink.my-sink]",
) -> dict[str, object]:
    config = SinkConfig(name="my-sink", type="configured", settings=settings, origin=origin)
    return OptionReader(config, Configured, environ or {}).read()


def refusal(settings: dict[str, object], **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(settings, **more)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "hunter2" not in message
    assert "\n" not in message
    return message


def test_defaults_and_values() -> None:
    values = read({"url": "x", "tries": "4", "include_db": [0, 3], "commit_bytes": "1mb"})
    assert values["url"] == "x"
    assert values["tries"] == 4
    assert values["password"] is None
    assert values["include_db"] == (0, 3)
    assert values["commit_bytes"] == 1 << 20
    assert values["commit_seconds"] is None  # the sink's own counts
    assert set(values) == {option.name for option in (*COMMON, *Configured.options)}


def test_lists() -> None:
    for given in ("a;b", ("a", "b"), ["a", "b"], ("a;b",)):
        assert read({"url": "x", "include_key": given})["include_key"] == ("a", "b")
    assert read({"url": "x", "include_key": "a\\;b"})["include_key"] == ("a;b",)
    assert read({"url": "x", "include_key": ["a;b"]})["include_key"] == ("a;b",)
    for dbs in (3, "3", [3]):
        assert read({"url": "x", "include_db": dbs})["include_db"] == (3,)


def test_tables() -> None:
    assert read({"url": "x", "words": {"a": {"b": 1}}})["words"] == {"a": {"b": 1}}
    wrong = {"a": "hunter2"}
    assert "url: a table can't be given for it: Where to." in refusal({"url": wrong})
    assert "password: a table can't" in refusal({"url": "x", "password": wrong})
    assert "include_db: a table can't" in refusal({"url": "x", "include_db": wrong})


def test_the_target() -> None:
    assert read({TARGET: "there"})["url"] == "there"
    assert "url is given twice" in refusal({TARGET: "there", "url": "x"})
    config = SinkConfig(name="l", type="list", settings={TARGET: "there"}, origin="--sink list")
    with pytest.raises(ConfigError, match="--sink list: list takes no target"):
        OptionReader(config, ListSink, {}).read()


def test_secrets_from_files(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("hunter2\n")
    assert read({"url": "x", "password_file": str(word)})["password"] == "hunter2"
    assert "password is given twice" in refusal(
        {"url": "x", "password": "hunter2", "password_file": str(word)}
    )
    assert "can't be read" in refusal({"url": "x", "password_file": str(tmp_path / "absent")})
    assert "file_file: no such setting" in refusal({"url": "x", "file_file": str(word)})


def test_the_environment() -> None:
    environ = {"REPLTAP_SINK_MY_SINK_PASSWORD": "hunter2", "REPLTAP_SINK_MY_SINK_TRIES": "5"}
    values = read({"url": "x", "tries": 4}, environ)
    assert (values["password"], values["tries"]) == ("hunter2", 5)
    values = read({"url": "x", "tries": "4"}, environ, "--sink configured")
    assert (values["password"], values["tries"]) == ("hunter2", 4)
    said = refusal({"url": "x"}, environ={"REPLTAP_SINK_MY_SINK_TRIES": "50"})
    assert said.startswith("REPLTAP_SINK_MY_SINK_TRIES: '50' is not")
    assert read({"url": "x"}, {"REPLTAP_SINK_MY_SINK_TRIES": ""})["tries"] == 3


def test_no_password_on_the_command_line() -> None:
    origin = "--sink configured"
    said = refusal({"url": "x", "password": "hunter2"}, origin=origin)
    assert "visible in the process list (password_file=FILE, or " in said
    assert "visible" in refusal({TARGET: "redis://u:hunter2@h"}, origin=origin)
    assert read({"url": "x", "password": "hunter2"})["password"] == "hunter2"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "r.toml: [sink.my-sink]: url is missing: Where to (or REPLTAP_SINK_MY_SINK_URL)"),
        ({"url": "x", "tris": 1}, "tris: no such setting (did you mean tries?)"),
        ({"url": "x", "include_keys": "a"}, "did you mean include_key?"),
        ({"url": "x", "zzzzzzzz": "a"}, "zzzzzzzz: no such setting (known: snapshot, "),
        ({"url": "x", "tries": 10}, "r.toml: [sink.my-sink]: tries: 10 is not a whole number"),
        ({"url": "x", "include_db": [0, True]}, "include_db: True is not a whole number"),
        ({"url": "x", "include_key": []}, "include_key: [] is not a list"),
        ({"url": "x", "include_key": "a;;b"}, "include_key: "),
        ({"url": "x", "pin": "hunter2"}, "pin: it is not valid"),
        ({"url": "x", "pin": 7}, "pin: it is not valid"),
        ({"url": "redis://u:hunter2@h\n"}, "is not a word"),
    ],
)
def test_refused(settings: dict[str, object], said: str) -> None:
    assert said in refusal(settings)


def test_options_that_can_not_be_told_apart() -> None:
    class Clash(ListSink):
        options = (Option(name="start", parse=text, help="x"),)

    config = SinkConfig(name="c", type="clash", settings={}, origin="here")
    with pytest.raises(ConfigError, match="here: type: the sink 'clash' has an option 'start'"):
        OptionReader(config, Clash, {})
