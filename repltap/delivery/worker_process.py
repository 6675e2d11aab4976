"""One worker process: how it is started, what it prints, how it is ended.

Its settings go over the line, so nothing secret is in its command line. Of the environment it gets
nothing of repltap's but the variables of its own sink. What it prints on stderr goes to this
process's log, with the sink's name; what it floods with is counted and dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Generic, Self, TypeVar

import orjson

from repltap.delivery.channel import Hearer, LineEnd, WorkerChannel
from repltap.delivery.messages import Start
from repltap.delivery.options import COMMON
from repltap.delivery.priority import lower_priority
from repltap.delivery.registry import find_sink
from repltap.errors import ConfigError
from repltap.options import ENVIRONMENT_PREFIX
from repltap.sink_config import SinkConfig
from repltap.sinkspec import sink_variable

MODULE = "repltap.delivery.relayed"

_READ_BYTES = 64 << 10
_MAX_LINE_BYTES = 16 << 10
"""A traceback as a JSON line fits; more of a line is cut off."""

_LAST_WORDS_SECONDS = 1.0
"""How long what it has printed is waited for when it has ended."""

_MAX_LINES = 50
"""A second: more is nothing that anybody reads, and each costs the relay time."""


_C = TypeVar("_C", bound=LineEnd)


class ChildProcess(Generic[_C]):
    """A process that runs. Use `start`; somebody has to await `ended`.

    Attributes:
        channel: The line to it.
        pid: Of the process.
    """

    def __init__(
        self, log: logging.Logger, process: asyncio.subprocess.Process, channel: _C, stderr: _Pipe
    ) -> None:
        self.channel = channel
        self.pid = process.pid
        self._process = process
        self._stderr = stderr
        self._ended = False
        self._printed = _Printed(log)

    @classmethod
    async def launch(
        cls,
        module: str,
        arguments: tuple[str, ...],
        environ: Mapping[str, str],
        channel: Callable[[], _C],
        log: logging.Logger,
    ) -> Self:
        """Start a module as a process, with the number of its end of the line as last argument.

        Args:
            module: Which.
            arguments: What comes before; everybody can see them.
            environ: Its environment.
            channel: Makes this end of the line.
            log: Where what it prints goes.

        Raises:
            OSError: It can't be started.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        stderr = process = None
        try:
            with theirs:
                stderr = await _Pipe.open()
                process = await asyncio.create_subprocess_exec(
                    *_command(module, *arguments, str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stderr=stderr.end,
                    pass_fds=(theirs.fileno(),),
                    env=environ,
                    # Ctrl-C on the terminal is for the relay, which stops its workers in order.
                    start_new_session=True,
                )
            stderr.given()
            lower_priority(process.pid)
            _, made = await loop.create_connection(channel, sock=ours)
        except BaseException:
            ours.close()
            if stderr is not None:
                stderr.close()
            if process is not None:
                process.kill()
                await process.wait()
            raise
        return cls(log, process, made, stderr)

    async def ended(self) -> str:
        """Wait for its end, and end what it has left behind; cancelling kills it.

        Returns:
            How it ended, "" for as asked.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            try:
                code = await self._process.wait()
                # What it has started may hold its stderr and its sink's lock; what has left its
                # session can't be ended, and is not waited for.
                self.kill()
                await asyncio.wait([reading], timeout=_LAST_WORDS_SECONDS)
            except asyncio.CancelledError:
                self.kill()
                await self._process.wait()
                raise
            finally:
                reading.cancel()
                self._ended = True
                self._printed.end()
                self._stderr.close()
                self.channel.close()
        if code < 0:
            return f"its process was ended by signal {-code}"
        return f"its process ended with code {code}" if code else ""

    async def _read(self) -> None:
        while data := await self._stderr.read():
            self._printed.take(data, asyncio.get_running_loop().time())

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Send it to whatever the sink has started, too: that may hold its stderr open."""
        if self._ended:
            return  # the number may be another's by now
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left, or only who has become another user


class WorkerProcess(ChildProcess[WorkerChannel]):
    """The process of a sink."""

    @classmethod
    async def start(cls, start: Start, hearer: Hearer) -> WorkerProcess:
        """Start a worker and tell it what to do.

        Args:
            start: What.
            hearer: Told of what it says.

        Raises:
            OSError: It can't be started.
        """
        name = start.sink.name
        loop = asyncio.get_running_loop()
        process = await cls.launch(
            MODULE,
            (name,),
            environment(os.environ, _variables(start.sink)),
            lambda: WorkerChannel(hearer, loop.time),
            logging.getLogger(f"repltap.sink.{name}"),
        )
        process.channel.start(start)
        return process


class _Pipe:
    """What a worker prints, for as long as this process wants to hear it. Use `open`.

    It is not asyncio's own: with that the end of a process is not told before everybody who has
    inherited the pipe has closed it (`asyncio.base_subprocess`).

    Attributes:
        end: What to give to the worker.
    """

    def __init__(
        self, end: int, reader: asyncio.StreamReader, transport: asyncio.ReadTransport
    ) -> None:
        self.end = end
        self._reader = reader
        self._transport = transport

    @classmethod
    async def open(cls) -> _Pipe:
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader(limit=_READ_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
        )
        return cls(theirs, reader, transport)

    def given(self) -> None:
        """Leave the other end to the worker."""
        if self.end >= 0:
            os.close(self.end)
            self.end = -1

    async def read(self) -> bytes:
        """Give what has come, b"" for nothing any more."""
        return await self._reader.read(_READ_BYTES)

    def close(self) -> None:
        """Let go of both ends; can be repeated."""
        self.given()
        self._transport.close()


class _Printed:
    """What a worker prints on stderr, line by line to the log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._rest = b""
        self._second = 0.0
        self._lines = 0
        self._dropped = 0

    def take(self, data: bytes, now: float) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MAX_LINE_BYTES]
        if now - self._second >= 1.0:
            self._say_dropped()
            self._second, self._lines = now, 0
        for line in lines:
            self._lines += 1
            if self._lines > _MAX_LINES:
                self._dropped += 1
            elif line:
                self._write(line[:_MAX_LINE_BYTES])

    def end(self) -> None:
        if self._rest:
            self._write(self._rest)
        self._rest = b""
        self._say_dropped()

    def _say_dropped(self) -> None:
        if self._dropped:
            self._log.warning("%d more lines were printed, and dropped", self._dropped)
        self._dropped = 0

    def _write(self, line: bytes) -> None:
        """Log a line: at the worker's own level if it is one of its log, else as a warning."""
        level, message, replid = "warning", "", ""
        if line.startswith(b'{"time":'):
            try:
                said = orjson.loads(line)
                level, message = str(said["level"]), str(said["message"])
                if (named := str(said.get("replid", ""))).isalnum():
                    replid = named  # else a sink could print what steers a terminal
                if "exception" in said:
                    message = f"{message}\n{said['exception']}"
            except (ValueError, KeyError, TypeError):
                message = ""
        number = logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
        for each in (message or line.decode("utf-8", "replace")).splitlines():
            self._log.log(number, "%s", each, extra={"replid": replid})


def _command(module: str, *arguments: str) -> list[str]:
    """Make the command line: what `ps` shows is what runs, and for which sink."""
    found = [sys.executable]
    # Not from the working directory, unless this process is run from there too.
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - as it stands there
        found.append("-P")
    return [*found, "-m", module, *arguments]


def environment(environ: Mapping[str, str], own: Collection[str] = ()) -> dict[str, str]:
    """Leave out of an environment what is repltap's, but for the variables `own`."""
    return {
        variable: value
        for variable, value in environ.items()
        if variable in own or not variable.startswith(ENVIRONMENT_PREFIX)
    }


def _variables(sink: SinkConfig) -> set[str]:
    # Whole names: what begins like the variables of `kafka` may be those of `kafka-eu`.
    try:
        options = (*COMMON, *find_sink(sink.type, sink.origin).options)
    except ConfigError:  # it is no longer installed, which its worker says
        options = COMMON
    return {sink_variable(sink.name, option.name) for option in options}
