"""How values are shown to people: as redis-cli and MONITOR show them."""

from __future__ import annotations

_ESCAPES = {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord("\a"): "\\a",
    ord("\b"): "\\b",
}
_QUOTED = {
    code: _ESCAPES.get(code, f"\\x{code:02x}")
    for code in range(256)
    if code in _ESCAPES or not 0x20 <= code < 0x7F
}


def quoted(value: bytes) -> str:
    """Quote a value as redis-cli and MONITOR do (Redis `sdscatrepr`)."""
    return '"' + value.decode("latin-1").translate(_QUOTED) + '"'
