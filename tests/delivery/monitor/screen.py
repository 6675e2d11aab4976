"""A relay's end of a display, which keeps what it is sent."""

from __future__ import annotations

from repltap.delivery.monitor.display import Display
from repltap.delivery.monitor.messages import Frame, Frames, Kind, Place, mark_of


class Screen:
    """What has been sent, in order: lines without time and address, and numbers of marks.

    Attributes:
        places: Of the frames of lines.
        failed: Why nothing more is shown.
    """

    def __init__(self) -> None:
        self.seen: list[str | int] = []
        self.places: list[Place] = []
        self.failed = ""
        self.frames: list[Frame] = []
        self._incoming: list[tuple[int, Place]] = []
        self._frames = Frames()
        self.display = Display(self._sent, self._look, frozenset([b"REPLCONF"]))

    def will_mark(self, mark: int, number: int, offset: int) -> None:
        """The relay sends a mark, which is found with the next look."""
        self._incoming.append((mark, Place(number, offset)))

    def take(self) -> list[str | int]:
        """Give what has been seen since the last time."""
        self.display.flush()
        seen, self.seen = self.seen, []
        return seen

    def _look(self) -> None:
        for mark, place in self._incoming:
            self.display.mark(mark, place)
        self._incoming.clear()

    def _sent(self, data: bytes) -> None:
        for frame in self._frames.receive(data):
            self.frames.append(frame)
            if frame.kind is Kind.MARK:
                self.seen.append(mark_of(frame))
            elif frame.kind is Kind.FAILED:
                self.failed = frame.payload.decode()
            else:
                assert frame.payload.endswith(b"\r\n")
                self.places.append(Place(frame.number, frame.offset))
                self.seen += [_short(line) for line in frame.payload.splitlines()]


def _short(line: bytes) -> str:
    before, _, command = line.decode().partition("] ")
    return f"{before.partition('[')[2].split()[0]} {command}"
