"""A sink's worker: puts everything together, for the process that delivers to one sink.

It is a process of its own so that a slow, broken or greedy sink costs the relay nothing: it yields
the processor to the relay, and what it does to itself stays with it. It never writes to the store
but to `checkpoints/`, where the lock of its sink is held by one process at a time.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from repltap.config import SinkConfig
from repltap.delivery.commands import builtin_table
from repltap.delivery.context import DeliveryContext
from repltap.delivery.filters import RecordFilter, Selection
from repltap.delivery.histories import stored_histories
from repltap.delivery.options import OnGap, Start
from repltap.delivery.plan import Plan
from repltap.delivery.priority import lower_priority
from repltap.delivery.progress import Progress
from repltap.delivery.registry import find_sink
from repltap.delivery.report import Bell, WorkerReport
from repltap.delivery.runner import Pace, Runner
from repltap.delivery.settings import SinkSettings, read_settings
from repltap.errors import DataDirInUseError
from repltap.store.checkpoints import Checkpoints
from repltap.store.metadata import storage_error
from repltap.store.store import CHECKPOINTS_NAME

_REPORT_SECONDS = 1.0
_GC_THRESHOLD = 100_000
"""Records are many small objects in no cycles: looking for cycles every 700 of them, as Python does
by default, takes a fifth of the time."""


def deliver(
    config: SinkConfig,
    *,
    data_dir: Path,
    source: str,
    bell: Bell,
    environ: Mapping[str, str],
    until_end: bool = False,
) -> Progress:
    """Deliver to a sink until the bell says stop; blocking.

    Args:
        config: Of the sink.
        data_dir: Where it is stored.
        source: What records call the upstream.
        bell: Who wakes and stops it, and is told how it is doing.
        environ: The environment, where settings may be.
        until_end: Or until everything that is stored has been delivered.

    Returns:
        What was counted.

    Raises:
        ConfigError: The sink, or a setting of it, is wrong.
        DataDirInUseError: Another process delivers to it.
        StoreError: The checkpoint can't be believed, or the directory not be used.
        SinkError: With `until_end`: it can't deliver.
        Exception: What the sink has raised besides `SinkError`.
    """
    settings = read_settings(config, find_sink(config.type, config.origin), environ)
    stored_histories(data_dir)  # nothing is made in a directory that is not repltap's
    log = logging.getLogger(f"repltap.sink.{config.name}")
    checkpoints = Checkpoints(data_dir / CHECKPOINTS_NAME)
    progress = Progress()
    waiting = _ReportingBell(bell)
    with _locked(checkpoints, config.name), _naming_histories(log, progress):
        runner = Runner(
            config.name,
            settings.sink(settings.options),
            DeliveryContext(settings, source, waiting, progress, log),
            _plan(settings, data_dir, source),
            Pace(
                commit_seconds=settings.commit_seconds,
                commit_bytes=settings.commit_bytes,
                heartbeat_seconds=settings.heartbeat_seconds,
            ),
            checkpoints=checkpoints,
            bell=bell,
            progress=progress,
            log=log,
        )
        waiting.told = runner.report
        runner.run(until_end=until_end)
    return progress


@contextmanager
def _naming_histories(log: logging.Logger, progress: Progress) -> Iterator[None]:
    """Let the lines of a sink's log say which history it has come to."""

    def name(record: logging.LogRecord) -> bool:
        place = progress.place
        if place is not None:
            record.replid = place.replid
        return True

    log.addFilter(name)
    try:
        yield
    finally:
        log.removeFilter(name)


class _ReportingBell:
    """The bell for a sink that waits by itself: it goes on telling how it is doing meanwhile.

    Args:
        bell: The worker's.

    Attributes:
        told: Reports, if that is due.
    """

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.told: Callable[[], None] = lambda: None

    @property
    def stopping(self) -> bool:
        """Tell whether the worker is to commit and end."""
        return self._bell.stopping

    def wait(self, seconds: float) -> None:
        """Wait, but not so long that a report would be late."""
        self._bell.wait(min(seconds, _REPORT_SECONDS))
        self.told()

    def report(self, report: WorkerReport) -> None:
        """Tell how it is doing."""
        self._bell.report(report)

    def want_snapshot(self) -> None:
        """Ask for a snapshot to be stored."""
        self._bell.want_snapshot()


def yield_to_others() -> None:
    """Let the relay, and everything else, go first."""
    lower_priority(0)
    gc.set_threshold(_GC_THRESHOLD, 50, 50)


@contextmanager
def _locked(checkpoints: Checkpoints, name: str) -> Iterator[None]:
    """Hold the lock of a sink; it goes with the process, however that ends."""
    path = checkpoints.lock_path(name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise storage_error(exc, path) from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DataDirInUseError(
                f"another process delivers to the sink {name}",
                path=path,
                hint="a relay that has this sink configured does",
            ) from exc
        except OSError as exc:
            raise storage_error(exc, path) from exc
        yield
    finally:
        os.close(fd)


def _plan(settings: SinkSettings, data_dir: Path, source: str) -> Plan:
    # A master's own modules are unknown: the built-in table has what servers ship with.
    table = builtin_table()
    everything = settings.include == settings.exclude == Selection()
    return Plan(
        data_dir=data_dir,
        source=source,
        table=table,
        mode=settings.snapshot,
        latest=settings.start is Start.LATEST,
        on_gap_stop=settings.on_gap is OnGap.STOP,
        accepts=None if everything else RecordFilter(settings.include, settings.exclude, table),
    )
