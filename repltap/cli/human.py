"""Numbers, and what peers said, as people read them."""

from __future__ import annotations

NOTHING = "-"
"""For what is not known, or does not apply."""


def human_size(count: int | None) -> str:
    """Write a size as people read it: `0 B`, `1.5 KiB`, `118 MiB`."""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # 1023.95 and more would be rounded up to 1024.
        if abs(value) < 1023.95 or unit == "TiB":
            break
        value /= 1024
    if unit == "B" or value >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"


def human_age(seconds: float | None) -> str:
    """Write a duration in its two largest units: `0s`, `42s`, `3m 20s`, `2h 5m`, `3d 4h`."""
    if seconds is None:
        return NOTHING
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def printable(text: str) -> str:
    """Keep control characters that a peer sent from steering the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
