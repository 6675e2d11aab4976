from __future__ import annotations

import pytest

from repltap.protocol.replconf import (
    Acknowledgement,
    ReplicaInfo,
    answer_replconf,
    parse_acknowledgement,
)


def answer(*words: bytes, replica: ReplicaInfo | None = None) -> bytes:
    return answer_replconf(replica or ReplicaInfo(), [b"REPLCONF", *words])


def test_what_a_replica_says_is_kept() -> None:
    replica = ReplicaInfo()
    for words in (
        [b"listening-port", b"7001"],
        [b"ip-address", b"10.0.0.9"],
        [b"CAPA", b"eof", b"capa", b"PSYNC2", b"capa", b"rdb-channel-repl"],
        [b"version", b"9.1.2"],
        [b"rdb-only", b"1"],
        [b"rdb-filter-only", b""],
        [b"rdb-no-compress", b"1"],
    ):
        assert answer(*words, replica=replica) == b"+OK\r\n"
    assert replica.listening_port == 7001
    assert replica.ip_address == "10.0.0.9"
    assert replica.capabilities == {"eof", "psync2", "rdb-channel-repl"}
    assert replica.version == "9.1.2"
    assert replica.rdb_only
    assert replica.filter == ""


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ([], b"+OK\r\n"),
        ([b"listening-port", b"99999999"], b"+OK\r\n"),
        ([b"ack", b"5"], b""),
        ([b"GETACK", b"*"], b""),
        ([b"capa"], b"-ERR syntax error\r\n"),
        ([b"listening-port", b"x"], b"-ERR value is not an integer or out of range\r\n"),
        ([b"foo", b"1"], b"-ERR Unrecognized REPLCONF option: foo\r\n"),
        ([b"f\r\n+OK", b"1"], b"-ERR Unrecognized REPLCONF option: f??+OK\r\n"),
        ([b"rdb-channel", b"1"], b"-ERR Unrecognized REPLCONF option: rdb-channel\r\n"),
        ([b"main-ch-client-id", b"5"], b"-ERR Unrecognized REPLCONF option: main-ch-client-id\r\n"),
        ([b"set-rdb-client-id", b"5"], b"-ERR Unrecognized REPLCONF option: set-rdb-client-id\r\n"),
        (
            [b"ip-address", b"x" * 300],
            b"-ERR REPLCONF ip-address provided by replica instance is too long: 300 bytes\r\n",
        ),
        ([b"rdb-only", b"2"], b"-ERR value is out of range, value must between 0 and 1\r\n"),
        ([b"rdb-filter-only", b"keys"], b"-ERR Unsupported rdb-filter-only option: keys\r\n"),
        ([b"version", b"abc"], b"-ERR Unrecognized version format: abc\r\n"),
        ([b"version", b"1.2.256"], b"-ERR Unrecognized version format: 1.2.256\r\n"),
        (
            [b"set-cluster-node-id", b"a" * 40],
            b"-ERR This instance has cluster support disabled\r\n",
        ),
    ],
)
def test_answers(words: list[bytes], reply: bytes) -> None:
    assert answer(*words) == reply


def test_options_before_a_refused_one_are_applied() -> None:
    replica = ReplicaInfo()
    reply = answer(b"capa", b"eof", b"foo", b"1", b"capa", b"psync2", replica=replica)
    assert reply.startswith(b"-ERR Unrecognized")
    assert replica.capabilities == {"eof"}


def test_a_node_of_a_cluster_is_known_from_the_option_that_is_refused() -> None:
    replica = ReplicaInfo()
    assert not replica.cluster_node
    reply = answer(b"set-cluster-node-id", b"a" * 40, replica=replica)
    assert reply == b"-ERR This instance has cluster support disabled\r\n"
    assert replica.cluster_node


def test_capabilities_are_bounded() -> None:
    replica = ReplicaInfo()
    for index in range(1000):
        assert answer(b"capa", b"c%d" % index, replica=replica) == b"+OK\r\n"
    assert answer(b"capa", b"x" * 10_000, replica=replica) == b"+OK\r\n"
    assert len(replica.capabilities) == 32


@pytest.mark.parametrize(
    ("words", "ack"),
    [
        ([b"ACK", b"5"], Acknowledgement(5, None)),  # type: ignore[arg-type]
        ([b"ack", b"5", b"fack", b"3"], Acknowledgement(5, 3)),  # type: ignore[arg-type]
        ([b"ACK", b"-1"], Acknowledgement(0, None)),  # type: ignore[arg-type]
        ([b"ACK", b"4611686018427387904"], Acknowledgement(2**62, None)),  # type: ignore[arg-type]
        ([b"ACK", b"4611686018427387905"], Acknowledgement(None, None)),
        ([b"ACK", b"5", b"FACK", b"4611686018427387905"], Acknowledgement(5, None)),  # type: ignore[arg-type]
        ([b"ACK", b"9223372036854775808"], None),
        ([b"ACK", b"x"], None),
        ([b"ACK"], None),
        ([b"GETACK", b"*"], None),
        ([], None),
    ],
)
def test_acknowledgements(words: list[bytes], ack: Acknowledgement | None) -> None:
    assert parse_acknowledgement([b"REPLCONF", *words]) == ack
