"""What the file sink has to find again: the state that `commit` returns.

    {"version": 1, "sink": "file", "directory": "/var/log", "sequence": 12,
     "made": {"name": "audit.jsonl", "form": "json", "compression": "none", "rotated": true},
     "complete": [["audit-00000011-....jsonl", 1048600]],
     "current": {"name": "audit-00000012-....jsonl", "length": 4711, "began": 1738324800.5,
                 "cut": false}}

`complete` are files that have their end, but not their final name yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Made:
    """The settings that files are made with; with others another one is begun."""

    name: str
    form: str
    compression: str
    rotated: bool


@dataclass(frozen=True, slots=True)
class Current:
    """The file that is being written.

    Attributes:
        name: Its final one.
        length: Of what was committed.
        began: When it was made, Unix seconds.
        cut: It ends within a transaction, which will never be completed.
    """

    name: str
    length: int
    began: float
    cut: bool


@dataclass(frozen=True, slots=True)
class State:
    """All of it.

    Attributes:
        made: How the files were made; None for none.
        directory: Where they are.
        sequence: The highest number that was given.
        complete: Names and lengths.
        current: None where the next record begins one.
    """

    made: Made | None = None
    directory: str = ""
    sequence: int = 0
    complete: list[tuple[str, int]] = field(default_factory=list)
    current: Current | None = None

    def as_json(self) -> Mapping[str, Any]:  # Any: JSON
        """Write it."""
        return {"version": _VERSION, "sink": "file", **asdict(self)}

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> State:  # Any: JSON
        """Read what `as_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        if found.get("sink") != "file" or found.get("version") != _VERSION:
            raise ValueError("not of a file sink, or of a later version")
        try:
            current = found["current"]
            made = found["made"]
            state = cls(
                Made(
                    str(made["name"]),
                    str(made["form"]),
                    str(made["compression"]),
                    bool(made["rotated"]),
                ),
                str(found["directory"]),
                int(found["sequence"]),
                [(str(name), int(length)) for name, length in found["complete"]],
                None if current is None else _current(current),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise ValueError(f"damaged: {exc!r}") from None
        # They are joined to a directory's path, and files of these names are cut.
        names = [name for name, _ in state.complete]
        names += [state.current.name] if state.current else []
        if any("/" in name or name in ("", ".", "..") for name in names):
            raise ValueError("a name that is none")
        return state


def _current(found: Mapping[str, Any]) -> Current:
    return Current(
        str(found["name"]), int(found["length"]), float(found["began"]), bool(found["cut"])
    )
