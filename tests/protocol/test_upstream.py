"""The answer to PSYNC, time limits, and the end of the link."""

from __future__ import annotations

import random
import time

import pytest

from repltap.position import Offset, ReplId
from repltap.protocol.events import FailureReason, ResumeGranted, SnapshotChunk, StreamBytes
from repltap.protocol.upstream import UpstreamProtocol, UpstreamState
from tests.protocol.links import FULL, GRANTED, HELD, PLAIN, STREAM, R, at_psync, failure, streaming
from tests.protocol.ways import OTHER, REPLID, feed, joined, others, rdb, ways


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
