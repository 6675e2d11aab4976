"""Where values come from, which source goes first, and what a person is told when one is wrong."""

from pathlib import Path
from typing import Any

import pytest

from repltap.access import Users
from repltap.config import (
    Config,
    FsyncPolicy,
    HttpConfig,
    ListenConfig,
    LogConfig,
    SnapshotConfig,
    StoreConfig,
    UpstreamConfig,
    load,
    load_data_dir,
    load_tap,
    load_upstream,
)
from repltap.errors import ConfigError
from repltap.values import AckKind, AckPolicy

LEAST: dict[str, object] = {"upstream": "redis://m", "data_dir": "d"}


def toml(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "repltap.toml"
    file.write_text(content)
    return file


def refusal(
    flags: dict[str, object], environ: dict[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, environ or {}, file)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults() -> None:
    assert load(LEAST, {}, None) == Config(
        upstream=UpstreamConfig(host="m", port=6379),
        listen=ListenConfig(host="127.0.0.1", port=6380),
        http=None,
        store=StoreConfig(data_dir=Path("d")),
        snapshot=SnapshotConfig(),
        log=LogConfig(),
    )


def test_everything_from_a_file(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("hunter2\n")
    file = toml(
        tmp_path,
        f"""
        [upstream]
        url = "redis://10.0.0.1:7000"
        username = "relay"
        password_file = "{word}"
        announce_ip = "10.0.0.2"
        announce_port = 7001
        announce_version = "7.0.15"
        ack_policy = "quorum:2"
        timeout_seconds = 10
        backoff_max_seconds = 1.5
        [listen]
        address = "[::]:7001"
        password = "sesame"
        max_clients = 5
        max_lag_seconds = 600
        max_transfers = 4
        transfer_rate_bytes = "50mb"
        total_rate_bytes = "200mb"
        [http]
        address = "127.0.0.1:8380"
        [store]
        data_dir = "/var/lib/repltap"
        retain_bytes = "2gb"
        segment_bytes = 1048576
        quota_bytes = "8gb"
        retain_seconds = 86400
        check_bytes_per_second = 0
        fsync = "always"
        [snapshot]
        max_tail_bytes = "2gb"
        max_age_seconds = 3600
        refresh_seconds = 1800
        [log]
        level = "debug"
        json = true
        """,
    )
    config = load({}, {}, file)
    assert config == Config(
        upstream=UpstreamConfig(
            host="10.0.0.1",
            port=7000,
            username="relay",
            password="hunter2",
            announce_ip="10.0.0.2",
            announce_port=7001,
            announce_version="7.0.15",
            ack_policy=AckPolicy(AckKind.QUORUM, 2),
            timeout_seconds=10.0,
            backoff_max_seconds=1.5,
        ),
        listen=ListenConfig(
            host="::",
            port=7001,
            users=Users.of_default("sesame"),
            max_clients=5,
            max_lag_seconds=600.0,
            max_transfers=4,
            transfer_rate_bytes=50 << 20,
            total_rate_bytes=200 << 20,
        ),
        http=HttpConfig(host="127.0.0.1", port=8380),
        store=StoreConfig(
            data_dir=Path("/var/lib/repltap"),
            retain_bytes=2 << 30,
            segment_bytes=1 << 20,
            retain_seconds=86400.0,
            quota_bytes=8 << 30,
            check_bytes_per_second=0,
            fsync=FsyncPolicy.ALWAYS,
        ),
        snapshot=SnapshotConfig(
            max_tail_bytes=2 << 30, max_age_seconds=3600.0, refresh_seconds=1800.0
        ),
        log=LogConfig(level="debug", json=True),
    )
    assert "hunter2" not in repr(config)
    assert "sesame" not in repr(config)


def test_flag_before_environment_before_file(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        '[upstream]\nurl = "redis://file"\n[listen]\naddress = "h:1"\nmax_clients = 1\n'
        '[store]\ndata_dir = "file"\n',
    )
    environ = {"REPLTAP_LISTEN": "h:2", "REPLTAP_DATA_DIR": "environment"}
    config = load({"data_dir": "flag", "http": None}, environ, file)
    assert config.upstream.host == "file"
    assert (config.listen.port, config.listen.max_clients) == (2, 1)
    assert config.store.data_dir == Path("flag")


def test_foreign_and_empty_variables_are_ignored() -> None:
    environ = {"REPLTAP_PORT": "tcp://10.0.0.1:80", "REPLTAP_LISTEN": "", "HOME": "/"}
    assert load(LEAST, environ, None).listen.port == 6380


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "--upstream is missing (for example --upstream redis://127.0.0.1:6379, or"),
        ({"upstream": "redis://m"}, "--data-dir is missing"),
        ({"listen": "here"}, "--listen: 'here' is not HOST:PORT"),
        ({"store_retain_bytes": "much"}, "--store-retain-bytes: 'much' is not a size"),
        ({"store_segment_bytes": "1kb"}, "--store-segment-bytes: '1kb' is less than 4096"),
        ({"store_fsync": "maybe"}, "--store-fsync: 'maybe' is none of always, everysec, no"),
        ({"upstream": "redis:m"}, "--upstream: 'redis:m' is not a URL"),
        ({"upstream_username": "u"}, "no password for user 'u'"),
        ({"upstream": "redis://u@m"}, "no password for user 'u'"),
        ({"upstream_backoff_min_seconds": "9"}, "backoff_min_seconds 9 is more than"),
        (
            {"store_quota_bytes": "1mb", "store_segment_bytes": "2mb"},
            "quota_bytes 1048576 is less than one segment",
        ),
    ],
)
def test_a_wrong_flag_is_named(flags: dict[str, object], message: str) -> None:
    given = flags if "missing" in message else LEAST | flags
    assert message in refusal(given)


