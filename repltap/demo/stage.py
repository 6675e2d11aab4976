"""The demo itself: build the stage, play, compare, take everything down again.

One thread and one loop: a batch of writes every tick, a line of progress every so many. The relay
is a child process like the servers, and is started again when somebody kills it: that it comes
back with a partial resync is the thing to see.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from repltap.client import Connection
from repltap.demo.observe import Observed, Sample, Verdict, compare, progress_line
from repltap.demo.scenery import Ports, Scene, introduction
from repltap.demo.servers import (
    LOCALHOST,
    Child,
    PortClaims,
    ServerBinary,
    audit_sink,
    find_server,
    server_command,
)
from repltap.demo.traffic import Traffic
from repltap.errors import ReplTapError

TICK_SECONDS = 0.05
START_PATIENCE_SECONDS = 120.0  # a busy machine starts five processes in a few seconds
COMPARE_PATIENCE_SECONDS = 60.0
MAX_RELAY_RESTARTS = 100  # a relay that can't be started must not be tried for ever
_PREFERRED = Ports(master=7379, relay=7380, replicas=(7381, 7382), http=8380)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What the person asked for.

    Attributes:
        server: Program to use as server, None for the embedded one.
        rate: Writes a second.
        seconds: When to stop, None for ctrl-C.
        directory: Where logs and data are kept, None for a temporary place.
    """

    server: str | None = None
    rate: int = 2000
    seconds: float | None = None
    directory: Path | None = None


class _StoppedEarlyError(Exception):
    """The person wants to stop, and there is nothing to compare yet, or no time for it."""


