"""The handshake up to PSYNC, and the answers that end it."""

from __future__ import annotations

import pytest

from repltap.protocol.events import FailureReason
from repltap.protocol.resp import encode_command
from repltap.protocol.upstream import UpstreamProtocol, UpstreamSettings, UpstreamState
from tests.protocol.links import HELD, PLAIN, R, failure
from tests.protocol.ways import REPLID, feed, ways

CAPA = (
    b"*7\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"
    b"$4\r\ncapa\r\n$7\r\nrepltap\r\n"
)
PORT = b"*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n7001\r\n"
PSYNC = b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"


@ways
def test_handshake_is_a_real_replicas(way: str) -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    assert protocol.data_to_send() == b"*1\r\n$4\r\nPING\r\n"
    assert protocol.data_to_send() == b""
    assert feed(protocol, b"+PONG\r\n", way) == []
    assert protocol.data_to_send() == PORT + CAPA
    feed(protocol, b"+OK\r\n", way)
    assert protocol.data_to_send() == b""  # PSYNC only when no answer is due
    feed(protocol, b"+OK\r\n", way)
    assert protocol.data_to_send() == PSYNC
    assert protocol.state is UpstreamState.PSYNC


def test_every_option_is_sent_in_order() -> None:
    settings = UpstreamSettings(
        listening_port=7001,
        username="tap",
        password="s3cret",
        ip_address="10.0.0.9",
        announce_version="9.1.2",
        rdb_only=True,
    )
    assert "s3cret" not in repr(settings)
    protocol = UpstreamProtocol(settings, resume=None, now=0.0)
    protocol.data_to_send()
    protocol.receive_data(b"-NOAUTH Authentication required.\r\n", 0.0)
    assert protocol.data_to_send() == (
        encode_command(b"AUTH", b"tap", b"s3cret")
        + PORT
        + encode_command(b"REPLCONF", b"ip-address", b"10.0.0.9")
        + CAPA
        + encode_command(b"REPLCONF", b"version", b"9.1.2")
        + encode_command(b"REPLCONF", b"rdb-only", b"1")
    )
    refused = b"-ERR Unrecognized REPLCONF option: version\r\n"
    protocol.receive_data(b"+OK\r\n" * 4 + refused + b"+OK\r\n", 0.0)
    assert protocol.state is UpstreamState.PSYNC
    assert protocol.refused_options == {"version": "ERR Unrecognized REPLCONF option: version"}
    assert protocol.rdb_only_accepted


def test_resume_asks_for_the_first_missing_byte() -> None:
    protocol = UpstreamProtocol(PLAIN, resume=HELD, now=0.0)
    protocol.receive_data(b"+PONG\r\n+OK\r\n+OK\r\n", 0.0)
    assert protocol.data_to_send().endswith(encode_command(b"PSYNC", REPLID.encode(), b"101"))


@ways
@pytest.mark.parametrize(
    "line",
    [
        b"+PONG",
        b"+whatever",
        b"-NOAUTH Authentication required.",
        b"-NOPERM this user has no permissions",
        b"-ERR operation not permitted",
    ],
)
def test_ping_answers_that_go_on(line: bytes, way: str) -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    assert feed(protocol, line + b"\r\n", way) == []
    assert protocol.state is UpstreamState.CONFIGURE


@ways
@pytest.mark.parametrize("trailing", [b"", b"+OK\r\n\x00rest"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"-LOADING Redis is loading the dataset in memory", R.LOADING),
        (b"-MASTERDOWN Link with MASTER is down", R.MASTERDOWN),
        (b"-BUSY Redis is busy running a script.", R.REFUSED),
        (b"-MISCONF Errors writing to disk", R.REFUSED),
        (b"-DENIED Redis is running in protected mode", R.REFUSED),
        (b"HTTP/1.1 400 Bad Request", R.NOT_REDIS),
        (b"SSH-2.0-OpenSSH_9.2", R.NOT_REDIS),
        (b"", R.NOT_REDIS),
        (b":1", R.NOT_REDIS),
    ],
)
def test_ping_answers_that_end_the_link(
    line: bytes, reason: FailureReason, way: str, trailing: bytes
) -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    protocol.data_to_send()
    events = feed(protocol, line + b"\r\n" + trailing, way)
    assert len(events) == 1
    assert failure(events).reason is reason
    assert protocol.state is UpstreamState.CLOSED
    assert protocol.data_to_send() == b""


def test_tls_server_is_named_at_eof() -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    protocol.receive_data(b"\x15\x03\x01\x00\x02\x02\x46", 0.0)
    protocol.receive_eof(0.0)
    said = failure(protocol.events_received())
    assert said.reason is R.NOT_REDIS
    assert "TLS" in said.message


def test_silent_stranger_is_named_at_the_timeout() -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    protocol.receive_data(b"220 mail.example ESMTP", 0.0)
    protocol.tick(61.0)
    assert failure(protocol.events_received()).reason is R.NOT_REDIS


@ways
def test_endless_line_is_not_redis(way: str) -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    said = failure(feed(protocol, b"+" * 5000, way))
    assert said.reason is R.NOT_REDIS
    assert len(said.message) < 400


def test_password_never_shows_in_a_message() -> None:
    settings = UpstreamSettings(listening_port=1, password="s3cret")
    protocol = UpstreamProtocol(settings, resume=None, now=0.0)
    protocol.receive_data(b"+PONG\r\n", 0.0)
    line = b"-ERR unknown command 'AUTH', with args beginning with: 's3cret' \x1b[31m\r\n"
    protocol.receive_data(line, 0.0)
    said = failure(protocol.events_received())
    assert said.reason is R.AUTH
    assert "s3cret" not in said.message
    assert "\x1b" not in said.message


@pytest.mark.parametrize("line", [b":s3c\r\n", b"*2\r\n", b"x" * 3000, b"x"])
def test_whatever_answers_auth_is_not_quoted(line: bytes) -> None:
    settings = UpstreamSettings(listening_port=1, password="s3cret-and-long")
    protocol = UpstreamProtocol(settings, resume=None, now=0.0)
    protocol.receive_data(b"+PONG\r\n" + line, 0.0)
    protocol.receive_eof(0.0)
    said = failure(protocol.events_received())
    assert said.reason is R.NOT_REDIS
    assert said.message.endswith("it answered AUTH with no status line")


def test_wrong_password() -> None:
    settings = UpstreamSettings(listening_port=1, username="tap", password="x")
    protocol = UpstreamProtocol(settings, resume=None, now=0.0)
    protocol.receive_data(b"+PONG\r\n-WRONGPASS invalid username-password pair\r\n", 0.0)
    said = failure(protocol.events_received())
    assert said.reason is R.AUTH
    assert "'tap'" in said.message
    assert protocol.data_to_send().count(b"PSYNC") == 0


def test_missing_replconf_right_ends_the_link_with_the_acl() -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    refused = b"-NOPERM this user has no permissions to run the 'replconf' command\r\n"
    protocol.receive_data(b"+PONG\r\n" + refused * 2, 0.0)
    said = failure(protocol.events_received())
    assert said.reason is R.NOPERM
    assert "+psync +replconf" in said.message


def test_binary_answer_to_replconf_is_not_redis() -> None:
    protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
    protocol.receive_data(b"+PONG\r\n:1\r\n", 0.0)
    assert failure(protocol.events_received()).reason is R.NOT_REDIS