def test_a_wrong_variable_is_named() -> None:
    message = refusal(LEAST, {"REPLTAP_LISTEN_MAX_CLIENTS": "many"})
    assert message.startswith("REPLTAP_LISTEN_MAX_CLIENTS: 'many' is not a whole number")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[store]\nretain_bytes = true", "[store] retain_bytes: True is not a size"),
        ("[stroe]\n", "[stroe]: no such section (did you mean store?)"),
        ("[store]\nretain = 1", "[store] retain: no such option (did you mean retain_bytes?)"),
        ("[http]\nx = 1", "[http] x: no such option (known: address, token, token_file, ready,"),
        ('upstream = "redis://m"', "upstream: must be a table (write [upstream])"),
        ("[store", "not a TOML file"),
        ("a = " + 5000 * "[" + 5000 * "]", "not a TOML file: something is nested"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = toml(tmp_path, content)
    told = refusal(LEAST, {}, file)
    assert told.startswith(f"{file}: ")
    assert message in told


def test_a_token_that_no_client_can_send(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("good\n hush\n")
    listening = {**LEAST, "http": "127.0.0.1:8380"}
    for environ in ({"REPLTAP_HTTP_TOKEN": "hush\nx"}, {"REPLTAP_HTTP_TOKEN_FILE": str(file)}):
        message = refusal(listening, environ)
        assert message.startswith("http: token: ")
        assert "hush" not in message


def test_an_unreadable_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(LEAST, {}, tmp_path / "none.toml")
    assert "Is a directory" in refusal(LEAST, {}, tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "not a TOML file" in refusal(LEAST, {}, binary)
    binary.write_bytes(b'[upstream]\npassword = "hunter2"\nname = "\xff"\n')
    with pytest.raises(ConfigError, match="not a TOML file") as caught:
        load(LEAST, {}, binary)
    # A UnicodeDecodeError would hold all of the file.
    assert "hunter2" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


def test_a_password_on_the_command_line_is_refused_and_not_shown() -> None:
    message = refusal(LEAST | {"upstream": "redis://u:hunter2@m"})
    assert "process list" in message
    assert "REPLTAP_UPSTREAM_PASSWORD" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "environ",
    [
        {"REPLTAP_UPSTREAM": "redis://u:hunter2@m"},
        {"REPLTAP_UPSTREAM": "redis://u@m", "REPLTAP_UPSTREAM_PASSWORD": "hunter2"},
        {
            "REPLTAP_UPSTREAM": "redis://m",
            "REPLTAP_UPSTREAM_USERNAME": "u",
            "REPLTAP_UPSTREAM_PASSWORD": "hunter2",
        },
    ],
)
def test_a_password_from_the_environment(environ: dict[str, str]) -> None:
    upstream = load({"data_dir": "d"}, environ, None).upstream
    assert (upstream.username, upstream.password) == ("u", "hunter2")


def test_the_first_source_of_a_password_wins(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("of the flag")
    flags = LEAST | {"upstream_password_file": str(word)}
    assert load(flags, {"REPLTAP_UPSTREAM_PASSWORD": "x"}, None).upstream.password == "of the flag"


def test_two_passwords_from_one_source_are_refused() -> None:
    environ = {"REPLTAP_UPSTREAM": "redis://:one@m", "REPLTAP_UPSTREAM_PASSWORD": "two"}
    assert refusal({"data_dir": "d"}, environ) == "upstream: the password is given more than once"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold a password on each line"),
        (b"\n", "must hold a password on each line"),
        (b"hunter2\n\nmore", "must hold a password on each line"),
        (b"hunter2\n" * 5, "at most 4"),
        (b"\xff", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_wrong_password_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    word = tmp_path / "word"
    if content is not None:
        word.write_bytes(content)
    told = refusal(LEAST | {"listen_password_file": str(word)})
    assert message in told
    assert str(word) in told
    assert "hunter2" not in told


def test_a_password_keeps_its_spaces(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_bytes(b" a b \r\n")
    flags: dict[str, Any] = LEAST | {"listen_password_file": str(word)}
    assert load(flags, {}, None).listen.users == Users.of_default(" a b ")


def test_durable_acks_need_an_fsync_policy(tmp_path: Path) -> None:
    flags = {
        "upstream": "redis://h",
        "data_dir": str(tmp_path),
        "upstream_ack_policy": "durable",
        "store_fsync": "no",
    }
    with pytest.raises(ConfigError, match="ack_policy durable"):
        load(flags, {}, None)
    assert load(flags | {"store_fsync": "always"}, {}, None).upstream.ack_policy == AckPolicy(
        AckKind.DURABLE
    )


def test_a_part_of_it_for_commands_that_need_no_more(tmp_path: Path) -> None:
    file = toml(tmp_path, '[store]\ndata_dir = "here"\n[upstream]\nurl = "redis://m:7"\n')
    assert load_data_dir({}, {}, file) == Path("here")
    assert load_data_dir({"data_dir": "there"}, {}, file) == Path("there")
    assert load_data_dir({}, {"REPLTAP_DATA_DIR": "elsewhere"}, None) == Path("elsewhere")
    with pytest.raises(ConfigError, match="--data-dir is missing"):
        load_data_dir({}, {}, None)
    found = load_upstream({}, {"REPLTAP_UPSTREAM_PASSWORD": "word"}, file)
    assert found == UpstreamConfig(host="m", port=7, password="word")
    with pytest.raises(ConfigError, match="--upstream is missing"):
        load_upstream({}, {}, None)


def test_a_small_quota_needs_no_segment_size() -> None:
    """Found by attack: the README said that segments become smaller, and 12mb was refused."""
    assert load(LEAST | {"store_quota_bytes": "12mb"}, {}, None).store.quota_bytes == 12 << 20


def test_none_takes_back_what_the_file_says(tmp_path: Path) -> None:
    """Found by a new user: `none` was shown as the default, and refused."""
    file = toml(tmp_path, '[store]\nquota_bytes = "8gb"\n[snapshot]\nmax_age_seconds = "none"')
    config = load(LEAST | {"store_quota_bytes": "none"}, {}, file)
    assert config.store.quota_bytes is None
    assert config.snapshot.max_age_seconds is None


def test_sinks_and_the_name_of_the_upstream(tmp_path: Path) -> None:
    file = toml(tmp_path, '[upstream]\nname = "orders"\n[sink.audit]\ntype = "file"\n')
    config = load({**LEAST, "sink": ("stdout",)}, {}, file)
    assert [(sink.name, sink.type) for sink in config.sinks] == [
        ("audit", "file"),
        ("stdout", "stdout"),
    ]
    assert config.upstream.source == "orders"
    assert load(LEAST, {}, None).upstream.source == "m:6379"


def test_what_a_sink_by_hand_needs(tmp_path: Path) -> None:
    file = toml(tmp_path, '[store]\ndata_dir = "d"\n[sink.audit]\ntype = "file"\n')
    tap = load_tap({}, {"REPLTAP_LOG_JSON": "yes"}, file)
    assert (tap.data_dir, tap.source, tap.log) == (Path("d"), "", LogConfig(json=True))
    assert [sink.name for sink in tap.sinks] == ["audit"]
    # The master's password is not for it, and may be a file that it can't read.
    missing = {"upstream": "redis://u@m:7000", "upstream_password_file": str(tmp_path / "none")}
    assert load_tap({**missing, "sink": ("stdout",)}, {}, file).source == "m:7000"
    assert load_tap({"upstream_name": "orders", "data_dir": "e"}, {}, None).source == "orders"
