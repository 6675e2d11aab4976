"""Pieces that can be read without the next."""

from __future__ import annotations

import gzip
import shutil
import subprocess

import pytest
import zstandard

from sinks._file.compression import Packer


def unpack(kind: str, data: bytes) -> bytes:
    """Unpack a row of pieces with the format's own program where there is one."""
    if kind == "none":
        return data
    if kind == "gzip":
        return gzip.decompress(data)
    if program := shutil.which("zstd"):
        return subprocess.run([program, "-dc"], input=data, capture_output=True, check=True).stdout
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    return reader.read()


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_every_end_is_one_of_a_whole_file(kind: str) -> None:
    packer = Packer(kind)
    packed, plain = b"", b""
    assert packer.end() == b""
    for number in range(1, 6):
        for _ in range(number):
            line = b"a line of number %d\n" % number * 50
            packed += packer.pack(line)
            plain += line
        packed += packer.end()
        assert unpack(kind, packed) == plain
    assert packer.end() == b""
    assert kind == "none" or len(packed) < len(plain) / 5
