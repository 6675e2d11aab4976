"""How a target is written."""

from __future__ import annotations

import pytest

from sinks._redis.url import Address, parse_target


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://host", Address("host", 6379)),
        ("valkey://host:7000/", Address("host", 7000)),
        ("redis://who%40@10.0.0.1:1", Address("10.0.0.1", 1, "who@")),
        ("redis://[::1]:6380", Address("::1", 6380)),
    ],
)
def test_addresses(url: str, wanted: Address) -> None:
    assert parse_target(url) == wanted


def test_a_target_is_called_by_its_address_alone() -> None:
    assert str(Address("host", 1, "user")) == "host:1"
    assert str(Address("::1", 1)) == "[::1]:1"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("host:6379", "is not a URL"),
        ("http://host", "the scheme must be redis://"),
        ("http://host", "the scheme must be redis:// or rediss://"),
        ("redis://", "not a valid host"),
        ("redis://host:x", "not a valid host"),
        ("redis://host:0", "not a valid host"),
        ("redis://host/3", "nothing may follow the port"),
        ("redis://host?db=3", "nothing may follow the port"),
        ("redis://:hunter2@host", "use password_file"),
        ("redis://user:hunter2@host", "use password_file"),
        ("http://user:hunter2@host", "the scheme"),
        ("user:hunter2@host", "is not a URL"),
        (7, "must be a URL"),
    ],
)
def test_anything_else_is_refused_without_showing_a_password(url: object, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_target(url)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
