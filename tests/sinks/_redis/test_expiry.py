"""Times to live that count from when a command comes in."""

from __future__ import annotations

import pytest

from sinks._redis.expiry import absolute_words

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b"SET k v PX 5000", b"SET k v PXAT 1700000005000"),
        (b"set k v keepttl", b"set k v keepttl"),
        (b"SET k v NX ex 5", b"SET k v NX PXAT 1700000005000"),
        (b"SET k v PXAT 5", b"SET k v PXAT 5"),
        (b"SET k v", b"SET k v"),
        (b"SET PX 5", b"SET PX 5"),
        (b"SETEX k 5 v", b"SET k v PXAT 1700000005000"),
        (b"PSETEX k 5 v", b"SET k v PXAT 1700000000005"),
        (b"EXPIRE k 5", b"PEXPIREAT k 1700000005000"),
        (b"pexpire k 5 GT", b"PEXPIREAT k 1700000000005 GT"),
        (b"PEXPIREAT k 5", b"PEXPIREAT k 5"),
        (b"RESTORE k 0 payload REPLACE", b"RESTORE k 0 payload REPLACE"),
        (b"RESTORE k 5 payload REPLACE", b"RESTORE k 1700000000005 payload REPLACE ABSTTL"),
        (b"RESTORE k 5 payload absttl", b"RESTORE k 5 payload absttl"),
        # The target says what is wrong with them.
        (b"SET k v PX x", b"SET k v PX x"),
        (b"EXPIRE k", b"EXPIRE k"),
        (b"SET k v w PX", b"SET k v w PX"),
    ],
)
def test_commands(given: bytes, wanted: bytes) -> None:
    words = given.split()
    before = list(words)
    assert absolute_words(words[0].decode().upper(), words, NOW) == wanted.split()
    assert words == before
