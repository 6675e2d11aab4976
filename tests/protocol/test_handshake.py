from __future__ import annotations

import pytest

from repltap.position import Offset, Position, ReplId
from repltap.protocol.events import FailureReason, FullResyncGranted, LinkFailed, ResumeGranted
from repltap.protocol.handshake import Replies, TransferHeader, UpstreamSettings, configuration
from tests.protocol.ways import MARK, REPLID

SETTINGS = UpstreamSettings(listening_port=7001, username="tap", password="s3cret")
REPLIES = Replies(SETTINGS)
HELD = Position(ReplId(REPLID), Offset(7))


def test_questions_in_the_order_of_a_real_replica() -> None:
    plain = configuration(UpstreamSettings(listening_port=1))
    assert [q.name for q in plain] == ["listening-port", "capa"]
    full = UpstreamSettings(
        listening_port=1, password="x", ip_address="::1", announce_version="9.1.2", rdb_only=True
    )
    assert [q.name for q in configuration(full)] == [
        "auth",
        "listening-port",
        "ip-address",
        "capa",
        "version",
        "rdb-only",
    ]


def test_auth_without_a_user_has_one_argument() -> None:
    (auth, *_) = configuration(UpstreamSettings(listening_port=1, password="pä"))
    assert auth.command == "*2\r\n$4\r\nAUTH\r\n$3\r\npä\r\n".encode()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"ERR bad 's3cret' and s3cret", "ERR bad '***' and ***"),
        (b"ERR \x1b[2J\x00bell\x07", "ERR  [2J bell"),
        (b"ERR \xff\xfe", "ERR \\xff\\xfe"),
        (b"x" * 5000, "x" * 200),
    ],
)
def test_server_text_is_shown_safely(line: bytes, shown: str) -> None:
    assert REPLIES.text(line) == shown


def test_answers() -> None:
    assert REPLIES.ping(b"+PONG") is None
    assert REPLIES.auth(b"+OK") is None
    assert REPLIES.capa(b"-ERR Unrecognized REPLCONF option: capa") is None
    full = REPLIES.psync(b"+FULLRESYNC " + REPLID.encode() + b" 9", None)
    assert full == FullResyncGranted(ReplId(REPLID), Offset(9))
    assert REPLIES.psync(b"+CONTINUE", HELD) == ResumeGranted(None, Offset(7))
    assert REPLIES.header(b"$18") == TransferHeader(18, None)
    assert REPLIES.header(b"$EOF:" + MARK) == TransferHeader(None, MARK)


def test_noperm_names_the_rights_that_are_needed() -> None:
    for answer in (
        REPLIES.psync(b"-NOPERM no 'psync'", None),
        REPLIES.capa(b"-NOPERM no 'replconf'"),
    ):
        assert isinstance(answer, LinkFailed)
        assert answer.reason is FailureReason.NOPERM
        assert "+psync +replconf +ping" in answer.message
