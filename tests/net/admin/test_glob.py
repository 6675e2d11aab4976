"""Globs against Redis `stringmatchlen`'s rules."""

import time

import pytest

from repltap.net.admin.glob import matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("**", "abc", True),
        ("a*c", "abbc", True),
        ("a*c", "abcb", False),
        ("*b*", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[c-a]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a]x", "bx", True),
        ("[]x", "x", False),
        ("[\\]]x", "]x", True),
        ("[ab", "b", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("a\\", "a\\", True),
        ("repl-*", "repl-timeout", True),
        ("*timeout", "repl-timeout", True),
        ("*-?i*out", "repl-timeout", True),
    ],
)
def test_matches(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_stars_do_not_multiply_the_work() -> None:
    started = time.process_time()
    assert not matches("a*" * 2000 + "b", "a" * 2000)
    # Backtracking into every star would not end at all.
    assert time.process_time() - started < 20
