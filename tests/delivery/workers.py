"""Worker processes as the tests of their supervisors have them: who plays them, what they said."""

from __future__ import annotations

import asyncio
from pathlib import Path

from repltap.config import LogConfig, SinkConfig
from repltap.delivery.messages import Start
from repltap.delivery.report import WorkerReport
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.stored import REPLID


def start_of(play: str, name: str = "a-b") -> Start:
    return Start(
        data_dir=Path("/d"),
        source="s",
        sink=SinkConfig(
            name=name, type="redis", settings={"play": play, "password": "hunter2"}, origin="here"
        ),
        log=LogConfig(),
    )


class Heard:
    """Remembers what a worker said."""

    def __init__(self) -> None:
        self.reports: list[WorkerReport] = []
        self.waited = 0
        self.wanted = 0
        self.faults: list[str] = []
        self.signal = asyncio.Event()

    def reported(self, report: WorkerReport) -> None:
        self.reports.append(report)
        self.signal.set()

    def waits(self) -> None:
        self.waited += 1
        self.signal.set()

    def wants_snapshot(self) -> None:
        self.wanted += 1
        self.signal.set()

    def faulty(self, reason: str) -> None:
        self.faults.append(reason)
        self.signal.set()

    async def until(self, attribute: str) -> None:
        while not getattr(self, attribute):
            self.signal.clear()
            await self.signal.wait()


def save(path: Path, sink: str, number: int, offset: int) -> None:
    """Save a checkpoint as a worker of this sink would."""
    place = {"v": 1, "phase": "stream", "history": number, "replid": REPLID, "offset": offset}
    Checkpoints(path).save(Checkpoint(sink=sink, place=place, state={}, saved_at=5.0))
