"""What goes wrong with a sink, for the log: the same error again and again is told now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from repltap.errors import (
    CorruptStoreError,
    DiskFullError,
    ProtocolError,
    RdbError,
    SinkError,
    SinkErrorKind,
    StoreError,
)

_REMIND_SECONDS = 60.0
"""The same error is logged once, then this often."""

_MAX_ERRORS = 16
"""Different ones that are remembered: an error whose text is never the same twice must not take
memory."""


@dataclass(slots=True)
class _Told:
    at: float
    more: int = 0


class Trouble:
    """The errors since the last commit.

    Args:
        log: Where they are told.
        clock: Seconds that never go back.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._hushed = 0  # since an error was told, or that it is over
        self._said_open = False  # since an error was told

    def tell(self, failure: SinkError, what: str = "") -> None:
        """Log an error, unless the same has been lately.

        Args:
            failure: Which; an ERROR where it does not pass by itself, else a WARNING.
            what: What failed, to be put before it.
        """
        text, now = f"{what}{failure}", self._clock()
        told = self._told.get(text)
        if told is not None and now - told.at < _REMIND_SECONDS:
            told.more += 1
            self._hushed += 1
            return
        more = f" ({told.more} more times since it was told last)" if told and told.more else ""
        level = logging.WARNING if failure.passes else logging.ERROR
        self._log.log(level, "%s%s", text, more)
        if len(self._told) >= _MAX_ERRORS:
            self._told.clear()
        self._told[text] = _Told(now)
        self._hushed, self._said_open = 0, False

    def opened_again(self) -> None:
        """Log that the target is open; not each time, where it opens and fails in turn."""
        if not self._said_open:
            self._log.info("the target is open again")
            self._hushed, self._said_open = 0, True

    def over(self) -> None:
        """Take note of a commit: the next error is a new one."""
        if self._hushed:
            self._log.info("delivers again")
        self._told.clear()
        self._hushed = 0


def as_failure(exc: SinkError | StoreError | RdbError | ProtocolError) -> SinkError:
    """Say as a sink's error what has gone wrong in the store."""
    if isinstance(exc, SinkError):
        return exc
    passes = isinstance(exc, StoreError) and not isinstance(exc, CorruptStoreError)
    kind = SinkErrorKind.FULL if isinstance(exc, DiskFullError) else SinkErrorKind.SOURCE
    return SinkError(exc.message, hint=exc.hint, kind=kind, passes=passes)
