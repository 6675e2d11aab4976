"""Module values: passed over by their own framing, without the module.

A module id (54 bits of name, 10 of its encoding version), then opcodes, each a length: 1 and 2 an
integer, 3 a float, 4 a double, 5 a string, 0 the end (rdb.h `RDB_MODULE_OPCODE_*`).
"""

from __future__ import annotations

from typing import Final

from repltap.rdb._hot.source import Source

_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NAME_CHARACTERS: Final = 9
_VERSION_BITS: Final = 10


def module_name(module_id: int) -> str:
    """Return the name in a module id (module.c `moduleTypeNameByID`)."""
    rest = module_id >> _VERSION_BITS
    name = ""
    for _ in range(_NAME_CHARACTERS):
        name = _CHARACTERS[rest & 63] + name
        rest >>= 6
    return name


def encoding_version(module_id: int) -> int:
    """Return the encoding version in a module id."""
    return module_id & ((1 << _VERSION_BITS) - 1)


def skip_opcodes(source: Source) -> None:
    """Pass over what a module wrote, up to its end.

    Raises:
        CorruptRdbError: It is not framed as modules are.
    """
    while True:
        opcode = source.length()
        if opcode == 0:
            return
        if opcode in (1, 2):
            source.length()
        elif opcode == 3:
            source.skip(4)
        elif opcode == 4:
            source.skip(8)
        elif opcode == 5:
            source.skip_string()
        else:
            raise source.corrupt(f"a module's value has the opcode {opcode}")
