import pytest

from repltap.errors import RemoteProtocolError
from repltap.rdb.header import MAX_HEADER_BYTES, RdbHeader, parse_header


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + bytes([len(name)]) + name + value


HEADER = (
    b"REDIS0012"
    + aux(b"redis-ver", b"\x058.2.3")
    + aux(b"redis-bits", b"\xc0\x40")
    + aux(b"ctime", b"\xc2\x15\xcd\x5b\x07")
    + aux(b"repl-stream-db", b"\xc0\xff")
    + aux(b"delta", b"\xc1\xfe\xff")
    + aux(b"repl-id", b"\x40\x28" + b"a" * 40)
    + aux(b"long", b"\x80\x00\x00\x00\x03abc")
    + aux(b"longer", b"\x81\x00\x00\x00\x00\x00\x00\x00\x03abc")
    + aux(b"packed", b"\xc3\x05\x0b\x00z\xe0\x01\x00")
)
FIELDS = {
    "redis-ver": "8.2.3",
    "redis-bits": "64",
    "ctime": "123456789",
    "repl-stream-db": "-1",
    "delta": "-2",
    "repl-id": "a" * 40,
    "long": "abc",
    "longer": "abc",
    "packed": "z" * 11,
}


@pytest.mark.parametrize("tail", [b"", b"\xfe\x00", b"\xff" + b"x" * 8, b"\xfb\x01\x00"])
def test_whole_and_with_more_behind(tail: bytes) -> None:
    for kind in (bytes, bytearray, memoryview):
        assert parse_header(kind(HEADER + tail)) == RdbHeader("REDIS0012", FIELDS)


def test_every_prefix_gives_the_fields_it_holds() -> None:
    for size in range(9, len(HEADER)):
        header = parse_header(HEADER[:size])
        assert header.format == "REDIS0012"
        assert header.aux.items() <= FIELDS.items()
        assert list(header.aux) == list(FIELDS)[: len(header.aux)]


@pytest.mark.parametrize(
    "data",
    [b"", b"REDIS001", b"REDIS00x2rest", b"VALKEY08x", b"-ERR nope\r\n", b"\x80\x02}q\x00...."],
)
def test_not_an_rdb(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not an RDB file"):
        parse_header(data)


@pytest.mark.parametrize(
    "value",
    [
        b"\xc4x",  # no such encoding
        b"\x82\x00\x00\x00\x00",  # no such length
        b"\xc3\x02\x05\x20\x00",  # reference before the beginning
        b"\xc3\x02\x05\x00a",  # shorter than it says
        b"\xc3\x02\x81\x00\x00\x00\x01\x00\x00\x00\x00",  # unpacks to gigabytes
        b"\xc3\x00\x00\xc3",
    ],
)
def test_what_can_not_be_decoded_ends_the_header(value: bytes) -> None:
    data = b"VALKEY080" + aux(b"valkey-ver", b"\x059.1.2") + aux(b"bad", value)
    header = parse_header(data)
    assert header.format == "VALKEY080"
    assert header.server_version == "9.1.2"
    assert header.aux.get("bad", "") == ""


def test_bounded() -> None:
    many = b"".join(aux(b"%06d" % n, b"\x20" + b"v" * 32) for n in range(5000))
    header = parse_header(b"REDIS0009" + many)
    assert 0 < len(header.aux) * 41 < MAX_HEADER_BYTES
    assert header.server_version == ""


@pytest.mark.parametrize(
    ("raw", "version"),
    [
        (
            (
                "524544495330303039fa0972656469732d76657205362e322e35fa0a72656469732d62697473c040"
                "fa056374696d65c2582e016bfa08757365642d6d656dc2a0571e00fa0e7265706c2d73747265616d"
                "2d6462c000fa077265706c2d69642830353964646264336262336466323139316232343664623462"
                "613735663131343031326138663363fe00"
            ),
            "6.2.5",
        ),
        (
            (
                "56414c4b4559303830fa0a76616c6b65792d76657205392e312e32fa0a72656469732d62697473c0"
                "40fa056374696d65c2582e016bfa08757365642d6d656dc298cd1400fa0e7265706c2d7374726561"
                "6d2d6462c000fa077265706c2d696428353063313431393963633765363932353231313836303234"
                "35393737303832666562343832656235fe00"
            ),
            "9.1.2",
        ),
    ],
)
def test_headers_of_real_servers(raw: str, version: str) -> None:
    header = parse_header(bytes.fromhex(raw))
    assert header.server_version == version
    assert header.aux["ctime"] == "1795239512"
    assert header.aux["repl-stream-db"] == "0"
    assert len(header.aux["repl-id"]) == 40
