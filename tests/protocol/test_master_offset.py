"""The conversation that asks for a master's offset, fed in three ways."""

from __future__ import annotations

import pytest

from repltap.errors import RemoteProtocolError
from repltap.position import Offset
from repltap.protocol.handshake import UpstreamSettings
from repltap.protocol.master_offset import (
    MAX_REPLY_BYTES,
    MasterOffset,
    MasterOffsetQuery,
    Unanswered,
)
from repltap.protocol.resp import encode_command
from tests.protocol.answers import REPLID, info

ASK = encode_command(b"INFO", b"replication")


def query(password: str | None = None, username: str | None = None) -> MasterOffsetQuery:
    settings = UpstreamSettings(listening_port=0, password=password, username=username)
    return MasterOffsetQuery(settings)


def answers(it: MasterOffsetQuery, data: bytes, way: str) -> MasterOffset | Unanswered | None:
    found = None
    step = 1 if way == "bytes" else len(data)
    for at in range(0, len(data), step):
        assert found is None
        found = it.receive_data(data[at : at + step])
    return found


@pytest.mark.parametrize("way", ["whole", "bytes"])
def test_asked_again_and_again(way: str) -> None:
    it = query()
    for offset in (0, 17, 1 << 62):
        assert it.ask() == ASK
        assert answers(it, info(offset), way) == MasterOffset(REPLID, Offset(offset))


@pytest.mark.parametrize("way", ["whole", "bytes"])
def test_authenticates_once(way: str) -> None:
    it = query("secret word", "watcher")
    assert it.ask() == encode_command(b"AUTH", b"watcher", b"secret word") + ASK
    assert answers(it, b"+OK\r\n" + info(5), way) == MasterOffset(REPLID, Offset(5))
    assert it.ask() == ASK


def test_a_part_of_the_next_answer_is_kept() -> None:
    it = query()
    whole, begun = info(1), info(2)
    assert it.receive_data(whole + begun[:20]) == MasterOffset(REPLID, Offset(1))
    assert it.receive_data(begun[20:]) == MasterOffset(REPLID, Offset(2))


def test_a_wrong_password_is_said_without_it() -> None:
    it = query("hunter2hunter2")
    found = it.receive_data(b"-ERR hunter2hunter2 is wrong\r\n-NOAUTH Authentication required.\r\n")
    assert isinstance(found, Unanswered)
    assert found.lasting
    assert "hunter2" not in found.message


@pytest.mark.parametrize(
    ("line", "lasting", "said"),
    [
        (b"-NOPERM User x has no permissions to run the 'info' command", True, "needs +info"),
        (b"-NOAUTH Authentication required.", True, "Authentication"),
        (b"-ERR unknown command 'INFO', with args beginning with: 'repl", True, "unknown"),
        (b"-LOADING Redis is loading the dataset in memory", False, "loading"),
        (b"-BUSY Redis is busy running a script.", False, "busy"),
    ],
)
def test_refusals(line: bytes, lasting: bool, said: str) -> None:
    found = query().receive_data(line + b"\r\n")
    assert isinstance(found, Unanswered)
    assert found.lasting is lasting
    assert said in found.message


def test_an_info_without_an_offset() -> None:
    found = query().receive_data(b"$6\r\nhello!\r\n")
    assert found == Unanswered("the master's INFO names no offset", lasting=True)


def test_a_replica_line_that_looks_like_the_offset() -> None:
    found = query().receive_data(info(7, b"slave0:ip=master_repl_offset:9,port=1"))
    assert found == MasterOffset(REPLID, Offset(7))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$-1\r\n",
        b"$%d\r\n" % (MAX_REPLY_BYTES + 1),
        b"*3\r\n",
        b"x" * 1024,
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        query().receive_data(data)
