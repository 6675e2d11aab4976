"""The hash is the one that Kafka's own clients have."""

from __future__ import annotations

import pytest

from sinks._kafka.murmur2 import murmur2, positive

# What Java's own tests have (`UtilsTest.testMurmur2`), and what they say.
JAVA = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "hashed"), JAVA)
def test_the_hash_is_javas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF
    assert positive(data) == hashed & 0x7FFFFFFF
