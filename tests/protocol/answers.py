"""What a master answers to INFO replication."""

from __future__ import annotations

from repltap.position import ReplId

REPLID = ReplId("5" * 40)


def info(offset: int, *more: bytes) -> bytes:
    """The answer of a master of REPLID at an offset; `more` are lines beside what is needed."""
    lines = [
        b"# Replication",
        b"role:master",
        *more,
        b"master_replid:" + REPLID.encode(),
        b"master_replid2:" + b"0" * 40,
        b"master_repl_offset:%d" % offset,
        b"second_repl_offset:-1",
    ]
    text = b"".join(line + b"\r\n" for line in lines)
    return b"$%d\r\n%b\r\n" % (len(text), text)
