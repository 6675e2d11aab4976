"""The list of keys: a line each, without reading values."""

from __future__ import annotations

from collections.abc import Callable

from repltap.rdb.entries import Entry, Item, Strings


class KeyWriter:
    """Writes names of keys, one a line. The reader need not give values.

    Args:
        quoted: Quotes a name that is none to print: it holds what is no text, or what ends a line,
            or is empty or begins with a quote itself.
    """

    def __init__(self, quoted: Callable[[bytes], str]) -> None:
        self._quoted = quoted

    def write(self, item: Item) -> bytes:
        """Write an item; b"" where it is no key, or not its first part."""
        if isinstance(item, Entry):
            return self._line(item.key) if not item.part else b""
        if isinstance(item, Strings):
            return b"".join([self._line(key) for key, _, _ in item.items])
        return b""

    def _line(self, key: bytes) -> bytes:
        try:
            if key.decode().isprintable() and key and not key.startswith(b'"'):
                return key + b"\n"
        except UnicodeDecodeError:
            pass
        return self._quoted(key).encode() + b"\n"
