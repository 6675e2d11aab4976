"""What a node answers to PSYNC around the borders of its history, to compare it with another."""

from __future__ import annotations

from typing import NamedTuple

from tests.servers.find import Flavour
from tests.servers.node import Node
from tests.servers.raw import RawReplica

UNKNOWN = "f" * 40


class Names(NamedTuple):
    """How INFO names a history."""

    replid: str
    replid2: str
    second_offset: int
    end: int


class Answer(NamedTuple):
    """What came: the first word, the replid that it names, and the bytes up to the end."""

    word: str
    replid: str
    data: bytes


def names(node: Node) -> Names:
    """Return how a node names its history."""
    info = node.info("replication")
    return Names(
        info["master_replid"],
        info["master_replid2"],
        int(info["second_repl_offset"]),
        int(info["master_repl_offset"]),
    )


def questions(history: Names, *older: str, ahead: bool = True) -> list[tuple[str, int]]:
    """List what to ask: each replid, at each border and one byte before and behind it.

    Args:
        history: Of the nodes that are asked.
        older: Replids that it does not name any more.
        ahead: Ask, too, for more than there is; a relay waits for that, some seconds.
    """
    borders = {history.end + 1}
    if history.second_offset > 0:
        borders.add(history.second_offset)
    offsets = sorted({border + step for border in borders for step in (-1, 0, 1)})
    replids = [history.replid, history.replid2, *older, UNKNOWN]
    found = [(replid, offset) for replid in dict.fromkeys(replids) for offset in offsets]
    if not ahead:
        found.remove((history.replid, history.end + 2))
    return [*found, (history.replid, 0), (history.replid, -1), ("?", -1)]


def ask(node: Node, kind: Flavour, replid: str, offset: int, end: int) -> Answer:
    """Ask a node to continue, and read what it has up to `end`.

    Nobody may write to the master meanwhile.

    Args:
        node: Whom.
        kind: What asks: Valkey says its version, without which 9 would look for another format.
        replid, offset: As PSYNC has them.
        end: How much the node has.
    """
    with RawReplica(node.port) as replica:
        replica.send(b"REPLCONF capa psync2 capa eof\r\n")
        assert replica.line() == b"+OK"
        if kind.vendor == "valkey":
            replica.send(b"REPLCONF version %d.%d.%d\r\n" % kind.version)
            assert replica.line() == b"+OK"
        replica.send(b"PSYNC %b %d\r\n" % (replid.encode(), offset))
        words = replica.line().decode().split()
        if words[0] != "+CONTINUE":
            return Answer(words[0], words[1], b"")
        return Answer(words[0], words[1], replica.read(end - offset + 1))
