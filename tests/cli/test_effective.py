"""The configuration as TOML: loaded again it is the same, and no secret is in it."""

import dataclasses
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.cli.effective import effective
from repltap.config import Config, load
from repltap.config_sources import read_sources
from repltap.delivery.registry import find_sink
from repltap.delivery.settings import SinkSettings, read_settings
from repltap.options import OPTIONS

FILE = """
[upstream]
url = "redis://us%2Fer:hush1@[::1]:7000"
timeout_seconds = 2.5
ack_policy = "quorum:2"
[store]
quota_bytes = "10mb"
retain_bytes = 12345
[sink.mirror]
type = "redis"
url = "redis://h:1"
password = "hush2"
include_prefix = ["a;b", 'c"\\\\']
[sink.part]
type = "file"
path = "/var/log/x"
[sink.topic]
type = "kafka"
brokers = "h:1/t"
[sink.topic.kafka]
linger.ms = 5
"ssl.ca.location" = "/a=b"
enable.metrics.push = false
"""
ENVIRON = {
    "REPLTAP_LISTEN_PASSWORD": "hush3",
    "REPLTAP_HTTP": "[::1]:8380",
    "REPLTAP_LOG_JSON": "yes",
    "REPLTAP_STORE_RETAIN_SECONDS": "none",
    "REPLTAP_SINK_PART_REDACT_SECRET": "hush4",
    "REPLTAP_SINK_PART_REDACT": "hash",
    "REPLTAP_SINK_PART_PATH": "/var/log/y",
}
FLAGS = {
    "data_dir": 'd "x"',
    "store_fsync": "no",
    "sink": ("file:./x y,sink=spec,include_db=1,include_db=2;3,include_key=a\\;b;c",),
}


def given(file: Path, text: str = FILE) -> tuple[str, Config]:
    file.write_text(text)
    shown = effective(read_sources(FLAGS, ENVIRON, file), ENVIRON, file)
    return shown, load(FLAGS, ENVIRON, file)


def settings(config: Config, environ: dict[str, str]) -> dict[str, SinkSettings]:
    return {
        sink.name: dataclasses.replace(
            read_settings(sink, find_sink(sink.type, sink.origin), environ), origin=""
        )
        for sink in config.sinks
    }


def test_it_can_be_loaded_again_and_is_the_same(tmp_path: Path) -> None:
    shown, before = given(tmp_path / "a.toml")
    again = tmp_path / "b.toml"
    again.write_text(shown)
    secrets = {
        "REPLTAP_UPSTREAM_PASSWORD": "hush1",
        "REPLTAP_LISTEN_PASSWORD": "hush3",
        "REPLTAP_SINK_PART_REDACT_SECRET": "hush4",
        "REPLTAP_SINK_MIRROR_PASSWORD": "hush2",
    }
    after = load({}, secrets, again)
    assert dataclasses.replace(after, sinks=()) == dataclasses.replace(before, sinks=())
    ours, theirs = settings(before, ENVIRON), settings(after, secrets)
    assert set(ours) == {"mirror", "part", "spec", "topic"}
    for name, one in ours.items():
        other = theirs[name]
        assert (one.type, one.include, one.redaction, one.snapshot) == (
            other.type,
            other.include,
            other.redaction,
            other.snapshot,
        )
        assert {k: v for k, v in one.options.items() if k != "url"} == {
            k: v for k, v in other.options.items() if k != "url"
        }


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    shown, _ = given(tmp_path / "a.toml")
    assert "hush" not in shown
    assert shown.count('"***"') == 4


def test_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    lines = given(file)[0].splitlines()
    for line in (
        f"timeout_seconds = 2.5  # {file}",
        'fsync = "no"  # --store-fsync',
        "json = true  # REPLTAP_LOG_JSON",
        f'quota_bytes = "10mb"  # {file}',
        'retain_seconds = "none"  # REPLTAP_STORE_RETAIN_SECONDS',
        f"retain_bytes = 12345  # {file}",
        'pin_limit_bytes = "4gb"  # default',
        "# announce_port: listen (default)",
        '# password = "***"  # REPLTAP_LISTEN_PASSWORD; not shown',
        'path = "/var/log/y"  # REPLTAP_SINK_PART_PATH',
        f"[sink.part]  # {file}: [sink.part]",
        "[sink.spec]  # --sink spec",
    ):
        assert line in lines


