from __future__ import annotations

import pytest

from repltap.position import Offset, Position, ReplId
from repltap.protocol.events import FailureReason, FullResyncGranted, LinkFailed, ResumeGranted
from repltap.protocol.handshake import Replies, TransferHeader, UpstreamSettings, configuration
from tests.protocol.ways import MARK, REPLID

SETTINGS = UpstreamSettings(listening_port=7001, username="tap", password="s3cret")
REPLIES = Replies(SETTINGS)
LONG = "0123456789" * 14 + "secrets"
LONG_REPLIES = Replies(
    UpstreamSettings(listening_port=1, username="replication-user", password=LONG)
)
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


@pytest.mark.parametrize(
    "line",
    [
        # Redis 7.0 and 6.2 with `rename-command AUTH ""`, as seen: 128 bytes of an argument.
        f"ERR unknown command 'AUTH', with args beginning with: '{LONG[:128]}' ",
        f"ERR unknown command `AUTH`, with args beginning with: `{LONG[:128]}`, ",
        f"ERR UNKNOWN COMMAND WITH ARGS BEGINNING WITH {LONG}",
        f"ERR no such thing as {LONG[:20]}, nor {LONG}",
        f"{LONG[:8]}",
        "ERR 'replication-user' and 'replication' are unknown",
    ],
)
def test_no_part_of_a_secret_is_shown(line: str) -> None:
    """Only the whole password was cut out, and 128 characters of a longer one were shown."""
    raw = line.encode()
    refused = [LONG_REPLIES.auth(b"-" + raw), LONG_REPLIES.ping(b"-" + raw)]
    refused += [LONG_REPLIES.capa(b"-NOPERM " + raw), LONG_REPLIES.not_redis(raw)]
    answers = [LONG_REPLIES.psync(b"-" + raw, None), LONG_REPLIES.psync(b"+" + raw, None)]
    answers.append(LONG_REPLIES.psync(b"+FULLRESYNC " + raw, None))
    answers.append(LONG_REPLIES.header(b"-" + raw))
    answers.append(LONG_REPLIES.header(raw))  # type: ignore[arg-type]
    shown = [LONG_REPLIES.text(raw)]
    for answer in [*refused, *answers]:
        assert isinstance(answer, LinkFailed)
        shown.append(answer.message.replace("user 'replication-user'", "user"))
    for text in shown:
        assert LONG[:8] not in text
        assert "replicat" not in text.replace("replication user", "")
        assert LONG[-7:] not in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            "WRONGPASS invalid username-password pair or user is disabled",
        ),
        ("ERR invalid password", "ERR invalid password"),
        (
            "ERR AUTH <password> called without any password configured for the default user. Are",
            "ERR AUTH <password> called without any password configured for the default user",
        ),
        (
            "ERR unknown command 'AUTH', with args beginning with: 'no' ",
            "ERR unknown command (is AUTH renamed or disabled there?)",
        ),
        ("OOPS you said s3cr", "OOPS something that is not shown, as it may repeat the password"),
        ("s3cr", "something that is not shown, as it may repeat the password"),
    ],
)
def test_of_an_answer_to_auth_only_what_is_known_is_quoted(line: str, said: str) -> None:
    answer = REPLIES.auth(b"-" + line.encode())
    assert answer is not None
    assert answer.message == f"the master refused user 'tap': {said}"


def test_who_has_to_change_the_password_is_told_where_it_is() -> None:
    settings = UpstreamSettings(listening_port=1, password="s3cr3t", password_place="the file /pw")
    answer = Replies(settings).auth(b"-WRONGPASS s3cr3t")
    assert answer is not None
    assert "refused user 'default' with the password of the file /pw: WRONGPASS" in answer.message
    assert "s3cr3t" not in answer.message


@pytest.mark.parametrize(("offset", "granted"), [(2**62, True), (2**62 + 1, False)])
def test_an_impossible_offset_is_refused(offset: int, granted: bool) -> None:
    """2^63-1 was taken, and INFO then showed an offset past every 64-bit number."""
    answer = REPLIES.psync(b"+FULLRESYNC %b %d" % (REPLID.encode(), offset), None)
    assert isinstance(answer, FullResyncGranted) == granted
    if isinstance(answer, LinkFailed):
        assert answer.reason is FailureReason.PROTOCOL
        assert str(offset) in answer.message


def test_answers() -> None:
    assert REPLIES.ping(b"+PONG") is None
    assert REPLIES.auth(b"+OK") is None
    assert REPLIES.capa(b"-ERR Unrecognized REPLCONF option: capa") is None
    full = REPLIES.psync(b"+FULLRESYNC " + REPLID.encode() + b" 9", None)
    assert full == FullResyncGranted(ReplId(REPLID), Offset(9))
    assert REPLIES.psync(b"+CONTINUE", HELD) == ResumeGranted(None, Offset(7))
    assert REPLIES.header(b"$18") == TransferHeader(18, None)
    assert REPLIES.header(b"$EOF:" + MARK) == TransferHeader(None, MARK)


def test_a_master_without_replconf_is_refused_with_a_word() -> None:
    """Found in review: the handshake went through, and every ACK was answered with an error."""
    answer = REPLIES.capa(b"-ERR unknown command 'REPLCONF', with args beginning with: 'capa' ")
    assert isinstance(answer, LinkFailed)
    assert answer.reason is FailureReason.REFUSED
    assert "renamed or disabled" in answer.message


def test_noperm_names_the_rights_that_are_needed() -> None:
    for answer in (
        REPLIES.psync(b"-NOPERM no 'psync'", None),
        REPLIES.capa(b"-NOPERM no 'replconf'"),
    ):
        assert isinstance(answer, LinkFailed)
        assert answer.reason is FailureReason.NOPERM
        assert "+psync +replconf" in answer.message
