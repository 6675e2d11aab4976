"""An RDB of the functions alone, out of a whole one: what `redis-cli --functions-rdb` asks for.

Functions stand before all keys (rdb.c `rdbSaveRio`), so that little of the file has to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from repltap.errors import UnsupportedRdbError
from repltap.rdb.entries import Aux, Function, Header, ModuleAux
from repltap.rdb.reader import RdbReader

MAX_FUNCTIONS_BYTES: Final = 16 << 20
"""They are held in memory while they are sent. Libraries have some kilobytes each."""

_FUNCTION: Final = b"\xf5"
_END: Final = b"\xff"
_NO_CHECKSUM: Final = bytes(8)  # every version takes that for "none" (`rdbLoadRioWithLoadingCtx`)


def functions_only(read: Callable[[int], bytes]) -> bytes:
    """Make an RDB that holds the functions of another one.

    Args:
        read: Gives up to so many bytes of that one; blocking.

    Raises:
        CorruptRdbError: It is no RDB, or damaged.
        UnsupportedRdbError: It holds what is not known, or more than is made here.
    """
    made = bytearray()
    reader = RdbReader(read)
    for item in reader:
        if isinstance(item, Header):
            made += item.format.upper().encode("ascii")
        elif isinstance(item, Function):
            made += _FUNCTION + _length(len(item.code)) + item.code
            if len(made) > MAX_FUNCTIONS_BYTES:
                raise UnsupportedRdbError(
                    f"more than {MAX_FUNCTIONS_BYTES} bytes of functions", offset=reader.offset
                )
        elif not isinstance(item, Aux | ModuleAux):
            break
    return bytes(made) + _END + _NO_CHECKSUM


def _length(number: int) -> bytes:
    """Encode a length (rdb.c `rdbSaveLen`): its largest form will do."""
    return b"\x80" + number.to_bytes(4, "big")
