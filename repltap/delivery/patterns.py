"""Redis's globs (`stringmatchlen`) as regular expressions over bytes.

Keys come from clients, so the work must be bounded whatever they are: each `*` is taken as short as
possible and never gone back to, which is how the glob is defined, and linear for each of them.
"""

from __future__ import annotations

import re


def glob_pattern(glob: bytes) -> re.Pattern[bytes]:
    """Translate a glob: `*`, `?`, `[a-z]`, `[^a]`, backslash. Use it with `match`.

    Args:
        glob: The whole key has to match it; case counts.
    """
    parts: list[list[bytes]] = [[]]
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        at += 1
        if char == b"*":
            parts.append([])
        elif char == b"?":
            parts[-1].append(b".")
        elif char == b"[":
            one, at = _bracket(glob, at)
            parts[-1].append(one)
        else:
            if char == b"\\" and at < len(glob):
                char = glob[at : at + 1]
                at += 1
            parts[-1].append(re.escape(char))
    first, *others = [b"".join(part) for part in parts]
    if not others:
        return re.compile(first + rb"\Z", re.DOTALL)
    *middle, last = others
    atoms = b"".join(b"(?>.*?" + part + b")" for part in middle if part)
    return re.compile(first + atoms + b".*" + last + rb"\Z", re.DOTALL)


def _bracket(glob: bytes, at: int) -> tuple[bytes, int]:
    """Read a class from after its `[`; without a `]` it ends with the glob, as in Redis."""
    negated = glob.startswith(b"^", at)
    at += negated
    ranges: list[bytes] = []
    while at < len(glob) and glob[at] != 0x5D:
        if glob[at] == 0x5C and at + 1 < len(glob):
            at += 1
        low = high = glob[at]
        if glob.startswith(b"-", at + 1) and at + 2 < len(glob):
            low, high = sorted((low, glob[at + 2]))
            at += 2
        ranges.append(b"\\x%02x-\\x%02x" % (low, high))
        at += 1
    if not ranges:
        return (b"." if negated else b"(?!)"), at + 1
    return b"[" + b"^" * negated + b"".join(ranges) + b"]", at + 1
