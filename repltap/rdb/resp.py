"""Commands as bytes."""

from __future__ import annotations


def command(*words: bytes) -> bytes:
    """Encode a command."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def number(value: int) -> bytes:
    """Write an integer as an argument."""
    return b"%d" % value
