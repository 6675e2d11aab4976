"""Where a sink goes on: what a checkpoint holds, and what sinks keep without looking into it.

As text it is JSON, `v` first:

    {"v":1,"phase":"stream","history":3,"replid":"5f…","offset":1234,"db":0}
    {"v":1,"phase":"stream","history":3,"replid":"5f…","offset":1234,"db":0,"tx_id":1000,
     "tx_index":7}
    {"v":1,"phase":"wanted","history":3,"replid":"5f…","offset":1000}
    {"v":1,"phase":"snapshot","history":3,"replid":"5f…","offset":1000,"crc64":"00…","ordinal":7}

`crc64` tells one snapshot from another of the same offset, in which keys stand in another order.
What a sink is given to keep after `repltap sink reset` has `reset`, too, which names the reset: it
tells that place from those that the target held before.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from repltap.delivery.stream import StreamState
from repltap.position import MAX_OFFSET, Offset, ReplId, parse_replid

_VERSION = 1
_BEFORE_BEGIN = -1  # the snapshot's first notice is still to be given
_RESET = "reset"


class Phase(enum.Enum):
    """What a sink is given next."""

    STREAM = "stream"
    WANTED = "wanted"  # a snapshot, which is still to be chosen
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in what a sink is given.

    Attributes:
        phase: What comes next.
        history: The number of the history's directory.
        replid: The replid that names the bytes from `offset` on.
        offset: The first stream byte that is still needed: the next one, or with a snapshot the
            one that follows it.
        db: STREAM: the database selected there, None for not known.
        tx_id, tx_index: STREAM: the transaction that it is in, as in `StreamState`.
        crc64: SNAPSHOT: tells which file.
        ordinal: SNAPSHOT: of the next record; -1 before its SNAPSHOT_BEGIN.
    """

    phase: Phase
    history: int
    replid: ReplId
    offset: Offset
    db: int | None = None
    tx_id: int | None = None
    tx_index: int = 0
    crc64: int = 0
    ordinal: int = _BEFORE_BEGIN

    @classmethod
    def stream(cls, history: int, replid: ReplId, state: StreamState) -> Place:
        """Give the place of a state of decoding."""
        return cls(
            phase=Phase.STREAM,
            history=history,
            replid=replid,
            offset=Offset(state.offset),
            db=state.db,
            tx_id=state.tx_id,
            tx_index=state.tx_index,
        )

    @property
    def stream_state(self) -> StreamState:
        """The state of decoding there."""
        return StreamState(self.offset, self.db, self.tx_id, self.tx_index)

    @property
    def begun(self) -> bool:
        """Tell whether the snapshot's SNAPSHOT_BEGIN has been given."""
        return self.ordinal != _BEFORE_BEGIN

    def wanting(self) -> Place:
        """The same place, but a snapshot comes first."""
        return Place(
            phase=Phase.WANTED, history=self.history, replid=self.replid, offset=self.offset
        )

    def in_history(self, number: int) -> Place:
        """The same place, in a history of another number."""
        return replace(self, history=number)

    def as_dict(self) -> dict[str, int | str]:
        """Give it as JSON can hold it."""
        fields: dict[str, int | str] = {
            "v": _VERSION,
            "phase": self.phase.value,
            "history": self.history,
            "replid": self.replid,
            "offset": self.offset,
        }
        if self.phase is Phase.STREAM:
            if self.db is not None:
                fields["db"] = self.db
            if self.tx_id is not None:
                fields |= {"tx_id": self.tx_id, "tx_index": self.tx_index}
        elif self.phase is Phase.SNAPSHOT:
            fields |= {"crc64": f"{self.crc64:016x}", "ordinal": self.ordinal}
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Place:
        """Read what `as_dict` gave.

        Raises:
            ValueError: It is something else.
        """
        version = fields.get("v")
        if version != _VERSION or type(version) is not int:
            raise ValueError(f"not a place of version {_VERSION}: v is {version!r}")
        phase = Phase(fields.get("phase"))
        try:
            replid = parse_replid(str(fields.get("replid")).encode())
        except ValueError as exc:
            raise ValueError(f"not a place: {exc}") from None
        made = cls(
            phase=phase,
            history=_number(fields, "history"),
            replid=replid,
            offset=Offset(_number(fields, "offset")),
            **_of_stream(fields) if phase is Phase.STREAM else {},
            **_of_snapshot(fields) if phase is Phase.SNAPSHOT else {},
        )
        if unknown := fields.keys() - made.as_dict().keys():
            raise ValueError(f"not a place: {', '.join(sorted(unknown))} does not belong there")
        return made

    def as_text(self, reset: str = "") -> str:
        """Give it as one line of text.

        Args:
            reset: The reset that it follows, "" for none.
        """
        fields = self.as_dict() | ({_RESET: reset} if reset else {})
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Place:
        """Read what `as_text` gave.

        Raises:
            ValueError: It is something else.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("not a place: it is not JSON") from None
        if not isinstance(fields, dict):
            raise ValueError("not a place: it is not a JSON object")
        fields.pop(_RESET, None)
        return cls.from_dict(fields)


def reset_of(text: str) -> str:
    """Tell which reset a place follows that a target holds; "" for none, or if it is no place."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    reset = fields.get(_RESET) if isinstance(fields, dict) else None
    return reset if isinstance(reset, str) else ""


def _of_stream(fields: Mapping[str, object]) -> dict[str, int]:
    found = {name: _number(fields, name) for name in ("db", "tx_id") if name in fields}
    if "tx_id" in found:
        found["tx_index"] = _number(fields, "tx_index")
    return found


def _of_snapshot(fields: Mapping[str, object]) -> dict[str, int]:
    crc64 = fields.get("crc64")
    try:
        known = int(crc64, 16) if isinstance(crc64, str) and len(crc64) == 16 else -1
    except ValueError:
        known = -1
    if known < 0:
        raise ValueError(f"not a place: crc64 is {crc64!r}")
    return {"crc64": known, "ordinal": _number(fields, "ordinal", least=_BEFORE_BEGIN)}


def _number(fields: Mapping[str, object], name: str, least: int = 0) -> int:
    value = fields.get(name)
    if type(value) is not int or not least <= value <= MAX_OFFSET:
        raise ValueError(f"not a place: {name} is {value!r}")
    return value
