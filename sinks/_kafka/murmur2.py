"""The hash by which Java's producer, and Kafka Streams, choose the partition of a key."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """Hash as Java's producer does (`org.apache.kafka.common.utils.Utils.murmur2`)."""
    whole = len(data) & ~3
    h = _SEED ^ len(data)
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def positive(data: bytes) -> int:
    """Hash, and cut the sign bit off, as Java's `Utils.toPositive` does before the modulo."""
    return murmur2(data) & 0x7FFFFFFF
