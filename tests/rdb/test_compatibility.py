"""Which snapshot a replica can load: the verified matrix of the servers themselves."""

from __future__ import annotations

import pytest

from repltap.rdb.compatibility import Wanted

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
        ("<html><he", REDIS, False),
        ("redis00x1", REDIS, False),
        ("", REDIS, False),
    ],
)
def test_known_refusals_are_known(rdb_format: str, version: str, loads: bool) -> None:
    assert Wanted(version).loads(rdb_format) is loads


def test_a_relay_takes_any_redis_format_and_valkeys_own_if_it_asked_for_it() -> None:
    assert Wanted("9.1.2", relay=True).loads("redis0012")
    assert Wanted("9.1.2", relay=True).loads("valkey080")
    assert not Wanted("", relay=True).loads("valkey080")


@pytest.mark.parametrize(
    ("version", "announced"),
    [("", None), ("8.1.8", None), ("9.1.2", "9.1.2"), ("10.0.0", "10.0.0")],
)
def test_a_version_is_announced_only_to_get_valkeys_own_format(
    version: str, announced: str | None
) -> None:
    assert Wanted(version).announce == announced
