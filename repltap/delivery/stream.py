"""From a piece of stored stream to records: decoder and tracker in one, resumable anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from repltap.delivery._hot.decoder import MAX_ARGS, MAX_COMMAND_BYTES, StreamDecoder
from repltap.delivery._hot.tracker import HOLD_BYTES, Tracker
from repltap.delivery.commands import CommandTable
from repltap.position import MAX_OFFSET
from repltap.sink import Record


@dataclass(frozen=True, slots=True)
class StreamState:
    """A place in the stream from which decoding goes on: what a checkpoint has to hold.

    Attributes:
        offset: The first byte to read; a command begins there.
        db: The database that is selected there, None where that is not known.
        tx_id: The transaction that the place is in, None for none. It is in one only after a part
            of a transaction that was too large to be held.
        tx_index: The place of the next command in it.
    """

    offset: int
    db: int | None
    tx_id: int | None = None
    tx_index: int = 0

    def as_dict(self) -> dict[str, int]:
        """Give it as JSON can hold it; what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> StreamState:
        """Read what `as_dict` gave.

        Raises:
            ValueError: It is something else.
        """
        values: dict[str, int] = {}
        for name in ("offset", "db", "tx_id", "tx_index"):
            value = document.get(name)
            if value is None and name in ("db", "tx_id"):
                continue
            if type(value) is not int or not 0 <= value <= MAX_OFFSET:
                raise ValueError(f"not a place in a stream: {name} is {value!r}")
            values[name] = value
        return cls(values["offset"], values.get("db"), values.get("tx_id"), values["tx_index"])


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What decoding may take of memory.

    Attributes:
        command_bytes: One command, on the wire.
        args: The words of one command.
        hold_bytes: The records of an open transaction, which are held until its EXEC.
    """

    command_bytes: int = MAX_COMMAND_BYTES
    args: int = MAX_ARGS
    hold_bytes: int = HOLD_BYTES


class RecordStream:
    """Turns pieces of the stream that continue each other into records.

    Args:
        state: Where the first piece begins.
        table: What is known of commands.
        source: The configured name of the upstream.
        accepts: Tells which records are wanted; None for all.
        limits: What it may take of memory.
    """

    def __init__(
        self,
        state: StreamState,
        table: CommandTable,
        *,
        source: str,
        accepts: Callable[[Record], bool] | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        limits = limits or StreamLimits()
        self._decoder = StreamDecoder(state.offset, limits.command_bytes, limits.args)
        self._tracker = Tracker(
            table.find,
            source,
            accepts,
            state.db,
            -1 if state.tx_id is None else state.tx_id,
            state.tx_index,
            limits.hold_bytes,
        )

    @property
    def window(self) -> tuple[bytes, int]:
        """What the last piece was decoded from, and the offset where that begins."""
        return self._decoder.window, self._decoder.window_start

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many PINGs and the like there were, which are no records, by name."""
        return self._tracker.left_out

    def feed(self, data: bytes, replid: str, ts_ms: int) -> list[Record]:
        """Decode a piece.

        Args:
            data: What comes next.
            replid: The id that names its offsets.
            ts_ms: When it came in, Unix milliseconds.

        Returns:
            The records that are complete with it.

        Raises:
            RemoteProtocolError: The master has sent something that is no command, or one past a
                limit; names the offset. It is raised when all before that has been given out.
        """
        return self._tracker.track(self._decoder.feed(data), replid, ts_ms)

    def take(self, data: bytes, replid: str, time_ns: int) -> list[Record]:
        """Decode a piece that came in at a time in Unix nanoseconds; else as `feed`."""
        return self.feed(data, replid, time_ns // 1_000_000)

    def state(self) -> StreamState:
        """Tell where to begin for what has not been given out yet."""
        offset, db, tx_id, tx_index = self._tracker.resume_point(self._decoder.offset)
        return StreamState(offset, db, None if tx_id < 0 else tx_id, tx_index)

    def abandon(self) -> int:
        """Drop an open transaction where the history ends; returns how many records it had."""
        return self._tracker.abandon()
