"""The lines of a systemd unit."""

from __future__ import annotations

from pathlib import Path

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"


def settings(unit: str) -> dict[str, list[str]]:
    """The lines of a unit, by name; a name may stand several times."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / unit).read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found
