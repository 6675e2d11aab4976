from repltap.rdb._hot.source import Limits
from repltap.rdb.keys import KeyWriter
from tests.rdb.build import items, key, rdb, string, strings

BODY = (
    b"\xfe\x00" + key(0, "é 1".encode(), string(b"v")) + key(1, b"b", b"\x02" + strings(b"x", b"y"))
    + key(0, b"a\xff", string(b"v")) + key(0, b"b\nc", string(b"")) + key(0, b"", string(b""))
    + key(0, b'"q', string(b""))
)  # fmt: skip
NAMES = 'é 1\nb\n<a\xff>\n<b\nc>\n<>\n<"q>\n'


def test_a_line_per_key() -> None:
    writer = KeyWriter(lambda name: f"<{name.decode('latin-1')}>")
    for options in ({}, {"values": False}, {"limits": Limits(part_items=1)}):
        assert b"".join(map(writer.write, items(rdb(BODY), **options))) == NAMES.encode()
