"""Dialogues with a sentinel, in RESP3 as real ones answer."""

from __future__ import annotations

import pytest

from repltap.errors import RemoteProtocolError
from repltap.protocol.resp import encode_command
from repltap.protocol.sentinel import (
    MAX_REPLY_BYTES,
    Known,
    MasterTold,
    NewsHeard,
    SentinelProtocol,
)
from tests.protocol.ways import pieces
from tests.sentinels import GREETING, ID, SUBSCRIBED, answers, mapping, push, text

SUBSCRIBE = encode_command(b"SUBSCRIBE", b"+switch-master", b"+sentinel")
ASKED = b"".join(
    encode_command(b"SENTINEL", *words)
    for words in (
        (b"MYID",),
        (b"GET-MASTER-ADDR-BY-NAME", b"mymaster"),
        (b"MASTER", b"mymaster"),
        (b"SENTINELS", b"mymaster"),
    )
)


def greeted() -> SentinelProtocol:
    made = SentinelProtocol("mymaster")
    made.data_to_send()
    made.receive_data(GREETING + SUBSCRIBED)
    return made


@pytest.mark.parametrize("way", ["whole", "bytewise", "70", "200"])
def test_who_is_the_master(way: str) -> None:
    protocol = SentinelProtocol("mymaster")
    assert protocol.data_to_send() == (
        encode_command(b"HELLO", b"3", b"SETNAME", b"repltap") + SUBSCRIBE
    )
    protocol.ask()
    protocol.ask()  # one question at a time
    assert protocol.data_to_send() == ASKED
    data = GREETING + SUBSCRIBED + answers(("10.0.0.1", 6379), 7, [("b" * 40, "10.0.0.9", 26380)])
    for piece in pieces(data, way):
        protocol.receive_data(piece)
    assert protocol.events_received() == [
        MasterTold(ID, ("10.0.0.1", 6379), 7, (Known("b" * 40, ("10.0.0.9", 26380)),))
    ]
    assert protocol.listening
    assert not protocol.asking


def test_logins() -> None:
    alone = SentinelProtocol("m", None, "pw").data_to_send()
    assert alone.startswith(encode_command(b"HELLO", b"3", b"AUTH", b"default", b"pw", b"SETNAME",
                                           b"repltap"))  # fmt: skip
    assert b"watcher" in SentinelProtocol("m", "watcher", "pw").data_to_send()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"-NOAUTH HELLO must be called with the client already authenticated\r\n", "wants a pass"),
        (b"-WRONGPASS invalid username-password pair\r\n", "refuses the login"),
        (b"-ERR unknown command 'HELLO', with args beginning with: '3' 'hunter2'\r\n", "older"),
        (b"-DENIED hunter2 is my name\r\n", r"refuses us: DENIED \*\*\* is"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not RESP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it speaks TLS there: use rediss-sentinel://"),
        (mapping({"server": "redis", "mode": "standalone"}), "server in mode 'standalone'"),
    ],
)  # fmt: skip
def test_who_does_not_greet(answer: bytes, said: str) -> None:
    protocol = SentinelProtocol("mymaster", None, "hunter2")
    with pytest.raises(RemoteProtocolError, match=said) as caught:
        protocol.receive_data(answer)
    assert "hunter2" not in str(caught.value)


def test_news_of_this_master_alone() -> None:
    protocol = greeted()
    protocol.receive_data(push("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379"))
    protocol.receive_data(push("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6379"))
    new = f"sentinel {'c' * 40} 10.0.0.7 26379 @ mymaster 10.0.0.1 6379"
    protocol.receive_data(push("+sentinel", new))
    protocol.receive_data(push("+sentinel", new.replace("mymaster", "other")))
    protocol.receive_data(push("+sentinel", "x\r\ny"))
    assert protocol.events_received() == [
        NewsHeard("mymaster 10.0.0.1 6379 10.0.0.2 6379"),
        NewsHeard(new[:120]),
    ]


def test_news_between_answers() -> None:
    protocol = greeted()
    protocol.ask()
    whole = answers(("10.0.0.1", 6379), 7)
    cut = len(text(ID))
    news = push("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379")
    protocol.receive_data(whole[:cut] + news + whole[cut:])
    assert [type(event) for event in protocol.events_received()] == [NewsHeard, MasterTold]


def test_a_name_that_it_does_not_know() -> None:
    protocol = greeted()
    protocol.ask()
    protocol.receive_data(text(ID) + b"_\r\n" + b"-ERR No such master with that name\r\n" * 2)
    assert protocol.events_received() == [MasterTold(ID, None, None, ())]


def test_what_the_acl_does_not_allow() -> None:
    """The address alone is enough; news and the rest are missed."""
    protocol = SentinelProtocol("mymaster")
    denied = b"-NOPERM this user has no permissions to run this command\r\n"
    protocol.receive_data(GREETING + denied)
    assert protocol.listening is False
    protocol.ask()
    address = b"*2\r\n" + text("10.0.0.1") + text("6379")
    protocol.receive_data(denied + address + denied + denied)
    assert protocol.events_received() == [MasterTold("", ("10.0.0.1", 6379), None, ())]
    protocol.ask()
    with pytest.raises(RemoteProtocolError, match="refuses GET-MASTER-ADDR-BY-NAME: NOPERM"):
        protocol.receive_data(denied * 4)


@pytest.mark.parametrize(
    "address",
    [
        b"*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\n0\r\n",
        b"*2\r\n$1\r\na\r\n$6\r\n999999\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nx\r\n",
        b"*2\r\n$3\r\na b\r\n$1\r\n1\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        b"*2\r\n$300\r\n" + b"x" * 300 + b"\r\n$1\r\n1\r\n",
    ],
)
def test_what_is_no_address(address: bytes) -> None:
    protocol = greeted()
    protocol.ask()
    with pytest.raises(RemoteProtocolError, match="no address"):
        protocol.receive_data(text(ID) + address + b"_\r\n" * 2)


def test_others_that_are_none_are_left_out() -> None:
    protocol = greeted()
    protocol.ask()
    others = [("b" * 40, "10.0.0.9", 0), ("c" * 40, "", 26379), ("d" * 40, "10.0.0.8", 26379)]
    protocol.receive_data(answers(("10.0.0.1", 6379), 1, others))
    (event,) = protocol.events_received()
    assert isinstance(event, MasterTold)
    assert event.others == (Known("d" * 40, ("10.0.0.8", 26379)),)


def test_lies_about_what_was_asked() -> None:
    with pytest.raises(RemoteProtocolError, match="was not asked"):
        greeted().receive_data(b"+OK\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"$1000000000\r\n",
        b"*1\r\n" * (MAX_REPLY_BYTES // 4 + 5),
        b"*1000000000\r\n",  # for which eight gigabytes were set aside
        b"%1\r\n*0\r\n+a\r\n",  # a TypeError, which once ended the relay
    ],
    ids=["long", "deep", "wide", "odd"],
)
def test_an_answer_without_end_or_sense_is_cut(answer: bytes) -> None:
    protocol = greeted()
    protocol.ask()
    with pytest.raises(RemoteProtocolError, match="this is no sentinel"):
        protocol.receive_data(answer)
