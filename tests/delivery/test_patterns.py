"""Globs over bytes, compared with the matcher that works character by character."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repltap.delivery.patterns import glob_pattern
from repltap.net.admin.glob import matches

_GLOBS = st.text(alphabet="ab*?[]^-\\\n", max_size=12)


@given(_GLOBS, st.text(alphabet="ab-]^\n\\*", max_size=8))
@example("*a*ab", "aaab")
@example("[^]", "a")
@example("[]", "a")
@example("[b-a]", "a")
def test_as_redis_matches(glob: str, key: str) -> None:
    assert bool(glob_pattern(glob.encode()).match(key.encode())) == matches(glob, key)


@pytest.mark.parametrize(
    ("glob", "key", "expected"),
    [
        (b"user:*", b"user:\xff\n\x00", True),
        (b"user:?", b"user:\xff", True),
        (b"user:?", b"user:ab", False),
        (b"[\x80-\xff]*", b"\xc3", True),
        (b"a.c", b"abc", False),
        (b"*:cart", b"u:1:cart", True),
    ],
)
def test_bytes(glob: bytes, key: bytes, expected: bool) -> None:
    assert bool(glob_pattern(glob).match(key)) is expected


def test_a_hostile_key_costs_no_more_than_its_length() -> None:
    """A translation that goes back would take longer than the universe has had."""
    assert glob_pattern(b"*a" * 30 + b"b").match(b"a" * 20_000) is None
