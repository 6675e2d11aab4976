from __future__ import annotations

import random
import time

import pytest

from repltap.errors import LocalProtocolError
from repltap.position import Offset, Position, ReplId
from repltap.protocol.events import (
    FailureReason,
    FullResyncGranted,
    LinkFailed,
    ResumeGranted,
    SnapshotChunk,
    SnapshotReceived,
    SnapshotStarted,
    StreamBytes,
)
from repltap.protocol.resp import encode_command
from repltap.protocol.upstream import GETACK, UpstreamProtocol, UpstreamSettings, UpstreamState
from tests.protocol.ways import MARK, OTHER, REPLID, feed, joined, others, rdb

R = FailureReason
PLAIN = UpstreamSettings(listening_port=7001)
HELD = Position(ReplId(REPLID), Offset(100))
CAPA = (
    b"*7\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"
    b"$4\r\ncapa\r\n$7\r\nrepltap\r\n"
)
PORT = b"*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n7001\r\n"
PSYNC = b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"
FULL = b"+FULLRESYNC " + REPLID.encode() + b" 50\r\n"
GRANTED = FullResyncGranted(ReplId(REPLID), Offset(50))
STREAM = encode_command(b"SELECT", b"0") + encode_command(b"SET", b"a", b"1")

ways = pytest.mark.parametrize("way", ["whole", "bytewise"])


def ack(offset: int) -> bytes:
    return encode_command(b"REPLCONF", b"ACK", b"%d" % offset)


def at_psync(
    resume: Position | None = None, settings: UpstreamSettings = PLAIN
) -> UpstreamProtocol:
    protocol = UpstreamProtocol(settings, resume=resume, now=0.0)
    protocol.receive_data(b"+PONG\r\n", 0.0)
    while protocol.state is UpstreamState.CONFIGURE:
        protocol.receive_data(b"+OK\r\n", 0.0)
    protocol.data_to_send()
    return protocol


def streaming(way: str = "whole") -> UpstreamProtocol:
    protocol = at_psync(HELD)
    feed(protocol, b"+CONTINUE\r\n", way)
    protocol.data_to_send()
    return protocol


def failure(events: list[object]) -> LinkFailed:
    assert isinstance(events[-1], LinkFailed)
    assert "\n" not in events[-1].message
    return events[-1]


# -- handshake ------------------------------------------------------------------------------------


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


# -- the answer to PSYNC --------------------------------------------------------------------------


@ways
@pytest.mark.parametrize(
    "line",
    [
        FULL,
        FULL.replace(b"\r\n", b"\n"),
        FULL.replace(b" 50\r\n", b" 50 extra words\r\n"),
        b"\n\r\n\n" + FULL,
        FULL.replace(b"abcdef", b"ABCDEF"),
    ],
)
def test_full_resync(line: bytes, way: str) -> None:
    protocol = at_psync(HELD)
    assert feed(protocol, line, way) == [GRANTED]
    assert protocol.state is UpstreamState.HEADER
    assert protocol.received == 50
    protocol.tick(5.0)
    assert protocol.data_to_send() == b""  # silence until the RDB is there


@ways
@pytest.mark.parametrize(
    ("line", "replid"),
    [
        (b"+CONTINUE\r\n", None),
        (b"+CONTINUE " + REPLID.encode() + b"\r\n", ReplId(REPLID)),
        (b"\n\n+CONTINUE " + OTHER.encode() + b"\n", ReplId(OTHER)),
    ],
)
def test_continue_with_glued_stream(line: bytes, replid: ReplId | None, way: str) -> None:
    protocol = at_psync(HELD)
    events = feed(protocol, line + STREAM, way)
    assert others(events) == [ResumeGranted(replid, Offset(100))]
    assert joined(events, StreamBytes) == STREAM
    assert protocol.received == 100 + len(STREAM)
    assert protocol.state is UpstreamState.STREAM


