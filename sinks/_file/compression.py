"""How the bytes of a file are packed: in pieces that each can be read without the next.

A piece ends with each commit: a member of gzip, a frame of zstd. Files are a row of them, which
gzip, zstd and everything else that reads the formats take for one file; and one that is cut at a
commit is whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_GZIP_WBITS = 31  # zlib.h: 16 for a gzip header, 15 for the largest window


class _Stream(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Packer:
    """Packs what one file holds.

    Args:
        kind: Of `SUFFIXES`.
    """

    def __init__(self, kind: str) -> None:
        self._begin = _begin(kind)
        self._piece: _Stream | None = None

    def pack(self, data: bytes) -> bytes:
        """Take bytes; some of their packed form may come later."""
        if self._begin is None:
            return data
        if self._piece is None:
            self._piece = self._begin()
        return self._piece.compress(data)

    def end(self) -> bytes:
        """End the piece: the rest of its packed form, b"" if nothing was taken."""
        piece, self._piece = self._piece, None
        return b"" if piece is None else piece.flush()


def _begin(kind: str) -> Callable[[], _Stream] | None:
    if kind == "gzip":
        return lambda: zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    if kind == "zstd":
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        return compressor.compressobj
    return None
