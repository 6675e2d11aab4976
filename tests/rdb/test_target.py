import pytest

from repltap.rdb.target import Target


@pytest.mark.parametrize(
    ("text", "functions", "consumers", "fields"),
    [
        ("redis-6.0", False, False, False),
        ("redis-6.2.5", False, True, False),
        ("Redis-7", True, True, False),
        ("redis-7.4", True, True, True),
        ("valkey-8.1", True, True, False),
        ("valkey-9", True, True, True),
    ],
)
def test_what_it_knows(text: str, functions: bool, consumers: bool, fields: bool) -> None:
    target = Target.parse(text)
    assert target.has_functions == target.has_stream_counters == functions
    assert target.has_consumer_creation == consumers
    assert target.has_field_expiry == fields
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("text", ["", "redis", "dragonfly-1.0", "redis-x", "7.0"])
def test_no_target(text: str) -> None:
    with pytest.raises(ValueError, match="no server such as"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("text", "vendor", "since", "takes"),
    [
        ("redis-2.8", "redis", 6, True),
        ("redis-6.2", "redis", 9, True),
        ("redis-6.2", "redis", 10, False),
        ("redis-7.0", "valkey", 10, True),
        ("redis-7.0", "redis", 11, False),
        ("redis-8.2", "redis", 12, True),
        ("redis-8.2", "redis", 13, False),
        ("redis-8.2", "valkey", 80, False),
        ("valkey-8.1", "redis", 11, True),
        ("valkey-9.1", "redis", 12, False),
        ("valkey-9.1", "valkey", 80, True),
        ("valkey-8.1", "valkey", 80, False),
    ],
)
def test_what_it_restores(text: str, vendor: str, since: int, takes: bool) -> None:
    assert Target.parse(text).restores(vendor, since) == takes
