from repltap.rdb.resp import command
from repltap.rdb.restore import RestoreWriter, dump_payload
from tests.rdb.build import items, key, rdb, string

TYPES = {"string", "list", "hash", "module"}


def write(body: bytes, magic: bytes = b"REDIS0012") -> tuple[RestoreWriter, bytes]:
    writer = RestoreWriter()
    found = items(rdb(body, magic), values=False, payloads=TYPES)
    return writer, b"".join(map(writer.write, found))


def test_a_payload_of_a_real_server() -> None:
    # SET k v; DUMP k: Redis 7.0.15.
    assert dump_payload(b"\x00\x01v", 10) == bytes.fromhex("0001760a009108ceb219388ace")


def test_commands() -> None:
    attributes = b"\xfc" + (5).to_bytes(8, "little") + b"\xf8\x09"
    body = (
        b"\xf5" + string(b"#!lua name=x") + b"\xfe\x03"
        + key(0, b"k", string(b"v")) + attributes + key(1, b"l", b"\x01\x01x") + b"\xf9\x07"
        + key(0, b"f", b"\xc0\x05")
    )  # fmt: skip
    writer, written = write(body)
    assert not writer.losses.counts
    tail = (b"REPLACE", b"ABSTTL")
    assert written == (
        command(b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=x")
        + command(b"SELECT", b"3")
        + command(b"RESTORE", b"k", b"0", dump_payload(b"\x00\x01v", 1), *tail)
        + command(
            b"RESTORE", b"l", b"5", dump_payload(b"\x01\x01\x01x", 1), *tail, b"IDLETIME", b"9"
        )
        + command(b"RESTORE", b"f", b"0", dump_payload(b"\x00\xc0\x05", 1), *tail, b"FREQ", b"7")
    )


def test_the_lowest_version_that_has_the_type() -> None:
    value = b"\x01" + string(b"f") + string(b"v") + b"\xff" * 8
    _, written = write(key(22, b"h", value), b"VALKEY080")
    assert dump_payload(b"\x16" + value, 80) in written


def test_losses() -> None:
    metadata = b"\xf3\x01abcd\x00"
    writer, _ = write(metadata + key(0, b"k", string(b"v")))
    assert writer.losses.counts == {"metadata of modules on keys": 1}
