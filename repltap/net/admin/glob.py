"""Glob matching as Redis does it (`stringmatchlen`): `*`, `?`, `[a-z]`, `[^a]`, backslash.

Patterns come from the network. Only the last `*` is ever gone back to, so the work is bounded by
pattern length times text length; a translation to a regular expression would not be.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Token:
    star: bool = False
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def accepts(self, char: str) -> bool:
        inside = any(low <= char <= high for low, high in self.ranges)
        return inside is not self.negated


_STAR = _Token(star=True)
_ANY = _Token(negated=True)


def matches(pattern: str, text: str) -> bool:
    """Tell whether the whole of `text` matches `pattern`; case counts."""
    tokens = _tokens(pattern)
    at, here = 0, 0
    star_at, star_here = -1, 0
    while here < len(text):
        if at < len(tokens) and tokens[at].star:
            star_at, star_here = at, here
            at += 1
        elif at < len(tokens) and tokens[at].accepts(text[here]):
            at, here = at + 1, here + 1
        elif star_at >= 0:
            star_here += 1
            at, here = star_at + 1, star_here
        else:
            return False
    return all(token.star for token in tokens[at:])


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if not tokens or not tokens[-1].star:
                tokens.append(_STAR)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "[":
            token, at = _bracket(pattern, at)
            tokens.append(token)
        else:
            if char == "\\" and at < len(pattern):
                char = pattern[at]
                at += 1
            tokens.append(_Token(ranges=((char, char),)))
    return tokens


def _bracket(pattern: str, at: int) -> tuple[_Token, int]:
    """Read a class from after its `[`; without a `]` it ends with the pattern, as in Redis."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while at < len(pattern) and pattern[at] != "]":
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
        low = high = pattern[at]
        if pattern.startswith("-", at + 1) and at + 2 < len(pattern):
            low, high = sorted((low, pattern[at + 2]))
            at += 2
        ranges.append((low, high))
        at += 1
    return _Token(ranges=tuple(ranges), negated=negated), at + 1
