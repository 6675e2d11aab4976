"""How single values are read."""

from pathlib import Path

import pytest

from repltap.values import (
    RECEIVED,
    AckKind,
    AckPolicy,
    Endpoint,
    Readiness,
    UpstreamUrl,
    ack_policy,
    boolean,
    choice,
    endpoint,
    integer,
    parse_upstream_url,
    path,
    readiness,
    seconds,
    secret,
    server_name,
    server_version,
    size,
    text,
)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("0", 0),
        (4096, 4096),
        ("64mb", 64 << 20),
        ("1GB", 1 << 30),
        ("1 gb", 1 << 30),
        ("2k", 2000),
        ("3kb", 3 << 10),
        ("7b", 7),
        ("1tb", 1 << 40),
    ],
)
def test_size_takes_redis_units(raw: object, wanted: int) -> None:
    assert size(0)(raw) == wanted


@pytest.mark.parametrize("raw", ["", "mb", "1.5gb", "-1", "1 xb", "1e3", True, None, 1.5, "١"])
def test_size_refuses(raw: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        size(0)(raw)


def test_size_has_bounds() -> None:
    with pytest.raises(ValueError, match="less than 10 bytes"):
        size(10)("9")
    with pytest.raises(ValueError, match="more than 10 bytes"):
        size(0, 10)("1kb")
    with pytest.raises(ValueError, match="more than"):
        size(0)("999999999999999999gb")


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("127.0.0.1:6380", Endpoint("127.0.0.1", 6380)),
        ("[::1]:6380", Endpoint("::1", 6380)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("6380", Endpoint("127.0.0.1", 6380)),
        (6380, Endpoint("127.0.0.1", 6380)),
        ("0.0.0.0:1", Endpoint("0.0.0.0", 1)),
    ],
)
def test_endpoint(raw: object, wanted: Endpoint) -> None:
    assert endpoint(raw) == wanted


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "host",
        ":1",
        "host:",
        "host:x",
        "host:65536",
        "::1",
        "::1:6380",
        "a b:1",
        "http://h:1",
        -1,
    ],
)
def test_endpoint_refuses(raw: object) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT|in brackets"):
        endpoint(raw)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("redis://h", UpstreamUrl("h", 6379)),
        ("redis://h:1/", UpstreamUrl("h", 1)),
        ("valkey://h:1", UpstreamUrl("h", 1)),
        ("redis://[::1]:7", UpstreamUrl("::1", 7)),
        ("redis://:pw@h", UpstreamUrl("h", 6379, None, "pw")),
        ("redis://u@h", UpstreamUrl("h", 6379, "u")),
        ("redis://u:p%40%2Fq@h:1", UpstreamUrl("h", 1, "u", "p@/q")),
        ("unix:///run/redis.sock", UpstreamUrl("/run/redis.sock", 0)),
        ("unix://u:p%2Fq@/run/a%20b", UpstreamUrl("/run/a b", 0, "u", "p/q")),
    ],
)
def test_upstream_url(raw: str, wanted: UpstreamUrl) -> None:
    assert parse_upstream_url(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("unix://tmp/s", "is not unix:///path"),
        ("unix:///", "is not unix:///path"),
        ("unix://", "is not unix:///path"),
        ("unix:///tmp/s?db=1", "carries all databases"),
        ("unix:///" + "x" * 107, "at most 107 bytes"),
        ("http://h", "the scheme must be redis"),
        ("h:6379", "is not a URL"),
        ("redis://", "host is missing"),
        ("redis://h:x", "not a valid host and port"),
        ("redis://h:99999", "not a valid host and port"),
        ("redis://h:0", "no port 0"),
        ("redis://h:1/3", "carries all databases"),
        ("redis://h?x=1", "carries all databases"),
        (7, "must be a URL"),
    ],
)
def test_upstream_url_refuses(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_upstream_url(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "http://u:hunter2@h",
        "u:hunter2@h:6379",
        "redis://u:hunter2@h:x",
        "redis://:hunter2/a@b@h:x",
        "redis://:hunter2@h/1",
        "redis://:a/hunter2@h",
        "unix://:a/hunter2@h/run/s",
        "unix://u:hunter2@host/run/s",
    ],
)
def test_no_error_shows_a_password(raw: str) -> None:
    with pytest.raises(ValueError, match=r"\*\*\*@h") as caught:
        parse_upstream_url(raw)
    assert "hunter2" not in str(caught.value)


