"""Reading an RDB of any version from 1 on, of Redis and of Valkey: rdb.c `rdbLoadRio`.

Memory is bounded by `Limits`, not by the file. What is not known is an error that says what, in
which key and at which byte; nothing is passed over but what the caller did not want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from repltap.errors import CorruptRdbError, UnsupportedRdbError
from repltap.rdb._hot.key_reader import NEWER, KeyReader
from repltap.rdb._hot.module import encoding_version, module_name, skip_opcodes
from repltap.rdb._hot.plain import take_strings
from repltap.rdb._hot.source import Limits, Source
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
    SlotImport,
    SlotInfo,
    Strings,
    Wanted,
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


class RdbReader:
    """Reads one file, once.

    Args:
        read: Gives up to so many bytes, b"" at the end, such as a file's own `read`.
        limits: What bounds the memory.
        wanted: The others are passed over; all are wanted if not given.
        values: Whether values are wanted; if not, each entry's is `Skipped`. Runs of small strings
            come with theirs: that is less work than to pass over them.
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
        self._plain = "string" not in payloads
        self._wanted = wanted
        self._vendor = ""
        self._version = 0
        self._keys = KeyReader(self._source, wanted, values, payloads)

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
        keys = self._keys
        plain, wanted = self._plain, self._wanted
        plain_next = plain
        while True:
            if plain_next:
                found = take_strings(source)
                if wanted is not None:
                    found = [one for one in found if wanted(keys.db, one[0], "string")]
                if found:
                    yield Strings(keys.db, found)
            offset = source.offset
            opcode = source.byte()
            if opcode < _FIRST_OPCODE:
                found_key = keys.take(opcode, offset)
                if isinstance(found_key, Entry):
                    yield found_key
                elif found_key is not None:
                    yield from found_key
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
        header = Header(self._vendor, self._version)
        self._keys.begin(header)
        return header

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
            self._keys.expire_at_ms = source.signed(8)
        elif opcode == _EXPIRE:
            self._keys.expire_at_ms = source.signed(4) * 1000
        elif opcode == _IDLE:
            self._keys.idle_seconds = source.length()
        elif opcode == _FREQUENCY:
            self._keys.frequency = source.byte()
        elif opcode == _DATABASE:
            self._keys.db = source.length()
            return Database(self._keys.db)
        elif opcode == _DATABASE_SIZE:
            return DatabaseSize(self._keys.db, source.length(), source.length())
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
                self._keys.metadata += 1
            return None
        early = "; functions of release candidates of 7.0" if opcode == _FUNCTION_EARLY else ""
        raise UnsupportedRdbError(
            f"the opcode {opcode} of {self._vendor} RDB {self._version} is not known{early}",
            offset=offset,
            hint=NEWER,
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
