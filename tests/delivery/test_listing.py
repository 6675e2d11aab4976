"""Every command of a stored stream."""

import pytest

from repltap.delivery.listing import CommandListing
from repltap.errors import RemoteProtocolError
from repltap.position import Offset
from repltap.store.reader import Block
from tests.stored import command

SET = command(b"SET", b"key", b"value")
SELECT = command(b"SELECT", b"3")
# A value that looks like the stream itself.
TRICK = command(b"SET", b"trick", b"\r\n" + command(b"SELECT", b"9") + SET)


def test_commands_however_they_are_cut() -> None:
    stream = SELECT + SET + TRICK + SET
    for size in (1, 7, 1000):
        listing = CommandListing(Offset(50), None)
        found = [
            one
            for at in range(0, len(stream), size)
            for one in listing.feed(Block(Offset(50 + at), stream[at : at + size], at))
        ]
        assert [one.db for one in found] == [None, 3, 3, 3]
        assert [one.args[0] for one in found] == [b"SELECT", b"SET", b"SET", b"SET"]
        assert [stream[one.start - 50 : one.end - 50] for one in found] == [
            SELECT, SET, TRICK, SET,
        ]  # fmt: skip
        assert found[-1].time_ns == (len(stream) - 1) // size * size


@pytest.mark.parametrize("wrong", [b"PING\r\n", b"*1\r\n:1\r\n", b"*x\r\n"])
def test_what_is_no_command(wrong: bytes) -> None:
    listing = CommandListing(Offset(0), 0)
    with pytest.raises(RemoteProtocolError, match=f"no command at offset {len(SET)}: "):
        list(listing.feed(Block(Offset(0), SET + wrong, 0)))