def test_secrets_stay_secret() -> None:
    assert secret("hunter2") == "hunter2"
    with pytest.raises(ValueError, match="must be text"):
        secret(77123)
    assert "hunter2" not in repr(parse_upstream_url("redis://:hunter2@h"))


def test_integer() -> None:
    read = integer(1, 9)
    assert read("9") == read(9) == 9
    for raw in ("0", "10", "x", True, 1.0, None, ""):
        with pytest.raises(ValueError, match="whole number from 1 to 9"):
            read(raw)


def test_seconds() -> None:
    read = seconds(0.5, 10)
    assert read("0.5") == 0.5
    assert read(10) == 10.0
    for raw in ("0.4", "11", "x", "nan", "inf", True, None, [1]):
        with pytest.raises(ValueError, match="number of seconds from 0.5 to 10"):
            read(raw)
    with pytest.raises(ValueError, match="from 1 to 315360000$"):
        seconds(1, 315_360_000)("1h")


def test_boolean() -> None:
    assert [boolean(raw) for raw in (True, "yes", "ON", "1", "true")] == [True] * 5
    assert [boolean(raw) for raw in (False, "no", "off", "0", "False")] == [False] * 5
    for raw in ("maybe", "", 1, None):
        with pytest.raises(ValueError, match="neither yes nor no"):
            boolean(raw)


def test_choice() -> None:
    read = choice(["always", "no"])
    assert read("Always") == "always"
    with pytest.raises(ValueError, match="none of always, no"):
        read("sometimes")


def test_text_and_path() -> None:
    assert text("replica 1") == "replica 1"
    assert path("~/x") == Path.home() / "x"
    assert path(Path("a")) == Path("a")
    for raw in ("", 7, "a\nb"):
        with pytest.raises(ValueError, match="is not a word"):
            text(raw)
    for raw in ("", 7, "a\0b"):
        with pytest.raises(ValueError, match="is not a path"):
            path(raw)
    with pytest.raises(ValueError, match="no such home"):
        path("~nobody-of-that-name/x")


@pytest.mark.parametrize("raw", ["none", "9.1.2", "10.0.12"])
def test_a_server_version_is_three_numbers_or_none(raw: str) -> None:
    assert server_version(raw) == raw


@pytest.mark.parametrize("raw", ["", "9.1", "9.1.2.3", "9.1.x", "None", "9.1.2 ", 9])
def test_what_is_no_server_version_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="neither none nor a version"):
        server_version(raw)


def test_ack_policies() -> None:
    assert ack_policy("received") == RECEIVED
    assert ack_policy("Durable") == AckPolicy(AckKind.DURABLE)
    assert ack_policy("quorum:2") == AckPolicy(AckKind.QUORUM, 2)


@pytest.mark.parametrize("policy", ["received", "durable", "quorum:3"])
def test_an_ack_policy_is_shown_as_it_is_written(policy: str) -> None:
    assert str(ack_policy(policy)) == policy


@pytest.mark.parametrize(
    "raw", ["", "quorum", "quorum:", "quorum:0", "quorum:-1", "quorum:1001", "durable:1", 2, True]
)
def test_wrong_ack_policies_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="quorum:1 to"):
        ack_policy(raw)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("serve", Readiness(serve=True)),
        ("snapshot", Readiness(snapshot=True)),
        ("Link, snapshot", Readiness(snapshot=True, link=True)),
        ("lag:30s", Readiness(max_lag_seconds=30)),
        ("snapshot,link,lag:0.5", Readiness(snapshot=True, link=True, max_lag_seconds=0.5)),
    ],
)
def test_readiness(raw: str, wanted: Readiness) -> None:
    assert readiness(raw) == wanted
    assert readiness(str(wanted)) == wanted


@pytest.mark.parametrize(
    "raw", ["", ",", "none", "lag", "lag:", "lag:-1", "lag:nan", "lag:1h", "link:3", "link,link", 5]
)
def test_readiness_refuses(raw: object) -> None:
    with pytest.raises(ValueError, match=r"lag:30s|twice"):
        readiness(raw)


def test_names_for_tls() -> None:
    """Found in a review: the link said that its host is no name, and each attempt kept a file."""
    for good in ("redis.example", "10.0.0.1", "b\u00fccher.example"):
        assert server_name(good) == good
    for bad in (".example", "a..b", "a" * 70):
        with pytest.raises(ValueError, match="is not a host name"):
            server_name(bad)
