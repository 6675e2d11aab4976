"""The key in the target that says how far the sink has come: JSON, set in each transaction.

    {"repltap":1,"sink":"mirror","source":"master","place":"...","owned":true,"writer":"9f2c...",
     "group":17,"time_ms":1790000000000}

`writer` and `group` make each value differ from any other, so that who finds another one than it
wrote knows that somebody else was there. `failure` is there once the target has refused a command
that the master has executed: its data is not the master's any more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the key holds.

    Attributes:
        sink, source: Whose it is.
        place: Opaque: where to go on.
        owned: All data in the target came from this sink.
        writer: Drawn anew whenever the sink is opened.
        group: Counts the transactions of this writer.
        time_ms: When it was written, Unix milliseconds, by the clock of the sink's machine.
        failure: What the target has refused; "" for nothing.
    """

    sink: str
    source: str
    place: str
    owned: bool
    writer: str
    group: int
    time_ms: int
    failure: str = ""

    def dump(self) -> bytes:
        """Write it as the key has it."""
        values = asdict(self)
        if not self.failure:
            del values["failure"]
        return json.dumps({"repltap": _FORMAT, **values}, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Checkpoint:
        """Read what the key has.

        Raises:
            ValueError: That is something else.
        """
        try:
            values = json.loads(data)
        except ValueError:
            raise ValueError("it is no JSON") from None
        if not isinstance(values, dict) or values.pop("repltap", None) != _FORMAT:
            raise ValueError("it is none of repltap's, or of a later version")
        try:
            found = cls(**values)
        except TypeError:
            raise ValueError("it has other fields") from None
        texts = (found.sink, found.source, found.place, found.writer, found.failure)
        if not found.place or not all(isinstance(text, str) for text in texts):
            raise ValueError("its fields have other values")
        return found
