from dataclasses import dataclass

from repltap.store.budget import NO_LIMIT, Budget


@dataclass
class Spender:
    disk_bytes: int
    reserved_bytes: int = 0


def test_no_limit() -> None:
    budget = Budget(None)
    budget.join(Spender(10, 5))
    assert budget.left == NO_LIMIT
    assert budget.disk_bytes == 10


def test_reserved_room_counts_as_used_and_nothing_goes_negative() -> None:
    budget = Budget(100)
    first, second = Spender(10, 5), Spender(10, 5)  # equal, and still two
    budget.join(first)
    budget.join(second)
    assert budget.left == 70
    second.disk_bytes = 500
    assert budget.left == 0
    budget.leave(second)
    assert (budget.left, budget.disk_bytes) == (85, 10)
