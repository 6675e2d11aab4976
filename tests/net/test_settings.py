"""What CONFIG GET shows."""

from pathlib import Path

import pytest

from repltap.access import Users
from repltap.config import (
    Config,
    FsyncPolicy,
    ListenConfig,
    LogConfig,
    SnapshotConfig,
    StoreConfig,
    UpstreamConfig,
)
from repltap.net.settings import shown_settings

UPSTREAM = UpstreamConfig(host="first.example", port=6379, password="upstream-secret")


def config(fsync: FsyncPolicy = FsyncPolicy.EVERYSEC) -> Config:
    return Config(
        upstream=UPSTREAM,
        listen=ListenConfig(
            host="::1",
            port=0,
            users=Users.of_default("listen-secret"),
            max_clients=7,
            timeout_seconds=12.5,
        ),
        http=None,
        store=StoreConfig(data_dir=Path("/data"), retain_bytes=12345, fsync=fsync),
        snapshot=SnapshotConfig(),
        log=LogConfig(level="debug"),
    )


def test_what_is_true_now_and_not_at_the_start() -> None:
    now = UpstreamConfig(host="second.example", port=7000, announce_ip="10.0.0.9", announce_port=99)
    shown = shown_settings(config(), now, 6380)
    assert shown["replicaof"] == shown["slaveof"] == "second.example 7000"
    assert shown["port"] == "6380"
    assert shown["bind"] == "::1"
    assert shown["replica-announce-ip"] == shown["slave-announce-ip"] == "10.0.0.9"
    assert shown["replica-announce-port"] == shown["slave-announce-port"] == "99"


def test_limits() -> None:
    shown = shown_settings(config(), UPSTREAM, 1)
    assert shown["maxclients"] == "7"
    assert shown["repl-timeout"] == "12.5"
    assert shown["repl-backlog-size"] == "12345"
    assert shown["dir"] == "/data"
    assert shown["loglevel"] == "debug"
    assert shown["replica-priority"] == "0"
    assert shown["replica-announce-ip"] == ""
    assert shown["replica-announce-port"] == "0"


@pytest.mark.parametrize("policy", list(FsyncPolicy))
def test_fsync(policy: FsyncPolicy) -> None:
    assert shown_settings(config(policy), UPSTREAM, 1)["appendfsync"] == policy.value


def test_no_secret_is_shown() -> None:
    shown = shown_settings(config(), UPSTREAM, 1)
    assert "secret" not in str(shown)
    assert not {"requirepass", "masterauth", "masteruser"} & set(shown)


def test_no_master_yet() -> None:
    nobody = UpstreamConfig(host="", port=0)
    assert shown_settings(config(), nobody, 1)["replicaof"] == ""
