"""Which replid names which bytes of a history, through all failovers that it remembers."""

from __future__ import annotations

from typing import NamedTuple

from repltap.position import MAX_OFFSET, History, Offset, ReplId


class Successor(NamedTuple):
    """What a history goes on as: under which replid, from which offset."""

    replid: ReplId
    since: Offset


def name_at(history: History, offset: int) -> ReplId:
    """Tell which replid names the byte at an offset; the newest for those that are to come."""
    for before in reversed(history.predecessors):
        if offset < before.until:
            return before.replid
    return history.replid


def is_named(history: History, replid: ReplId) -> bool:
    """Tell whether the history has, or had, this replid."""
    return replid == history.replid or any(p.replid == replid for p in history.predecessors)


def valid_until(history: History, replid: ReplId) -> Offset:
    """Tell up to where a replid names the history; `MAX_OFFSET` for the one that it has.

    Raises:
        KeyError: It never had it.
    """
    found = successor(history, replid)
    return MAX_OFFSET if found is None else found.since


def successor(history: History, replid: ReplId) -> Successor | None:
    """Tell what came after a replid, None for the one that the history has.

    Raises:
        KeyError: It never had it.
    """
    if replid == history.replid:
        return None
    later = history.replid
    for before in history.predecessors:
        if before.replid == replid:
            return Successor(later, before.until)
        later = before.replid
    raise KeyError(replid)