def test_every_option_is_there_and_the_defaults_are_those_of_the_table(tmp_path: Path) -> None:
    shown = effective(read_sources({"upstream": "redis://m", "data_dir": "d"}, {}, None), {}, None)
    again = tmp_path / "b.toml"
    again.write_text(shown)
    assert load({}, {}, again) == load({"upstream": "redis://m", "data_dir": "d"}, {}, None)
    for option in OPTIONS:
        assert f"\n{option.name} = " in shown or f"\n# {option.name}" in shown, option.name
    assert set(tomllib.loads(shown)) == {option.section for option in OPTIONS}


@pytest.mark.parametrize("weaker", ['password = "hush5"', 'password_file = "/weaker"'])
def test_a_password_that_does_not_count_is_not_shown(tmp_path: Path, weaker: str) -> None:
    """Its file would be read the next time, instead of the variable's word."""
    shown, _ = given(tmp_path / "a.toml", FILE + f"[listen]\n{weaker}\n")
    assert "weaker" not in shown
    assert "hush" not in shown


def test_a_unix_socket(tmp_path: Path) -> None:
    flags = {"upstream": "unix:///run/a%20b.sock", "data_dir": "d"}
    shown = effective(read_sources(flags, {}, None), {}, None)
    assert 'url = "unix:///run/a%20b.sock"  # --upstream' in shown
    again = tmp_path / "b.toml"
    again.write_text(shown)
    assert load({}, {}, again) == load(flags, {}, None)


@pytest.mark.parametrize("scheme", ["redis-sentinel", "rediss-sentinel"])
def test_sentinels(tmp_path: Path, scheme: str) -> None:
    """Found in a review: a configuration with sentinels was printed as a unix socket."""
    url = f"{scheme}://us%2Fer@10.0.0.1:26379,[::1]:5000/my%25master"
    flags = {"upstream": url, "data_dir": "d"}
    file = tmp_path / "a.toml"
    file.write_text('[upstream]\nsentinel_password_file = "/weaker"\n')
    environ = {
        "REPLTAP_UPSTREAM_PASSWORD": "hush1",
        "REPLTAP_UPSTREAM_SENTINEL_PASSWORD": "hush2",
    }
    shown = effective(read_sources(flags, environ, file), environ, file)
    assert f'url = "{url}"  # --upstream' in shown
    assert "weaker" not in shown
    assert "hush" not in shown
    again = tmp_path / "b.toml"
    again.write_text(shown)
    first, second = load(flags, environ, file).upstream, load({}, environ, again).upstream
    assert (first.tls is None) == (second.tls is None)
    assert first.sentinel is not None
    assert second.sentinel is not None
    plain = replace(first, tls=None, sentinel=replace(first.sentinel, tls=None))
    assert replace(second, tls=None, sentinel=replace(second.sentinel, tls=None)) == plain


USERS = """
[upstream]
url = "redis://h"
[http]
token_file = "/run/token"
[user.by-file]
rights = ["replicate"]
password_file = "/run/replicas"
[user.inside]
rights = ["status", "administer"]
password = "hush1"
[user.by-variable]
rights = ["status"]
[user.elsewhere]
rights = ["status"]
"""


def test_users_are_shown_without_their_passwords(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(USERS)
    environ = {
        "REPLTAP_USER_BY_VARIABLE_PASSWORD": "hush2",
        "REPLTAP_USER_ELSEWHERE_PASSWORD_FILE": "/run/x",
        "REPLTAP_HTTP_TOKEN": "hush3",
    }
    shown = effective(read_sources(FLAGS, environ, file), environ, file)
    assert "hush" not in shown
    found = tomllib.loads(shown)
    assert found["user"] == {
        "by-file": {"rights": ["replicate"], "password_file": "/run/replicas"},
        "inside": {"rights": ["administer", "status"]},
        "by-variable": {"rights": ["status"]},
        "elsewhere": {"rights": ["status"], "password_file": "/run/x"},
    }
    assert "token_file" not in found["http"]  # the variable counts
    for line in (
        '# password = "***"  # with the user; not shown',
        '# password = "***"  # REPLTAP_USER_BY_VARIABLE_PASSWORD; not shown',
        '# token = "***"  # REPLTAP_HTTP_TOKEN; not shown',
    ):
        assert line in shown.splitlines()
