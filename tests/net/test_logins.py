"""Failed logins: what they cost, whom, and for how long."""

from __future__ import annotations

import pytest

from repltap.net.logins import (
    FREE_FAILURES,
    MAX_ADDRESSES,
    MAX_WAIT_SECONDS,
    LoginGuard,
)

HERE, ELSEWHERE = "10.0.0.7", "10.0.0.8"


def guessed(guard: LoginGuard, until: float, address: str = HERE) -> int:
    """Guess one after the other, as fast as it goes; give how many guesses were looked at."""
    now, count = 0.0, 0
    while True:
        wait = guard.wait_seconds(address, now)
        assert wait is not None
        now += wait + 0.0001  # a round trip
        if now >= until:
            return count
        guard.failed(address, now)
        count += 1


def failed(guard: LoginGuard, times: int, address: str = HERE, now: float = 0.0) -> None:
    for _ in range(times):
        guard.failed(address, now)


def test_the_first_few_cost_nothing() -> None:
    guard = LoginGuard()
    failed(guard, FREE_FAILURES - 1)
    assert guard.wait_seconds(HERE, 0.0) == 0.0


def test_an_attacker_gets_one_guess_in_two_seconds() -> None:
    guard = LoginGuard()
    assert 3600 / 2 <= guessed(guard, 3600.0) <= 3600 / 2 + 20
    assert guard.failed_total > 1800


def test_others_never_wait() -> None:
    guard = LoginGuard()
    guessed(guard, 600.0)
    assert guard.wait_seconds(ELSEWHERE, 600.0) == 0.0
    assert guard.wait_seconds("", 600.0) == 0.0


def test_many_connections_of_one_address_share_its_pauses() -> None:
    """Each attempt waits behind the others; those that would wait too long are refused."""
    guard = LoginGuard()
    failed(guard, FREE_FAILURES + 10)
    waits = [guard.wait_seconds(HERE, 0.1) for _ in range(1000)]
    looked_at = [wait for wait in waits if wait is not None]
    assert looked_at == sorted(looked_at)
    assert len(set(looked_at)) == len(looked_at) <= 7
    assert looked_at[-1] <= MAX_WAIT_SECONDS
    assert waits[-1] is None
    assert guard.wait_seconds(HERE, 30.0) == 0.0  # the queue has been worked off


def test_failures_are_forgiven() -> None:
    guard = LoginGuard()
    failed(guard, 10_000)
    assert guard.wait_seconds(HERE, 0.0) is not None
    assert guard.wait_seconds(HERE, 200.0) == 0.0
    assert guard.wait_seconds(HERE, 200.0) > 0.0  # not yet all
    assert [guard.wait_seconds(HERE, 400.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::9", True),
        ("2001:db8:1:2::", "2001:db8:1:3::", False),
        ("::ffff:10.0.0.7", "10.0.0.7", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("10.0.0.7", "10.0.0.8", False),
        ("unix", "10.0.0.7", False),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    guard = LoginGuard()
    failed(guard, 20, one)
    guard.wait_seconds(one, 0.0)
    assert (guard.wait_seconds(other, 0.0) != 0.0) is same


def test_what_is_remembered_is_bounded() -> None:
    guard = LoginGuard()
    failed(guard, 20, HERE)
    for number in range(MAX_ADDRESSES):
        guard.failed(f"10.1.{number // 256}.{number % 256}", 0.0)
    assert len(guard._records) == MAX_ADDRESSES
    assert guard.wait_seconds(HERE, 0.0) == 0.0  # the one that failed least recently


def test_it_is_told_now_and_then() -> None:
    guard = LoginGuard()
    told = [guard.failed(HERE, number / 10) for number in range(205)]
    assert [count for count in told if count] == [1, 100, 100]
    assert (told[0], told[100], told[200]) == (1, 100, 100)
