import pytest

from repltap.delivery.names import is_named, name_at, successor, valid_until
from repltap.position import MAX_OFFSET, History, Offset, ReplId

A, B, C = (ReplId(letter * 40) for letter in "abc")
HISTORY = History(A).shifted(B, Offset(100)).shifted(C, Offset(200))


@pytest.mark.parametrize(("offset", "name"), [(0, A), (99, A), (100, B), (199, B), (200, C)])
def test_each_byte_has_one_name(offset: int, name: ReplId) -> None:
    assert name_at(HISTORY, offset) == name


def test_each_name_ends_where_the_next_begins() -> None:
    assert successor(HISTORY, A) == (B, 100)
    assert successor(HISTORY, B) == (C, 200)
    assert successor(HISTORY, C) is None
    assert valid_until(HISTORY, B) == 200
    assert valid_until(HISTORY, C) == MAX_OFFSET
    assert is_named(HISTORY, A)
    assert not is_named(HISTORY, ReplId("d" * 40))
    with pytest.raises(KeyError):
        successor(HISTORY, ReplId("d" * 40))


def test_a_later_failover_can_cut_into_an_earlier_part() -> None:
    history = HISTORY.shifted(ReplId("d" * 40), Offset(50))
    assert successor(history, A) == (B, 50)
    assert successor(history, B) == (C, 50)
    assert name_at(history, 50) == "d" * 40