@ways
@pytest.mark.parametrize("trailing", [b"", b"$18\r\njunk"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"-NOMASTERLINK Can't SYNC while not connected with my master", R.NO_MASTER_LINK),
        (b"-LOADING Redis is loading the dataset in memory", R.LOADING),
        (b"-MASTERDOWN Link with MASTER is down", R.MASTERDOWN),
        (b"-NOAUTH Authentication required.", R.AUTH),
        (b"-NOPERM this user has no permissions to run the 'psync' command", R.NOPERM),
        (b"-ERR unknown command 'PSYNC', with args beginning with: '?' '-1' ", R.PSYNC_UNSUPPORTED),
        (b"-ERR unknown command `PSYNC`, with args beginning with: `?`, ", R.PSYNC_UNSUPPORTED),
        (b"-ERR BGSAVE failed, replication can't continue", R.REFUSED),
        (b"-BUSY Redis is busy", R.REFUSED),
        (b"+HELLO", R.PSYNC_UNSUPPORTED),
        (b"+RDBCHANNELSYNC 5", R.PSYNC_UNSUPPORTED),
        (b"+DUALCHANNELSYNC", R.PSYNC_UNSUPPORTED),
        (b"$18", R.NOT_REDIS),
        (b"+FULLRESYNC", R.PROTOCOL),
        (b"+FULLRESYNC abc 50", R.PROTOCOL),
        (b"+FULLRESYNC " + b"0" * 40 + b" 50", R.PROTOCOL),
        (b"+FULLRESYNC " + REPLID.encode(), R.PROTOCOL),
        (b"+FULLRESYNC " + REPLID.encode() + b" -1", R.PROTOCOL),
        (b"+FULLRESYNC " + REPLID.encode() + b" 9223372036854775808", R.PROTOCOL),
        (b"+FULLRESYNC " + REPLID.encode() + b" 1x", R.PROTOCOL),
        (b"+CONTINUE abc", R.PROTOCOL),
    ],
)
def test_refused_answers(line: bytes, reason: FailureReason, way: str, trailing: bytes) -> None:
    protocol = at_psync(HELD)
    events = feed(protocol, line + b"\r\n" + trailing, way)
    assert len(events) == 1
    assert failure(events).reason is reason
    assert protocol.data_to_send() == b""
    protocol.receive_eof(1.0)
    protocol.tick(1000.0)
    assert protocol.events_received() == []


@pytest.mark.parametrize("line", [b"+CONTINUE", b"+CONTINUE " + REPLID.encode()])
def test_continue_without_a_position_is_a_violation(line: bytes) -> None:
    assert failure(feed(at_psync(None), line + b"\r\n", "whole")).reason is R.PROTOCOL


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", FULL])
def test_runs_of_newlines_are_cheap_and_end(newline: bytes, start: bytes) -> None:
    """A kilobyte was copied for each, and as each resets the time limit there was no end."""
    protocol = at_psync()
    feed(protocol, start, "whole")
    run = newline * (100_000 // len(newline))
    begun = time.thread_time()
    for second in range(10):
        protocol.receive_data(run, 40.0 * second)
        protocol.tick(40.0 * second)
    assert time.thread_time() - begun < 0.5  # 25 ms where it was written
    assert protocol.events_received() == []
    protocol.receive_data(newline[-1:], 400.0)
    said = failure(protocol.events_received())
    assert said.reason is R.PROTOCOL
    assert "1000000 bytes of empty lines" in said.message


@pytest.mark.parametrize("count", [1, 1024, 1025, 1026, 5000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\n\r\n"])
def test_answers_behind_a_run_of_newlines(newline: bytes, count: int) -> None:
    protocol = at_psync()
    data = rdb()
    run = newline * count
    wire = run + FULL + run + b"$%d\r\n" % len(data) + data
    assert joined(feed(protocol, wire, "whole"), SnapshotChunk) == data


# -- the snapshot ---------------------------------------------------------------------------------


def test_length_form_with_glued_stream_at_every_cut() -> None:
    data = rdb()
    head = b"\n\n" + FULL + b"\n\r\n$%d\r\n" % len(data)
    wire = head + data + STREAM
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = at_psync()
        events = feed(protocol, wire, way)
        crc = int.from_bytes(data[-8:], "little")
        assert others(events) == [
            GRANTED,
            SnapshotStarted(len(data)),
            SnapshotReceived(len(data), crc, True),
        ]
        assert joined(events, SnapshotChunk) == data
        assert joined(events, StreamBytes) == STREAM
        assert protocol.received == 50 + len(STREAM)


def test_mark_form_at_every_cut() -> None:
    data = rdb()
    wire = FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = at_psync()
        events = feed(protocol, wire, way)
        crc = int.from_bytes(data[-8:], "little")
        assert others(events) == [
            GRANTED,
            SnapshotStarted(None),
            SnapshotReceived(len(data), crc, True),
        ]
        assert joined(events, SnapshotChunk) == data
        assert protocol.state is UpstreamState.STREAM


def test_after_an_end_mark_acks_come_often_until_the_stream_begins() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data[:-3], "whole", now=1.0)
    protocol.tick(2.5)
    assert protocol.data_to_send() == b""
    feed(protocol, data[-3:] + MARK, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    assert protocol.acked == 50
    protocol.tick(3.1)
    assert protocol.data_to_send() == b""
    protocol.tick(3.25)
    assert protocol.data_to_send() == ack(50)
    feed(protocol, b"*1\r\n$4\r\nping\r\n", "whole", now=3.3)
    protocol.set_acknowledged(Offset(64), None)
    assert protocol.data_to_send() == ack(64)
    protocol.tick(4.0)
    assert protocol.data_to_send() == b""
    protocol.tick(4.25)
    assert protocol.data_to_send() == ack(64)


def test_after_a_known_length_an_ack_at_once_and_then_each_second() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$%d\r\n" % len(data) + data, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    protocol.tick(3.9)
    assert protocol.data_to_send() == b""
    protocol.tick(4.0)
    assert protocol.data_to_send() == ack(50)
    protocol.tick(5.0)
    assert protocol.data_to_send() == ack(50)


def test_frequent_acks_end_by_themselves_on_an_idle_master() -> None:
    protocol = at_psync()
    feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + rdb() + MARK, "whole", now=3.0)
    assert protocol.data_to_send() == ack(50)
    for quarter in range(1, 24):
        protocol.tick(3.0 + quarter / 4)
        protocol.data_to_send()
    protocol.tick(9.0)
    assert protocol.data_to_send() == b""


@ways
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"-ERR BGSAVE failed, replication can't continue", R.SYNC_ABORTED),
        (b"$EOF:short", R.PROTOCOL),
        (b"$EOF:" + MARK + b"x", R.PROTOCOL),
        (b"$", R.PROTOCOL),
        (b"$-1", R.PROTOCOL),
        (b"$12x", R.PROTOCOL),
        (b"$99999999999999999999", R.PROTOCOL),
        (b"$17", R.PROTOCOL),
        (b"$1001", R.TOO_LARGE),
        (b"REDIS0011", R.PROTOCOL),
        (b"+CONTINUE", R.PROTOCOL),
    ],
)
def test_refused_headers(line: bytes, reason: FailureReason, way: str) -> None:
    protocol = at_psync(settings=UpstreamSettings(listening_port=1, max_snapshot_bytes=1000))
    events = feed(protocol, FULL + line + b"\r\nmore", way)
    assert failure(events).reason is reason
    assert events[0] == GRANTED
    assert len(events) == 2


