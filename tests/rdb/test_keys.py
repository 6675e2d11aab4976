from repltap.rdb._hot.source import Limits
from repltap.rdb.keys import KeyWriter
from tests.rdb.build import items, key, rdb, string, strings

BODY = b"\xfe\x00" + key(0, b"a\xff", string(b"v")) + key(1, b"b", b"\x02" + strings(b"x", b"y"))


def test_a_line_per_key() -> None:
    writer = KeyWriter()
    for options in ({}, {"values": False}, {"limits": Limits(part_items=1)}):
        assert b"".join(map(writer.write, items(rdb(BODY), **options))) == b"a\xff\nb\n"
