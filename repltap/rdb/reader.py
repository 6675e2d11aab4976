"""Reading an RDB of any version from 1 on, of Redis and of Valkey: rdb.c `rdbLoadRio`.

Memory is bounded by `Limits`, not by the file. What is not known is an error that says what, in
which key and at which byte; nothing is passed over but what the caller did not want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from repltap.errors import CorruptRdbError, RdbError, UnsupportedRdbError
from repltap.rdb._hot.module import encoding_version, module_name, skip_opcodes
from repltap.rdb._hot.plain import take_strings
from repltap.rdb._hot.source import Limits, Source
from repltap.rdb._hot.values import TYPES, UNKNOWN, Part, Type, skip_value
from repltap.rdb.entries import (
    Aux,
    Database,
    DatabaseSize,
    End,
    Entry,
    Function,
    Header,
    Item,
    ModuleAux,
    Skipped,
    SlotImport,
    SlotInfo,
    Strings,
)

_MAGIC = re.compile(rb"(REDIS)(\d{4})|(VALKEY)(\d{3})")
_MAGIC_BYTES: Final = 9

_SLOT_IMPORT: Final = 243  # of Valkey; Redis has KEY_META there
_SLOT_INFO: Final = 244
_FUNCTION: Final = 245
_FUNCTION_EARLY: Final = 246
_MODULE_AUX: Final = 247
_IDLE: Final = 248
_FREQUENCY: Final = 249
_AUX: Final = 250
_DATABASE_SIZE: Final = 251
_EXPIRE_MS: Final = 252
_EXPIRE: Final = 253
_DATABASE: Final = 254
_END: Final = 255
_FIRST_OPCODE: Final = 240

_CHECKSUM_SINCE: Final = 5
_NEWER: Final = "a newer repltap may know it"

Wanted = Callable[[int, bytes, str], bool]
"""Tells by database, key and type whether an entry is wanted."""


class RdbReader:
    """Reads one file, once.

    Args:
        read: Gives up to so many bytes, b"" at the end, such as a file's own `read`.
        limits: What bounds the memory.
        wanted: The others are passed over; all are wanted if not given.
        values: Whether values are wanted; if not, each entry's is `Skipped`.
        payloads: The types whose serialized form is wanted, with the last part. With a number of
            bytes for each: a longer one is not given; else it is an error beyond the limits.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        limits: Limits | None = None,
        wanted: Wanted | None = None,
        values: bool = True,
        payloads: Collection[str] | Mapping[str, int] = (),
    ) -> None:
        self._source = Source(read, limits or Limits())
        self._wanted = wanted
        self._values = values
        self._payloads = frozenset(payloads)
        self._payload_limits = dict(payloads) if isinstance(payloads, Mapping) else {}
        self._plain = wanted is None and values and "string" not in self._payloads
        self._types: dict[int, Type] = {}
        self._unknown: dict[int, str] = {}
        self._vendor = ""
        self._version = 0
        self._db = 0
        # What was said before the key that comes next.
        self._expire: int | None = None
        self._idle: int | None = None
        self._frequency: int | None = None
        self._metadata = 0

    @property
    def offset(self) -> int:
        """Return how far it is, in bytes."""
        return self._source.offset

    def __iter__(self) -> Iterator[Item]:
        """Read to the end.

        Yields:
            A `Header`, what the file holds in its order, an `End`.

        Raises:
            CorruptRdbError: It is no RDB, cut off or damaged.
            UnsupportedRdbError: It holds what is not known, or is beyond the limits.
        """
        yield self._header()
        source = self._source
        plain = self._plain
        plain_next = plain
        while True:
            if plain_next:
                found = take_strings(source)
                if found:
                    yield Strings(self._db, found)
            offset = source.offset
            opcode = source.byte()
            if opcode < _FIRST_OPCODE:
                yield from self._key(opcode, offset)
                # After anything else the loop is not worth its start.
                plain_next = plain and opcode == 0
            elif opcode == _END:
                yield self._end()
                return
            else:
                item = self._opcode(opcode, offset)
                # What is said about a key must not be lost to the loop, which looks for whole ones.
                plain_next = plain and item is not None
                if item is not None:
                    yield item

    def _header(self) -> Header:
        source = self._source
        source.fill(_MAGIC_BYTES)
        magic = source.data[:_MAGIC_BYTES]
        match = _MAGIC.fullmatch(magic)
        if match is None:
            raise CorruptRdbError(
                f"no RDB file, it begins with {magic!r}",
                offset=0,
                hint="REDIS and four digits, or VALKEY and three, are expected",
            )
        source.position = _MAGIC_BYTES
        vendor, version = filter(None, match.groups())
        self._vendor = vendor.decode().lower()
        self._version = int(version)
        self._types = TYPES[self._vendor]
        self._unknown = UNKNOWN[self._vendor]
        return Header(self._vendor, self._version)

    def _end(self) -> End:
        source = self._source
        checksum: int | None = None
        if self._version >= _CHECKSUM_SINCE:
            computed = source.checksum
            checksum = source.unsigned(8)
            if checksum not in (0, computed):
                raise source.corrupt(
                    f"the checksum of the file is {checksum:016x}, of its bytes {computed:016x}",
                    source.offset - 8,
                )
        return End(checksum, source.offset, source.fill(1))

    def _opcode(self, opcode: int, offset: int) -> Item | None:
        """Take what is no key; None for what belongs to the next key."""
        source = self._source
        if opcode == _EXPIRE_MS:
            self._expire = source.signed(8)
        elif opcode == _EXPIRE:
            self._expire = source.signed(4) * 1000
        elif opcode == _IDLE:
            self._idle = source.length()
        elif opcode == _FREQUENCY:
            self._frequency = source.byte()
        elif opcode == _DATABASE:
            self._db = source.length()
            return Database(self._db)
        elif opcode == _DATABASE_SIZE:
            return DatabaseSize(self._db, source.length(), source.length())
        elif opcode == _AUX:
            return Aux(source.string(), source.string())
        elif opcode == _SLOT_INFO:
            return SlotInfo(source.length(), source.length(), source.length())
        else:
            return self._rare_opcode(opcode, offset)
        return None

    def _rare_opcode(self, opcode: int, offset: int) -> Item | None:
        source = self._source
        if opcode == _FUNCTION:
            return Function(source.string())
        if opcode == _MODULE_AUX:
            return self._module_aux(offset)
        if opcode == _SLOT_IMPORT and self._vendor == "valkey":
            job = source.string()
            count = source.length()
            return SlotImport(job, [(source.length(), source.length()) for _ in range(count)])
        if opcode == _SLOT_IMPORT:
            # Key metadata of modules (Redis 8.6): classes, each a number of 4 bytes and a value.
            for _ in range(source.length()):
                source.skip(4)
                skip_opcodes(source)
                self._metadata += 1
            return None
        early = "; functions of release candidates of 7.0" if opcode == _FUNCTION_EARLY else ""
        raise UnsupportedRdbError(
            f"the opcode {opcode} of {self._vendor} RDB {self._version} is not known{early}",
            offset=offset,
            hint=_NEWER,
        )

    def _module_aux(self, offset: int) -> ModuleAux:
        source = self._source
        module_id = source.length()
        when_opcode, when = source.length(), source.length()
        if when_opcode != 2:
            raise source.corrupt("a module's field does not say when it belongs", offset)
        skip_opcodes(source)
        name, version = module_name(module_id), encoding_version(module_id)
        return ModuleAux(name, version, when, source.offset - offset)

    def _key(self, number: int, offset: int) -> Iterator[Entry]:
        kind = self._types.get(number)
        key = self._source.string()
        if kind is None:
            what = self._unknown.get(number, "not known")
            raise UnsupportedRdbError(
                f"the type {number} of {self._vendor} RDB {self._version} is {what}",
                offset=offset,
                key=key,
                hint=_NEWER,
            )
        try:
            if self._wanted is None or self._wanted(self._db, key, kind.name):
                with_payload = kind.name in self._payloads
                if with_payload:
                    limit = self._payload_limits.get(kind.name)
                    self._source.start_recording(limit)
                encoding = kind.encoding if number else self._string_encoding()
                for at, part in enumerate(self._parts(kind, key)):
                    value, last, length, packed_bytes = part
                    payload = None
                    if last and with_payload:
                        recorded = self._source.stop_recording()
                        payload = None if recorded is None else bytes((number,)) + recorded
                    yield Entry(
                        self._db, key, kind.name, encoding, value, self._expire, self._idle,
                        self._frequency, at, last, length, packed_bytes, payload, self._metadata,
                    )  # fmt: skip
            else:
                skip_value(self._source, kind, key)
        except RdbError as exc:
            if exc.key is not None:
                raise
            message = exc.message.partition(": ")[2]
            raise type(exc)(message, offset=exc.offset, key=key, hint=exc.hint) from exc
        self._expire = self._idle = self._frequency = None
        self._metadata = 0

    def _parts(self, kind: Type, key: bytes) -> Iterable[Part]:
        if self._values:
            return kind.read(self._source, key)
        skip_value(self._source, kind, key)
        return (Part(Skipped(), True, 0, 0),)

    def _string_encoding(self) -> str:
        source = self._source
        source.need(1)
        return "int" if 0xC0 <= source.data[source.position] < 0xC3 else "raw"