@ways
@pytest.mark.parametrize("header", [b"$500\r\n", b"$EOF:" + MARK + b"\r\n"])
def test_what_is_no_rdb_ends_the_link_before_any_of_it_is_handed_on(
    header: bytes, way: str
) -> None:
    events = feed(at_psync(), FULL + header + b"<html><body>" * 40, way)
    assert [type(event) for event in events] == [FullResyncGranted, SnapshotStarted, LinkFailed]
    assert failure(events).reason is R.PROTOCOL
    assert "b'<html><bo'" in failure(events).message


@ways
def test_wrong_checksum(way: str) -> None:
    data = rdb(checksum="wrong")
    events = feed(at_psync(), FULL + b"$%d\r\n" % len(data) + data + STREAM, way)
    assert failure(events).reason is R.CHECKSUM
    assert not any(isinstance(e, SnapshotReceived | StreamBytes) for e in events)


@ways
def test_mark_form_without_checksum_settles(way: str) -> None:
    data = rdb(checksum="none")
    protocol = at_psync()
    events = feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, way, now=1.0)
    assert protocol.state is UpstreamState.SNAPSHOT
    protocol.tick(1.2)
    assert protocol.state is UpstreamState.SNAPSHOT
    protocol.tick(1.6)
    events += protocol.events_received()
    assert joined(events, SnapshotChunk) == data
    assert isinstance(events[-1], SnapshotReceived)
    assert not events[-1].checksum_present
    assert protocol.data_to_send() == ack(50)


def test_mark_form_wrong_checksum_settles_to_a_failure() -> None:
    protocol = at_psync()
    wire = FULL + b"$EOF:" + MARK + b"\r\n" + rdb(checksum="wrong") + MARK
    feed(protocol, wire, "whole")
    protocol.tick(1.0)
    assert failure(protocol.events_received()).reason is R.CHECKSUM


@pytest.mark.parametrize("checksum", ["right", "none"])
def test_rdb_only_ends_without_a_failure(checksum: str) -> None:
    protocol = at_psync(settings=UpstreamSettings(listening_port=1, rdb_only=True))
    data = rdb(checksum=checksum)
    events = feed(protocol, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, "bytewise")
    protocol.receive_eof(0.1)
    events += protocol.events_received()
    assert joined(events, SnapshotChunk) == data
    assert isinstance(events[-1], SnapshotReceived)
    assert protocol.state is UpstreamState.CLOSED
    assert protocol.data_to_send() == b""


