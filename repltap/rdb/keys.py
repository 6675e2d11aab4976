"""The list of keys: a line each, without reading values."""

from __future__ import annotations

from repltap.rdb.entries import Entry, Item, Strings


class KeyWriter:
    """Writes names of keys, as they are: one a line. The reader need not give values."""

    def write(self, item: Item) -> bytes:
        """Write an item; b"" where it is no key, or not its first part."""
        if isinstance(item, Entry):
            return item.key + b"\n" if not item.part else b""
        if isinstance(item, Strings):
            return b"".join([key + b"\n" for key, _, _ in item.items])
        return b""
