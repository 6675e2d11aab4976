"""What an RDB holds and another form can't: counted, so that nothing is dropped in silence."""

from __future__ import annotations

from collections import Counter

from repltap.rdb.entries import End, Item, ModuleAux, SlotImport


class Losses:
    """What was left out, by kind.

    Attributes:
        counts: How often each.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, what: str) -> None:
        """Count one."""
        self.counts[what] += 1

    def see(self, item: Item) -> None:
        """Count what no command can make."""
        if isinstance(item, ModuleAux):
            self.add(f"data of the module {item.module} beside the keys")
        elif isinstance(item, SlotImport):
            self.add("slot migrations under way")
        elif isinstance(item, End) and item.goes_on:
            self.add(f"bytes behind the end of the RDB, which is at byte {item.size_bytes}")