def test_rdb_only_can_not_resume() -> None:
    with pytest.raises(LocalProtocolError):
        UpstreamProtocol(UpstreamSettings(listening_port=1, rdb_only=True), resume=HELD, now=0.0)


# -- the stream -----------------------------------------------------------------------------------


def test_stream_event_lends_the_callers_buffer() -> None:
    protocol = streaming()
    buffer = bytearray(STREAM + b"....")
    protocol.receive_data(memoryview(buffer)[: len(STREAM)], 0.0)
    (event,) = protocol.events_received()
    assert isinstance(event, StreamBytes)
    assert event.data.obj is buffer
    assert event.data == STREAM


def test_getack_at_every_cut() -> None:
    before = encode_command(b"SET", b"k", b"v")
    wire = before + GETACK + encode_command(b"ping")
    for way in ["whole", "bytewise", *map(str, range(len(wire)))]:
        protocol = streaming()
        protocol.set_acknowledged(Offset(1000), None)
        events = feed(protocol, wire, way)
        assert joined(events, StreamBytes) == wire
        assert protocol.data_to_send() == ack(100 + len(wire)), way
        assert protocol.data_to_send() == b""


def test_getack_answered_as_soon_as_it_is_whole() -> None:
    protocol = streaming()
    for index in range(len(GETACK)):
        protocol.receive_data(GETACK[index : index + 1], 0.0)
        assert bool(protocol.data_to_send()) == (index == len(GETACK) - 1)


def test_getack_cut_by_the_snapshots_end_is_not_one() -> None:
    protocol = at_psync()
    data = rdb()
    feed(protocol, FULL + b"$%d\r\n" % len(data) + data + GETACK[5:], "whole")
    assert protocol.data_to_send() == ack(50)  # the first ACK, not an answer
    protocol.receive_data(b"*", 0.0)
    assert protocol.data_to_send() == b""


def test_ack_says_no_more_than_allowed() -> None:
    protocol = streaming()
    protocol.receive_data(STREAM + GETACK, 0.5)
    protocol.set_acknowledged(Offset(120), None)
    assert protocol.data_to_send() == ack(120)
    protocol.set_acknowledged(Offset(10**12), Offset(110))
    protocol.tick(1.5)
    total = 100 + len(STREAM) + len(GETACK)
    sent = encode_command(b"REPLCONF", b"ACK", b"%d" % total, b"FACK", b"110")
    assert protocol.data_to_send() == sent
    assert protocol.acked == total


@ways
def test_nothing_that_the_shell_has_not_stored_is_acknowledged(way: str) -> None:
    """What was glued behind a grant or an RDB, and waited for the shell, had been claimed."""
    resumed = at_psync(HELD)
    resumed.set_acknowledged(Offset(10**12), None)  # of before the grant
    feed(resumed, b"+CONTINUE\r\n" + STREAM + GETACK, way)
    assert resumed.received == 100 + len(STREAM + GETACK)
    data = rdb()
    fresh = at_psync()
    feed(fresh, FULL + b"$%d\r\n" % len(data) + data + STREAM, way)
    marked = at_psync()
    feed(marked, FULL + b"$EOF:" + MARK + b"\r\n" + data + MARK, way)
    feed(marked, STREAM, way)
    for protocol, granted in ((resumed, 100), (fresh, 50), (marked, 50)):
        assert protocol.data_to_send() == ack(granted)
        protocol.tick(1.5)
        assert protocol.data_to_send() == ack(granted)
        protocol.set_acknowledged(Offset(granted + 23), None)
        protocol.tick(3.0)
        assert protocol.data_to_send() == ack(granted + 23)
    resumed.set_acknowledged(Offset(100 + len(STREAM + GETACK)), None)
    assert resumed.data_to_send() == ack(100 + len(STREAM + GETACK))  # what GETACK asked for


