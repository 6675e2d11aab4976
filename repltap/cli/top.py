"""`repltap top`: a running relay on the whole screen, drawn again each second."""

from __future__ import annotations

import os
import queue
import select
import signal
import ssl
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from repltap.cli.options import (
    http_option,
    http_token,
    https_context,
    https_flags,
    token_file_option,
)
from repltap.cli.status import fetch, status_url
from repltap.cli.status_document import decode_status
from repltap.cli.top_view import Order, rows, screen
from repltap.errors import StatusUnavailableError
from repltap.status.relay import RelayStatus

_SLICE_SECONDS = 0.1
"""How late a key, a new size of the terminal, or a status may be shown."""

_QUIT = "qQ\x03\x04"  # ctrl-C and ctrl-D too


@click.command()
@http_option
@token_file_option
@https_flags
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it is asked.",
)
def top(
    address: str,
    token_file: Path | None,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool,
    interval: float,
) -> None:
    """Watch a running relay, with rates and lags.

    Keys: l sorts by lag, r by rate, n by name; q quits. Rate is how fast the journal grows, a
    replica acknowledges, a sink commits; lag is how far that is behind the journal's end, and in
    the master's row how far the journal is behind the master.

    \b
    repltap top --http 127.0.0.1:8380
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "top needs a terminal; `repltap status` prints the same once, --json for programs"
        )
    context = https_context(cacert, cert, key, insecure=insecure)
    url = status_url(address, secure=context is not None)
    token = http_token(token_file)
    first = _ask(url, token, context)  # who is not there is told before the screen is taken
    Top(_Poll(url, interval, token, context), first).run()


def _ask(url: str, token: str = "", context: ssl.SSLContext | None = None) -> RelayStatus:
    try:
        return decode_status(fetch(url, token, context))
    except ValueError as exc:
        raise StatusUnavailableError(
            f"{url} did not answer with a repltap status: {exc}",
            hint="is it another program, or another version of repltap?",
        ) from exc


class _Poll:
    """Asks again and again, in a thread: a relay that hangs must not take the keys with it."""

    def __init__(
        self,
        url: str,
        interval_seconds: float,
        token: str = "",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._context = context
        self._token = token
        self._interval_seconds = interval_seconds
        # Bounded: what nobody takes is not asked for.
        self._found: queue.Queue[RelayStatus | str] = queue.Queue(maxsize=1)

    def start(self) -> None:
        """Begin; it ends with the process."""
        threading.Thread(target=self._run, daemon=True, name="poll").start()

    def take(self) -> RelayStatus | str | None:
        """Give what has come, a status or why there is none; None for nothing yet."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    def _run(self) -> None:
        while True:
            time.sleep(self._interval_seconds)
            try:
                self._found.put(_ask(self._url, self._token, self._context))
            except StatusUnavailableError as exc:
                self._found.put(exc.message)


class Top:
    """The screen, and what it shows.

    Args:
        poll: Where statuses come from; started here.
        first: The first.
    """

    def __init__(self, poll: _Poll, first: RelayStatus) -> None:
        self._poll = poll
        self._status = first
        self._before: RelayStatus | None = None
        self._order = Order.LAG
        self._trouble = ""
        self._console = Console()

    def run(self) -> None:
        """Show it until somebody quits; the terminal is as it was afterwards."""
        self._poll.start()
        size = self._console.size
        with (
            _keyboard() as fd,
            Live(console=self._console, screen=True, auto_refresh=False) as live,
        ):
            self._draw(live)
            while True:
                readable, _, _ = select.select([fd], [], [], _SLICE_SECONDS)
                keys = os.read(fd, 64).decode("ascii", "replace") if readable else ""
                if (readable and not keys) or any(key in _QUIT for key in keys):
                    return
                changed = self._press(keys) | self._look() | (size != self._console.size)
                if changed:
                    size = self._console.size
                    self._draw(live)

    def _press(self, keys: str) -> bool:
        for key in keys.lower():
            if any(key == order.value for order in Order):
                self._order = Order(key)
        return bool(keys)

    def _look(self) -> bool:
        found = self._poll.take()
        if found is None:
            return False
        if isinstance(found, str):
            age = max(0, round(time.time() - self._status.now))
            self._trouble = f"{found}; this is {age} s old"
        else:
            self._before, self._status, self._trouble = self._status, found, ""
        return True

    def _draw(self, live: Live) -> None:
        width, height = self._console.size
        shown = screen(
            self._status,
            rows(self._status, self._before, self._order),
            order=self._order,
            width=width,
            height=height,
            trouble=self._trouble,
        )
        live.update(shown, refresh=True)


@contextmanager
def _keyboard() -> Iterator[int]:
    """Take keys one by one, unseen; whatever ends this, the terminal is put back."""
    fd = sys.stdin.fileno()
    saved = termios.tcgetattr(fd)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A stopped process would leave its screen behind.
    handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        tty.setcbreak(fd)
        yield fd
    finally:
        with suppress(termios.error):  # it has been closed
            termios.tcsetattr(fd, termios.TCSADRAIN, saved)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
