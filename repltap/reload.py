"""SIGHUP: what may change while the relay runs is read again, each part all or nothing.

A part is a name and a function that reads: files, so it runs in a thread of its own and may take
its time. It returns a second function, which puts what was read into effect on the event loop and
can't fail. When reading fails the part stays as it was, and the others are read all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from repltap.errors import ReplTapError
from repltap.status.access import ReloadStatus
from repltap.threads import in_thread, outcome

log = logging.getLogger("repltap.app")

_READ_SECONDS = 10.0
"""Files on a disk are read in less; one on a dead network file system must not keep the others
from being read."""

Take = Callable[[], str]
"""Puts what was read into effect, on the event loop, and says in a few words what has changed."""

Read = Callable[[], Take]
"""Reads, in a thread.

Raises:
    ReplTapError: What was read can't be used; its text names the file and no secret.
"""

UNCHANGED = "nothing changed"
"""What a `Take` says then."""


class Reloads:
    """The parts that can be read again.

    Args:
        begun, ended: Called around each reload, for the service manager.
    """

    def __init__(
        self,
        begun: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._begun, self._ended = begun, ended
        self._parts: dict[str, Read] = {}
        self._busy: set[str] = set()  # their threads have not come back
        self._asked = asyncio.Event()
        self._all = False
        self._doubted: set[str] = set()
        self._latest: dict[str, ReloadStatus] = {}

    @property
    def latest(self) -> tuple[ReloadStatus, ...]:
        """How the last one went, by part; none before the first."""
        return tuple(self._latest.values())

    def add(self, part: str, read: Read) -> None:
        """Register a part.

        Args:
            part: As it is called in the log: `upstream password`.
            read: Called at each reload.
        """
        self._parts[part] = read

    def ask(self) -> None:
        """Reload soon; asked for again before it has begun, it is done once."""
        self._all = True
        self._asked.set()

    def doubt(self, part: str) -> None:
        """Look soon whether a part has changed: what is in use was refused.

        That may be again and again, so it is told only if there is something new.
        """
        self._doubted.add(part)
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            doubted, self._doubted = self._doubted, set()
            if self._all:
                self._all = False
                self._begun()
                for part in self._parts:
                    self._tell(await self._reload(part))
                self._ended()
                continue
            for part in doubted & set(self._parts):
                status, before = await self._reload(part), self._latest.get(part)
                known = before is not None and status.error == before.error
                if status.result != UNCHANGED and not (status.error and known):
                    self._tell(status)

    def _tell(self, status: ReloadStatus) -> None:
        self._latest[status.part] = status
        if status.error:
            log.error("%s: not reloaded, the old one stays in use: %s", status.part, status.error)
        else:
            log.info("%s: reloaded: %s", status.part, status.result)

    async def _reload(self, part: str) -> ReloadStatus:
        try:
            result = await self._read(part, self._parts[part])
        except ReplTapError as failure:
            return ReloadStatus(part=part, at=time.time(), error=str(failure))
        except Exception:
            # An error of ours; the relay goes on with what it has.
            log.exception("%s: an internal error while it was read again", part)
            return ReloadStatus(part=part, at=time.time(), error="internal error")
        return ReloadStatus(part=part, at=time.time(), result=result)

    async def _read(self, part: str, read: Read) -> str:
        if part in self._busy:
            raise ReplTapError("its file is still being read since the last time")
        self._busy.add(part)
        done = in_thread(f"reload {part}", read)
        done.add_done_callback(lambda _: self._busy.discard(part))
        try:
            async with asyncio.timeout(_READ_SECONDS):
                take = await outcome(done)
        except TimeoutError as failure:
            raise ReplTapError(
                f"its file can't be read within {_READ_SECONDS:g} s",
                hint="is it a pipe, or on a network file system that is away?",
            ) from failure
        return take()