def test_getack_is_answered_again_when_what_it_asked_for_is_durable() -> None:
    protocol = streaming()
    protocol.set_acknowledged(Offset(100), Offset(100))
    protocol.receive_data(STREAM + GETACK, 0.1)
    end = 100 + len(STREAM) + len(GETACK)
    protocol.set_acknowledged(Offset(end), Offset(100))
    assert protocol.data_to_send().endswith(b"FACK\r\n$3\r\n100\r\n")  # at once, truthfully
    protocol.set_acknowledged(Offset(end), Offset(110))
    assert protocol.data_to_send().endswith(b"FACK\r\n$3\r\n110\r\n")  # a step nearer
    protocol.set_acknowledged(Offset(end), Offset(end))
    said = b"%d" % end
    assert protocol.data_to_send() == encode_command(b"REPLCONF", b"ACK", said, b"FACK", said)
    protocol.set_acknowledged(Offset(end), Offset(end))
    assert protocol.data_to_send() == b""


def test_getack_answered_in_full_is_answered_once() -> None:
    protocol = streaming()
    protocol.receive_data(GETACK, 0.1)
    protocol.set_acknowledged(Offset(137), None)
    assert protocol.data_to_send() == ack(137)
    protocol.set_acknowledged(Offset(137), None)
    assert protocol.data_to_send() == b""


def test_newline_in_the_stream_counts() -> None:
    protocol = streaming()
    protocol.receive_data(b"\n", 0.0)
    assert protocol.received == 101


# -- time and the end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "silence"),
    [(b"", 60.0), (b"\n", 60.0), (FULL, 180.0), (FULL + b"$100\r\nREDIS", 180.0)],
)
def test_timeouts(wire: bytes, silence: float) -> None:
    protocol = at_psync()
    protocol.receive_data(wire, 10.0)
    protocol.events_received()
    start = 10.0 if wire else 0.0
    protocol.tick(start + silence - 0.1)
    assert protocol.events_received() == []
    protocol.tick(start + silence)
    assert failure(protocol.events_received()).reason is R.TIMEOUT


def test_stream_timeout_counts_from_the_last_byte() -> None:
    protocol = streaming()
    protocol.receive_data(b"*1\r\n$4\r\nping\r\n", 50.0)
    protocol.events_received()
    protocol.tick(109.0)
    assert protocol.events_received() == []
    protocol.tick(110.0)
    assert failure(protocol.events_received()).reason is R.TIMEOUT
    assert protocol.data_to_send() == b""


@pytest.mark.parametrize("wire", [b"", FULL, FULL + b"$100\r\nREDIS", b"+CONTINUE\r\n*1\r\n"])
def test_eof(wire: bytes) -> None:
    protocol = at_psync(HELD)
    protocol.receive_data(wire, 0.0)
    protocol.receive_eof(0.0)
    assert failure(protocol.events_received()).reason is R.EOF
    assert protocol.state is UpstreamState.CLOSED


def test_random_bytes_never_raise() -> None:
    rng = random.Random(7)
    starts = [b"", b"+PONG\r\n", b"+PONG\r\n+OK\r\n+OK\r\n", b"+PONG\r\n+OK\r\n+OK\r\n" + FULL]
    for _ in range(300):
        protocol = UpstreamProtocol(PLAIN, resume=None, now=0.0)
        protocol.receive_data(rng.choice(starts), 0.0)
        for _ in range(5):
            protocol.receive_data(rng.randbytes(rng.randrange(400)), 0.0)
        protocol.receive_eof(1.0)
        failure(protocol.events_received())


def test_stream_bytes_that_are_stored_already_need_no_event() -> None:
    protocol = at_psync()
    feed(protocol, FULL + b"$%d\r\n" % len(rdb()) + rdb(), "whole", now=1.0)
    protocol.set_acknowledged(Offset(50), None)
    protocol.data_to_send()
    assert not protocol.stream_stored(memoryview(b"*1\r\n$4\r\nping\r\n"), 2.0)
    assert protocol.received == 64
    assert protocol.stream_stored(memoryview(GETACK), 2.0)
    assert protocol.events_received() == []
    protocol.set_acknowledged(Offset(64 + len(GETACK)), None)
    assert protocol.data_to_send() == ack(64 + len(GETACK))


def test_a_grant_is_not_claimed_where_the_policy_forbids_it() -> None:
    """Found by thinking of a relay killed between storing a write and its quorum."""
    protocol = UpstreamProtocol(
        UpstreamSettings(listening_port=1, claim_granted=False),
        resume=Position(ReplId("a" * 40), Offset(500)),
        now=0.0,
    )
    protocol.receive_data(b"+PONG\r\n", 0.0)
    protocol.receive_data(b"+OK\r\n" * 2, 0.0)
    protocol.receive_data(b"+CONTINUE\r\n", 0.0)
    assert protocol.data_to_send().endswith(ack(0))
    protocol.set_acknowledged(Offset(400), None)
    protocol.tick(1.0)
    assert protocol.data_to_send() == ack(400)
