"""Relative times to live made absolute: a mirror that is behind must not let keys live longer.

Redis 6.2 passes `SET k v PX 5000` and `EXPIRE k 5` on as they are, and a replica counts from when
they come in (its own replicas too). From 7.0 on they are absolute already. The moment to count from
is when the relay received them.
"""

from __future__ import annotations

from collections.abc import Callable

_SET_OPTIONS = {b"PX": 1, b"EX": 1000}


def absolute_words(cmd: str, words: list[bytes], ts_ms: int) -> list[bytes]:
    """Write a command with an absolute time to live where it has a relative one.

    Args:
        cmd: Its name in upper case.
        words: The command; not changed.
        ts_ms: When the relay received it, Unix milliseconds.

    Returns:
        The command; the same words where there is nothing to change or to understand.
    """
    change = CHANGES.get(cmd)
    if change is None:
        return words
    try:
        return change(words, ts_ms)
    except (ValueError, IndexError):  # what the target will say to it counts
        return words


def _set(words: list[bytes], ts_ms: int) -> list[bytes]:
    if len(words) < 5:
        return words
    for at in range(3, len(words) - 1):
        unit = _SET_OPTIONS.get(words[at].upper())
        if unit is not None:
            return [*words[:at], b"PXAT", _at(ts_ms, words[at + 1], unit), *words[at + 2 :]]
    return words


def _setex(words: list[bytes], ts_ms: int) -> list[bytes]:
    unit = 1 if words[0].upper() == b"PSETEX" else 1000
    return [b"SET", words[1], words[3], b"PXAT", _at(ts_ms, words[2], unit)]


def _expire(words: list[bytes], ts_ms: int) -> list[bytes]:
    unit = 1 if words[0].upper() == b"PEXPIRE" else 1000
    return [b"PEXPIREAT", words[1], _at(ts_ms, words[2], unit), *words[3:]]


def _restore(words: list[bytes], ts_ms: int) -> list[bytes]:
    if int(words[2]) == 0 or any(word.upper() == b"ABSTTL" for word in words[4:]):
        return words
    return [*words[:2], _at(ts_ms, words[2], 1), *words[3:], b"ABSTTL"]


def _at(ts_ms: int, number: bytes, unit: int) -> bytes:
    return b"%d" % (ts_ms + int(number) * unit)


CHANGES: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "SET": _set,
    "SETEX": _setex,
    "PSETEX": _setex,
    "EXPIRE": _expire,
    "PEXPIRE": _expire,
    "RESTORE": _restore,
}
