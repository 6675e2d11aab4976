"""The names of a sink's files, and what they tell.

audit.jsonl                             the path, where files are not rotated
audit-00000012-20250131T120000Z.jsonl   where they are: numbered, in the order to read them
NAME.SINK.new                           nothing in it is committed: deleted at the next start
NAME.part                               in progress: it grows, and its end may be taken back
NAME                                    finished, and never changed again
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from repltap.sink import path
from sinks._file.compression import SUFFIXES

PART: Final = ".part"

_FIELDS = {
    "sequence": r"(?P<sequence>[0-9]{8,18})",
    "time": "[0-9]{8}T[0-9]{6}Z",
    "offset": "[0-9]+",
}
_FIELD = re.compile(r"\{(\w+)\}")


def template(raw: object) -> Path:
    """Read a path; its last part may have {sequence}, {time} and {offset}.

    Raises:
        ValueError: It is none.
    """
    found = path(raw)
    if not found.name or str(raw).endswith("/"):
        raise ValueError(f"{raw!r} is no name of a file")
    for field in _FIELD.findall(str(found.parent)):
        raise ValueError(f"{raw!r}: {{{field}}} can be in the name of the file only")
    names = _FIELD.findall(found.name)
    for field in names:
        if field not in _FIELDS:
            raise ValueError(f"{raw!r}: {{{field}}} is none of {{sequence}}, {{time}}, {{offset}}")
        if names.count(field) > 1:
            raise ValueError(f"{raw!r}: {{{field}}} is there twice")
    return found


@dataclass(frozen=True, slots=True)
class Names:
    """Makes and reads the names of one sink's files.

    Args:
        text: What a name is made of.
        sink: Whose they are.
        live: What is behind the name of a file in progress.

    Attributes:
        numbered: They have a number; else there is one name only.
    """

    text: str
    sink: str
    live: str

    @classmethod
    def of(cls, name: str, *, sink: str, compression: str, rotated: bool) -> Names:
        """Make the names of a template.

        Args:
            name: The last part of the path.
            sink: The name of the sink.
            compression: Of `SUFFIXES`.
            rotated: Whether there is more than one file.
        """
        packed = SUFFIXES[compression]
        name = name.removesuffix(packed)
        fields = _FIELD.findall(name)
        if "sequence" not in fields and (rotated or fields):
            stem, dot, suffix = name.rpartition(".")
            if not stem or "{" in suffix:
                stem, dot, suffix = name, "", ""
            name = f"{stem}-{{sequence}}{'' if fields else '-{time}'}{dot}{suffix}"
        return cls(name + packed, sink, PART if rotated else "")

    @property
    def numbered(self) -> bool:
        return "{sequence}" in self.text

    @property
    def new(self) -> str:
        """What is behind the name of a file of which nothing is committed."""
        return f".{self.sink}.new"

    def name(self, sequence: int, offset: int, ts_ms: int) -> str:
        """Make a name.

        Args:
            sequence: Its number.
            offset: Of the first byte of its first record.
            ts_ms: The time of that record, Unix milliseconds.
        """
        time = datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        values = {"sequence": f"{sequence:08d}", "time": time, "offset": str(offset)}
        return _FIELD.sub(lambda field: values[field[1]], self.text)

    def sequence_of(self, name: str) -> int | None:
        """Give the number of a file, finished or not; None if the name is not of these."""
        for suffix in (self.new, PART):
            name = name.removesuffix(suffix)
        match = self._pattern().fullmatch(name)
        if match is None:
            return None
        return int(match["sequence"]) if self.numbered else 0

    def _pattern(self) -> re.Pattern[str]:
        at, written = 0, ""
        for field in _FIELD.finditer(self.text):
            written += re.escape(self.text[at : field.start()]) + _FIELDS[field[1]]
            at = field.end()
        return re.compile(written + re.escape(self.text[at:]))
