"""Which hello messages are understood, and who may hear them."""

from __future__ import annotations

import pytest

from repltap.protocol.hello import MAX_SENTINELS, Hello, HelloRules, parse_hello

MASTER = ("10.0.0.1", 6379)
OTHER = ("10.9.9.9", 6379)
A, B, C = (letter * 40 for letter in (b"a", b"b", b"c"))


def said(sentinel: bytes = A, master: tuple[str, int] = MASTER, name: bytes = b"mymaster") -> Hello:
    found = parse_hello(
        b"127.0.0.1,26379,%b,1,%b,%b,%d,1" % (sentinel, name, master[0].encode(), master[1])
    )
    assert found is not None
    return found


def link_name(sentinel: bytes) -> bytes:
    """As the subscribing link of a sentinel calls itself."""
    return b"sentinel-%b-pubsub" % sentinel[:8]


def test_a_message_of_redis_sentinel() -> None:
    # Captured from redis-sentinel 7.0.15.
    wire = b"127.0.0.1,26379,2e71763fbed46d61d14657df3937539001ea3a22,3,mymaster,127.0.0.1,22379,3"
    assert parse_hello(wire) == Hello(
        b"2e71763fbed46d61d14657df3937539001ea3a22", b"mymaster", ("127.0.0.1", 22379)
    )
    six = b"::1,26379,2e71763fbed46d61d14657df3937539001ea3a22,3,mymaster,FE80::1,22379,3"
    assert parse_hello(six) == Hello(
        b"2e71763fbed46d61d14657df3937539001ea3a22", b"mymaster", ("fe80::1", 22379)
    )


@pytest.mark.parametrize(
    "wire",
    [b"", b"hello", b"a,1,b,1,c,d,6379", b"a,1,b,1,c,d,6379,1,2", b"a,1,b,1,c,d,x,1",
     b"a,1,b,1,c,d,-1,1", b"a,1,,1,c,d,6379,1", b"a,1,b,1,c,d,999999,1"],
)  # fmt: skip
def test_what_is_no_hello(wire: bytes) -> None:
    assert parse_hello(wire) is None


def test_sentinels_of_the_same_master_hear_each_other() -> None:
    rules = HelloRules()
    assert not rules.may_hear(said(A), link_name(B), {MASTER})  # it has not said whose it is
    rules.note(said(B))
    assert rules.may_hear(said(A), link_name(B), {MASTER})
    assert rules.may_hear(said(A), link_name(B), {("master.example", 6379), MASTER})


def test_sentinels_of_another_deployment_do_not() -> None:
    """Both call their master the same, and both know the relay."""
    rules = HelloRules()
    for hello in (said(A), said(B, OTHER), said(C)):
        rules.note(hello)
    assert not rules.may_hear(said(A), link_name(B), {MASTER})
    assert not rules.may_hear(said(B, OTHER), link_name(A), {MASTER})
    assert rules.may_hear(said(C), link_name(A), {MASTER})
    # The relay has moved over: now it is the other way round.
    assert not rules.may_hear(said(A), link_name(C), {OTHER})
    assert not rules.may_hear(said(A), link_name(B), {OTHER})


def test_another_name_of_the_same_master_is_another_deployment() -> None:
    rules = HelloRules()
    rules.note(said(B, name=b"other"))
    assert not rules.may_hear(said(A), link_name(B), {MASTER})


def test_who_lags_behind_a_failover_hears_of_it_elsewhere() -> None:
    """It may as well be of another deployment: nobody can tell."""
    rules = HelloRules()
    rules.note(said(B, OTHER))
    assert not rules.may_hear(said(A), link_name(B), {MASTER})
    rules.note(said(B))
    assert rules.may_hear(said(A), link_name(B), {MASTER})


def test_each_hears_itself() -> None:
    assert HelloRules().may_hear(said(A, OTHER), link_name(A), {MASTER})


def test_who_is_no_sentinel_hears_of_the_master_alone() -> None:
    rules = HelloRules()
    assert rules.may_hear(said(A), b"", {MASTER})
    assert rules.may_hear(said(A), b"me", {MASTER})
    assert not rules.may_hear(said(A, OTHER), b"me", {MASTER})


def test_what_is_kept_is_bounded() -> None:
    rules = HelloRules()
    rules.note(said(B))
    for number in range(MAX_SENTINELS):
        assert rules.may_hear(said(A), link_name(B), {MASTER})
        rules.note(said(b"%040d" % (number * 10**32)))
    assert not rules.may_hear(said(A), link_name(B), {MASTER})
