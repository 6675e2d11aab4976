"""Keys: a type, a name, a value (rdb.c `rdbLoadRioWithLoadingCtx`); whole, or in parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from repltap.errors import RdbError, UnsupportedRdbError
from repltap.rdb._hot.source import Source
from repltap.rdb._hot.values import TYPES, UNKNOWN, Part, Parts, Type, skip_value
from repltap.rdb.entries import Entry, Header, Skipped, Wanted

NEWER: Final = "a newer repltap may know it"

_new = tuple.__new__  # half the time of Entry(...), whose arguments pass a function in Python
_SKIPPED: Final = Part(Skipped(), True, 0, 0)


class KeyReader:
    """Reads keys, and keeps what the file says of the next one before it comes.

    Args:
        source: Where they are.
        wanted, values, payloads: As in `RdbReader`.

    Attributes:
        db: The database that they are in.
        expire_at_ms, idle_seconds, frequency, metadata: Of the key that comes next.
    """

    def __init__(
        self,
        source: Source,
        wanted: Wanted | None,
        values: bool,
        payloads: Collection[str] | Mapping[str, int],
    ) -> None:
        self.db = 0
        self.expire_at_ms: int | None = None
        self.idle_seconds: int | None = None
        self.frequency: int | None = None
        self.metadata = 0
        self._source = source
        self._format = ""
        self._types: dict[int, Type] = {}
        self._unknown: dict[int, str] = {}
        self._wanted = wanted
        self._values = values
        self._payloads = frozenset(payloads)
        self._payload_bytes = dict(payloads) if isinstance(payloads, Mapping) else {}

    def begin(self, header: Header) -> None:
        """Learn whose types they are."""
        self._format = f"{header.vendor} RDB {header.version}"
        self._types = TYPES[header.vendor]
        self._unknown = UNKNOWN[header.vendor]

    def take(self, number: int, offset: int) -> Entry | Iterator[Entry] | None:
        """Take a key.

        Args:
            number: Of its type, which has been taken.
            offset: Where that was.

        Returns:
            The key, or its parts, which must be taken before the next one; None if not wanted.

        Raises:
            CorruptRdbError: It is damaged; from parts, also later.
            UnsupportedRdbError: Its type is not known, or it is beyond the limits.
        """
        source = self._source
        key = source.string()
        kind = self._types.get(number)
        if kind is None:
            what = self._unknown.get(number, "not known")
            message = f"the type {number} of {self._format} is {what}"
            raise UnsupportedRdbError(message, offset=offset, key=key, hint=NEWER)
        try:
            if self._wanted is not None and not self._wanted(self.db, key, kind.name):
                skip_value(source, kind, key)
                self._forget()
                return None
            if kind.name in self._payloads:
                source.start_recording(self._payload_bytes.get(kind.name))
            encoding = kind.encoding if number else self._string_encoding()
            parts = self._parts(kind, key)
            if isinstance(parts, Part):
                entry = self._entry(number, kind, key, encoding, 0, parts)
                self._forget()
                return entry
        except RdbError as exc:
            raise _about(exc, key) from exc
        return self._several(number, kind, key, encoding, parts)

    def _several(
        self, number: int, kind: Type, key: bytes, encoding: str, parts: Iterator[Part]
    ) -> Iterator[Entry]:
        at = 0
        try:
            for part in parts:
                yield self._entry(number, kind, key, encoding, at, part)
                at += 1
        except RdbError as exc:
            raise _about(exc, key) from exc
        self._forget()

    def _entry(
        self, number: int, kind: Type, key: bytes, encoding: str, at: int, part: Part
    ) -> Entry:
        value, last, length, packed_bytes = part
        payload: bytes | None = None
        if last and kind.name in self._payloads:
            recorded = self._source.stop_recording()
            payload = None if recorded is None else bytes((number,)) + recorded
        entry: Entry = _new(
            Entry,
            (
                self.db, key, kind.name, encoding, value, self.expire_at_ms, self.idle_seconds,
                self.frequency, at, last, length, packed_bytes, payload, self.metadata,
            ),
        )  # fmt: skip
        return entry

    def _parts(self, kind: Type, key: bytes) -> Parts:
        if self._values:
            return kind.read(self._source, key)
        skip_value(self._source, kind, key)
        return _SKIPPED

    def _string_encoding(self) -> str:
        source = self._source
        source.need(1)
        return "int" if 0xC0 <= source.data[source.position] < 0xC3 else "raw"

    def _forget(self) -> None:
        self.expire_at_ms = self.idle_seconds = self.frequency = None
        self.metadata = 0


def _about(exc: RdbError, key: bytes) -> RdbError:
    """Say in which key it is."""
    if exc.key is not None:
        return exc
    message = exc.message.partition(": ")[2]
    return type(exc)(message, offset=exc.offset, key=key, hint=exc.hint)
