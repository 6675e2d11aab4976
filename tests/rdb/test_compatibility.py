"""Which snapshot a replica can load: the verified matrix of the servers themselves."""

from __future__ import annotations

import pytest

from repltap.rdb.compatibility import can_load, version_to_announce

REDIS = ""  # Redis, and Valkey 7.2, announce no version


@pytest.mark.parametrize(
    ("rdb_format", "version", "loads"),
    [
        ("redis0009", REDIS, True),
        ("redis0012", REDIS, True),
        ("valkey080", REDIS, False),
        ("VALKEY080", REDIS, False),
        ("redis0011", "8.1.8", True),
        ("redis0012", "8.1.8", False),
        ("valkey080", "8.1.8", False),
        ("REDIS0012", "9.1.2", False),
        ("redis0011", "9.1.2", True),
        ("valkey080", "9.1.2", True),
    ],
)
def test_known_refusals_are_known(rdb_format: str, version: str, loads: bool) -> None:
    assert can_load(rdb_format, version) is loads


def test_a_relay_takes_any_redis_format_and_valkeys_own_if_it_asked_for_it() -> None:
    assert can_load("redis0012", "9.1.2", relay=True)
    assert can_load("valkey080", "9.1.2", relay=True)
    assert not can_load("valkey080", "", relay=True)


@pytest.mark.parametrize(
    ("version", "announced"),
    [("", None), ("8.1.8", None), ("9.1.2", "9.1.2"), ("10.0.0", "10.0.0")],
)
def test_a_version_is_announced_only_to_get_valkeys_own_format(
    version: str, announced: str | None
) -> None:
    assert version_to_announce(version) == announced
