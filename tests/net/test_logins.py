"""Failed logins: what they cost, whom, and for how long."""

from __future__ import annotations

import pytest

from repltap.net.logins import (
    FREE_FAILURES,
    MAX_ADDRESSES,
    MAX_WAIT_SECONDS,
    LoginGuard,
    Turn,
)

HERE, ELSEWHERE = "10.0.0.7", "10.0.0.8"


def wait(guard: LoginGuard, now: float, address: str = HERE) -> float | None:
    """Take a turn, and give how long that is."""
    turn = guard.turn(address, now)
    return None if turn is None else turn.wait_seconds


def guessed(guard: LoginGuard, until: float, address: str = HERE) -> int:
    """Guess one after the other, as fast as it goes; give how many guesses were looked at."""
    now, count = 0.0, 0
    while True:
        turn = guard.turn(address, now)
        assert turn is not None
        now += turn.wait_seconds + 0.0001  # a round trip
        if now >= until:
            return count
        guard.failed(address, now, turn)
        count += 1


def failed(guard: LoginGuard, times: int, address: str = HERE, now: float = 0.0) -> None:
    for _ in range(times):
        guard.failed(address, now, Turn())


def test_the_first_few_cost_nothing() -> None:
    guard = LoginGuard()
    failed(guard, FREE_FAILURES - 1)
    assert wait(guard, 0.0) == 0.0


def test_an_attacker_gets_one_guess_in_two_seconds() -> None:
    guard = LoginGuard()
    assert 3600 / 2 <= guessed(guard, 3600.0) <= 3600 / 2 + 20
    assert guard.failed_total > 1800


def test_others_never_wait() -> None:
    guard = LoginGuard()
    guessed(guard, 600.0)
    assert wait(guard, 600.0, ELSEWHERE) == 0.0
    assert wait(guard, 600.0, "") == 0.0


def test_many_connections_of_one_address_share_its_pauses() -> None:
    """Each attempt waits behind the others; those that would wait too long are refused."""
    guard = LoginGuard()
    failed(guard, FREE_FAILURES + 10)
    waits = [wait(guard, 0.1) for _ in range(1000)]
    looked_at = [wait for wait in waits if wait is not None]
    assert looked_at == sorted(looked_at)
    assert len(set(looked_at)) == len(looked_at) <= 7
    assert looked_at[-1] <= MAX_WAIT_SECONDS
    assert waits[-1] is None
    assert wait(guard, 30.0) == 0.0  # the queue has been worked off


def test_guesses_side_by_side_are_no_faster() -> None:
    """Found with eight connections: all of a burst waited as little as the first of it."""
    guard = LoginGuard()
    failed(guard, FREE_FAILURES)
    waits = [wait(guard, 0.0) for _ in range(100)]
    looked_at = [each for each in waits if each is not None]
    assert len(looked_at) <= 10
    assert len([each for each in looked_at if each <= 1.2]) <= 5


def test_a_right_password_takes_back_what_it_was_charged() -> None:
    guard = LoginGuard()
    failed(guard, FREE_FAILURES + 2)
    for _ in range(50):
        turn = guard.turn(HERE, 0.0)
        if turn is not None:
            assert turn.charged
            guard.succeeded(HERE, turn)
    failures = guard._records[HERE].failures
    assert failures == FREE_FAILURES + 2


def test_failures_are_forgiven() -> None:
    guard = LoginGuard()
    failed(guard, 10_000)
    assert wait(guard, 0.0) is not None
    assert wait(guard, 200.0) == 0.0
    assert wait(guard, 200.0) > 0.0  # not yet all
    assert [wait(guard, 400.0) for _ in range(3)] == [0.0, 0.0, 0.0]


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
    wait(guard, 0.0, one)
    assert (wait(guard, 0.0, other) != 0.0) is same


def test_what_is_remembered_is_bounded() -> None:
    guard = LoginGuard()
    failed(guard, 20, HERE)
    for number in range(MAX_ADDRESSES):
        failed(guard, 1, f"10.1.{number // 256}.{number % 256}")
    assert len(guard._records) == MAX_ADDRESSES
    assert wait(guard, 0.0) == 0.0  # the one that failed least recently


def test_it_is_told_now_and_then() -> None:
    guard = LoginGuard()
    told = [guard.failed(HERE, number / 10, Turn()) for number in range(205)]
    assert [count for count in told if count] == [1, 100, 100]
    assert (told[0], told[100], told[200]) == (1, 100, 100)
