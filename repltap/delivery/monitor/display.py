"""What the monitor process shows: frames of lines, and the answers to marks in between.

A mark says where the journal ended when a client asked to monitor. It is answered between the last
command that had ended there and the first that had not, so that the client is shown what follows
its MONITOR, and all of that.
"""

from __future__ import annotations

from collections.abc import Callable

from repltap.delivery._hot.decoder import Entry, StreamDecoder
from repltap.delivery._hot.monitor_lines import MonitorLines
from repltap.delivery.monitor.messages import Frame, Kind, Place, mark_frame
from repltap.delivery.stream import StreamState
from repltap.sink import Record

_LINES_BYTES = 32 << 10
"""Lines are sent when there are so many, or nothing more just now."""

_PIECE_BYTES = 16 << 10
"""Of the stream: so many commands are shown, and then it is looked whether to send."""

_FRAME_BYTES = 512 << 10
"""With more, lines are sent in the middle of a piece: only a large transaction has so many."""


class Display:
    """Collects lines and sends them.

    Args:
        send: Sends bytes to the relay; may wait for it.
        look: Takes what the relay has said. It is called behind each read of the journal: a mark
            is sent before the bytes that follow it are stored, so it is known then.
        hidden: The upper-case names of what is not shown.

    Attributes:
        address: The master's, as lines show it.
    """

    def __init__(
        self, send: Callable[[bytes], None], look: Callable[[], None], hidden: frozenset[bytes]
    ) -> None:
        self.address = b""
        self._send = send
        self._look = look
        self._hidden = hidden
        self._marks: dict[int, Place] = {}
        self._waiting: list[bytes] = []
        self._size = 0
        self._number = 0
        self._offset = 0  # up to where commands have been shown, or are held
        self._lines = MonitorLines(hidden, b"", 0)

    def decode(self, number: int, state: StreamState) -> LineStream:
        """Begin to show a stream: what was marked in those before it is behind us."""
        self.flush()
        self._number, self._offset = number, state.offset
        # No SELECT in all that is stored: a line has to say one, and 0 is where a master begins.
        self._lines = MonitorLines(self._hidden, self.address, state.db or 0)
        self._answer(state.offset)
        return LineStream(state, self._lines, self._show)

    def mark(self, mark: int, place: Place) -> None:
        """Take a mark; it is answered when its place is passed."""
        self._marks[mark] = place

    def answer(self, *, all_of_history: bool = False) -> None:
        """Answer the marks that have been passed.

        Args:
            all_of_history: And the others in this history: a failover has cut off its end.
        """
        self._answer(max(self._offsets(), default=0) if all_of_history else self._offset)

    def flush(self) -> None:
        """Send the lines that wait."""
        if self._waiting:
            lines = self._lines
            offset = self._offset if lines.held_from < 0 else lines.held_from
            frame = Frame(Kind.LINES, self._number, offset, b"".join(self._waiting))
            self._waiting, self._size = [], 0
            self._send(frame.pack())

    def fail(self, reason: str) -> None:
        """Say why nothing will be shown any more."""
        self.flush()
        self._send(Frame(Kind.FAILED, 0, 0, reason.encode()[:1000]).pack())

    def _show(self, entries: list[Entry], time_us: int) -> None:
        self._look()
        self._lines.address = self.address
        at, count = 0, len(entries)
        while at < count:
            first, end, _ = entries[at]
            mark = min(self._offsets(), default=None)
            if mark is not None and mark < end:
                # Where it is within a command, that has been executed behind it.
                self._answer(end - 1)
                continue
            until = at + 1
            last = first + _PIECE_BYTES if mark is None else min(first + _PIECE_BYTES, mark)
            while until < count and entries[until][1] <= last:
                until += 1
            for line in self._lines.write(entries[at:until], time_us):
                self._waiting.append(line)
                self._size += len(line)
                if self._size >= _FRAME_BYTES:
                    self.flush()
            self._offset = entries[until - 1][1]
            at = until
            if self._size >= _LINES_BYTES:
                self.flush()
        self.answer()

    def _offsets(self) -> list[int]:
        return [place.offset for place in self._marks.values() if place.number == self._number]

    def _answer(self, offset: int) -> None:
        here = Place(self._number, offset)
        for mark in [mark for mark, place in self._marks.items() if place <= here]:
            self.flush()
            del self._marks[mark]
            self._send(mark_frame(mark).pack())


class LineStream:
    """Shows the commands of a stream, and gives no records.

    Args:
        state: Where the first piece begins.
        lines: Makes lines of them.
        show: Given the commands, and when they came in, Unix microseconds.
    """

    def __init__(
        self, state: StreamState, lines: MonitorLines, show: Callable[[list[Entry], int], None]
    ) -> None:
        self._decoder = StreamDecoder(state.offset)
        self._lines = lines
        self._show = show

    @property
    def window(self) -> tuple[bytes, int]:
        """What the last piece was decoded from, and the offset where that begins."""
        return self._decoder.window, self._decoder.window_start

    def take(self, data: bytes, replid: str, time_ns: int) -> list[Record]:  # noqa: ARG002
        """Show a piece that came in at a time, Unix nanoseconds.

        Raises:
            RemoteProtocolError: It holds something that is no command.
        """
        self._show(self._decoder.feed(data), time_ns // 1000)
        return []

    def state(self) -> StreamState:
        """Tell where to begin for what has not been shown yet."""
        lines = self._lines
        if lines.held_from >= 0:
            return StreamState(lines.held_from, lines.held_db)
        return StreamState(self._decoder.offset, lines.db)

    def abandon(self) -> int:
        """Drop an open transaction; there are no records of it."""
        self._lines.abandon()
        return 0