class StopRequests:
    """Counts ctrl-C and SIGTERM; the loops look at it between their steps.

    An exception out of the handler could strike anywhere: between the start of a process and the
    note that it runs, or in the middle of a reply.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.count = 0
        self._kept: dict[signal.Signals, Any] = {}  # Any: as signal.signal declares handlers

    def __enter__(self) -> StopRequests:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._kept[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def run_demo(settings: DemoSettings, say: Callable[[str], None]) -> int:
    """Play the demo until ctrl-C, SIGTERM or its time is over.

    Args:
        settings: What was asked for.
        say: Prints one line.

    Returns:
        0 if all datasets were equal at the end, else 1.

    Raises:
        ReplTapError: A process could not be started, or ended by itself. All others were
            stopped before.
    """
    binary = find_server(settings.server)
    directory = settings.directory or Path(tempfile.mkdtemp(prefix="repltap-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    with StopRequests() as stop:
        stage: Stage | None = None
        try:
            stage = Stage(binary, directory, settings, say, stop)
            return stage.play()
        finally:
            if stage is not None:
                stage.take_down()
            if settings.directory is None:
                shutil.rmtree(directory, ignore_errors=True)


class Stage:
    """The processes of one demo and what is going on between them."""

    def __init__(
        self,
        binary: ServerBinary,
        directory: Path,
        settings: DemoSettings,
        say: Callable[[str], None],
        stop: StopRequests,
    ) -> None:
        """Choose ports and commands; nothing is started yet."""
        self._claims = PortClaims()
        self.ports = Ports(
            master=self._claims.take(_PREFERRED.master),
            relay=self._claims.take(_PREFERRED.relay),
            replicas=tuple(self._claims.take(port) for port in _PREFERRED.replicas),
            http=self._claims.take(_PREFERRED.http),
        )
        self._binary = binary
        self._directory = directory
        self._settings = settings
        self._say = say
        self._stop = stop
        self._live = sys.stdout.isatty()
        self._traffic = Traffic()
        self._writer: Connection | None = None
        self._writes = 0
        self._restarts = 0
        self._audit = directory / "audit"
        self._audit.mkdir(exist_ok=True)
        self._master = self._server("master", self.ports.master)
        self._relay = self._relay_child()
        self._replicas = [
            self._server(f"replica {number}", port, "--replicaof", LOCALHOST, str(self.ports.relay))
            for number, port in enumerate(self.ports.replicas, 1)
        ]
        self._observed = [
            Observed(child.name, child.port)
            for child in (self._master, self._relay, *self._replicas)
        ]

    def play(self) -> int:
        """Do everything from the first process to the verdict."""
        try:
            self._set_up()
            self._perform()
            self._show("")
            self._say(
                "stopping: waiting until everyone has all of it ... (ctrl-C again: stop at once)"
            )
            verdict = self._compare()
        except _StoppedEarlyError:
            self._say("stopped before the datasets were compared")
            return 1
        self._say(verdict.text)
        stats = self._observed[0].info("stats")
        self._say(
            f"{self._writes} writes; the master served {stats.get('sync_full', '?')} full and "
            f"{stats.get('sync_partial_ok', '?')} partial resyncs for {len(self._replicas)} "
            "replicas behind the relay"
        )
        return 0 if verdict.equal else 1

    def take_down(self) -> None:
        """Stop all processes, those that read from others first."""
        for node in self._observed:
            node.close()
        if self._writer is not None:
            self._writer.close()
        for child in (*self._replicas, self._relay, self._master):
            child.stop()
        self._claims.close()
        where = self._settings.directory
        self._say(f"all processes stopped{f'; logs and data are in {where}' if where else ''}")

    def _set_up(self) -> None:
        self._say(
            f"starting {self._binary.name} as master and two replicas, repltap between them ..."
        )
        self._master.start()
        self._until(self._master, lambda: bool(self._observed[0].info("server")))
        self._write(self._traffic.initial())
        self._relay.start()
        self._until(self._relay, self._observed[1].linked)
        for child, node in zip(self._replicas, self._observed[2:], strict=True):
            child.start()
            self._until(child, node.linked)
        scene = Scene(self.ports, self._binary, self._relay.pid, self._directory, self._audit)
        for line in introduction(scene):
            self._say(line)

    def _compare(self) -> Verdict:
        asked = self._stop.count

        def patient() -> bool:
            if self._stop.count > asked:  # once more: the person does not want to wait
                raise _StoppedEarlyError
            return time.monotonic() < deadline

        deadline = time.monotonic() + COMPARE_PATIENCE_SECONDS
        return compare(self._observed[0], self._observed[2:], patient)

    def _until(self, child: Child, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while not ready():
            if self._stop.count:
                raise _StoppedEarlyError
            if child.exit_code is not None:
                raise ReplTapError(f"{child.name} ended: {child.last_words()}")
            if time.monotonic() >= deadline:
                raise ReplTapError(
                    f"{child.name} is not ready after {START_PATIENCE_SECONDS:.0f} seconds: "
                    f"{child.last_words()}",
                    hint="run again with --dir to keep the logs",
                )
            time.sleep(TICK_SECONDS)

    def _perform(self) -> None:
        started = time.monotonic()
        before = self._sample()
        due = started
        seconds = self._settings.seconds
        while not self._stop.count and (seconds is None or due - started < seconds):
            self._write(self._traffic.batch(max(1, round(self._settings.rate * TICK_SECONDS))))
            self._watch_children()
            if time.monotonic() - before.at >= (0.5 if self._live else 5.0):
                now = self._sample()
                self._show(progress_line(before, now))
                before = now
            # A machine that can't keep up writes less; it does not catch up in a burst.
            due = max(due + TICK_SECONDS, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _write(self, commands: list[tuple[bytes | str | int, ...]]) -> None:
        if self._writer is None:
            self._writer = Connection(LOCALHOST, self.ports.master)
        try:
            replies = self._writer.pipeline(commands)
        except OSError as exc:
            raise ReplTapError(f"the master can't be written to: {exc}") from exc
        self._writes += len(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise ReplTapError(f"the master refused a write: {reply}")

    def _watch_children(self) -> None:
        for child in (self._master, *self._replicas):
            if child.exit_code is not None:
                raise ReplTapError(f"{child.name} ended by itself: {child.last_words()}")
        if self._relay.exit_code is None:
            return
        # Somebody killed it, which the introduction invites to.
        self._restarts += 1
        if self._restarts > MAX_RELAY_RESTARTS:
            raise ReplTapError(f"the relay does not stay up: {self._relay.last_words()}")
        code = self._relay.exit_code
        self._relay.start()
        self._show("")
        self._say(f"the relay ended (exit code {code}); started again as pid {self._relay.pid}")

    def _sample(self) -> Sample:
        # The master last: what the others have can't be ahead of it, so the lag is never too low.
        offsets = {node.name: node.offset() for node in reversed(self._observed)}
        ordered = {node.name: offsets[node.name] for node in self._observed}
        return Sample(time.monotonic(), self._writes, ordered)

    def _show(self, line: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r\x1b[K" + line[:width])
            sys.stdout.flush()
        elif line:
            self._say(line)

    def _server(self, name: str, port: int, *extra: str) -> Child:
        directory = self._directory / name.replace(" ", "-")
        directory.mkdir(exist_ok=True)
        command = server_command(self._binary, port, directory, *extra)
        return Child(name, command, port, directory / "server.log")

    def _relay_child(self) -> Child:
        directory = self._directory / "relay"
        directory.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "repltap", "run"]
        command += ["--upstream", f"redis://{LOCALHOST}:{self.ports.master}"]
        command += ["--listen", f"{LOCALHOST}:{self.ports.relay}"]
        command += ["--http", f"{LOCALHOST}:{self.ports.http}"]
        command += ["--data-dir", str(directory / "data")]
        command += ["--sink", audit_sink(self._audit)]
        return Child("relay", command, self.ports.relay, directory / "repltap.log")
