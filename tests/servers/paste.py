"""Pasting what a document shows into a terminal, and reading what comes.

A block of a document is a fence with the language `sh`; a fence with `text` or `json` that follows
it with nothing but empty lines between is what it prints. The rules, the same for every document:

- Blocks run in the order of the document, in one interactive bash at a pseudo terminal, as pasted.
- The numbers in PORTS are replaced by free ports, the same number by the same port, and back in
  what is printed.
- `relay/bin/repltap`, or `repltap`, is this tree's, with the Python that runs the tests: nothing is
  installed. Servers and clients that PATH lacks are those of the wheels.
- What is printed is compared with what is shown line by line, after `normal`. A line `...` stands
  for any lines.
- No command may fail (bash's ERR trap), but that `timeout` may end one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.find import cli, flavours
from tests.servers.ports import free_port
from tests.servers.relay import REPOSITORY
from tests.servers.waiting import readable

PORTS = ("6379", "6380", "6381", "6390", "6391", "7000", "8380", "9090")
"""What the documents call their ports; a document that needs another has to name it here."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = ("text", "json")
_SECONDS = 120.0
_LINES, _COLUMNS = 40, 100  # what a document can show

_MARK = re.compile(r"<<(end|failed) (.*?)>>\n?")
_JOB = re.compile(r"^\[\d+\][ +-].*\n?", re.MULTILINE)  # what bash says of its jobs
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_VARYING = (
    (re.compile(r"\b[0-9a-f]{40}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "<time>"),
    (re.compile(r"\b\d+(\.\d+){2,3}\b(?!:)"), "<version>"),
    (re.compile(r"\b\d+(\.\d+)? ?(B|[KMGT]iB|[kmgt]b)\b(/s)?"), "<size>"),
    (re.compile(r"\b\d+ ?(h|m|s|ms)\b( \d+ ?(m|s)\b)?"), "<span>"),
    (re.compile(r"\b\d+\.\d+(e[+-]?\d+)?\b"), "<number>"),
    (re.compile(r"\bREDIS00\d\d\b|\bVALKEY\d{3}\b|\bRDB \d+\b"), "<format>"),
    # Offsets, times in milliseconds and such; numbers of one digit are compared.
    (re.compile(r"\b\d{2,}\b|(?<= at )\d+\b"), "<number>"),
    (re.compile("─+"), "─"),  # the lines of a table are as long as what is in it
)


@dataclass(frozen=True, slots=True)
class Block:
    """Commands of a document.

    Attributes:
        page: The document's file name.
        text: The commands.
        shown: What the document says that they print; None where it does not say.
    """

    page: str
    text: str
    shown: str | None

    @property
    def first(self) -> str:
        """The first line, by which lists of exceptions name the block."""
        return self.text.split("\n", 1)[0]


def fences_without_language(page: Path) -> list[str]:
    """Read what is in the fences that say no language."""
    return [found[2] for found in _FENCE.finditer(page.read_text("utf-8")) if not found[1]]


def blocks(page: Path) -> list[Block]:
    """Read the blocks of a document, in order."""
    text = page.read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    found = []
    for number, fence in enumerate(fences):
        if fence[1] != "sh":
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        follows = (
            after is not None
            and after[1] in _OUTPUT
            and not text[fence.end() : after.start()].strip()
        )
        found.append(Block(page.name, fence[2], after[2] if after and follows else None))
    return found


def normal(text: str) -> str:
    """Replace what differs from run to run, and runs of spaces by one.

    The kinds are those of `_VARYING`: ids, times, versions of servers, sizes, spans of time, and
    numbers of two digits and more or with a point; ports of PORTS stay.
    """
    kept = {port: chr(0xE000 + number) for number, port in enumerate(PORTS)}
    for port, sign in kept.items():
        text = re.sub(rf"\b{port}\b", sign, text)
    text = text.replace("127.0.0.1", "\uf000")
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    text = text.replace("\uf000", "127.0.0.1")
    for port, sign in kept.items():
        text = text.replace(sign, port)
    lines = [re.sub(r"[ \t]+", " ", line).rstrip() for line in text.split("\n")]
    return "\n".join(lines).strip("\n")


def is_as_shown(printed: str, shown: str) -> bool:
    """Tell whether what was printed is what the document shows."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + r"\n"
        for line in normal(shown).split("\n")
    )
    return re.fullmatch(pattern, normal(printed) + "\n") is not None


class Terminal:
    """An interactive bash in a pseudo terminal; it does not echo.

    Attributes:
        directory: Where it is, a stand-in for a clone of the repository.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._ports = {port: str(free_port()) for port in PORTS}
        _furnish(directory)
        self._master, slave = os.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
        path = os.pathsep.join([str(directory / "relay/bin"), clean["PATH"]])
        own = {"PATH": path, "PS1": "", "PS2": "", "TERM": "dumb"}
        # Else Rich takes a dumb terminal for one of 80 columns.
        own |= {"COLUMNS": str(_COLUMNS), "LINES": str(_LINES)}
        # What a block leaves out has the default, which another test may use just then.
        own["REPLTAP_LISTEN"] = f"127.0.0.1:{self._ports['6380']}"
        own["REPLTAP_HTTP"] = f"127.0.0.1:{self._ports['8380']}"
        self._child = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env=clean | own | dict(environ or {}),
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - a terminal of its own, for its jobs
        )
        os.close(slave)
        self._text = ""
        self.paste("trap '[ $? = 124 ] || echo \"<<failed $BASH_COMMAND>>\"' ERR\n")

    def paste(self, text: str) -> str:
        """Paste lines, wait until they are done and return what was printed.

        Raises:
            AssertionError: A command failed, or the end does not come.
        """
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        os.write(self._master, f'{text}\necho "<<end $?>>"\n'.encode())
        deadline = time.monotonic() + _SECONDS
        while not (end := re.search(r"<<end \d+>>\r?\n", self._text)):
            ready = readable(self._master, deadline - time.monotonic())
            assert ready, f"it does not end:\n{text}\nprinted so far:\n{self._text}"
            self._text += os.read(self._master, 1 << 16).decode("utf-8", "replace")
        printed, self._text = self._text[: end.start()], self._text[end.end() :]
        printed = _JOB.sub("", _ANSI.sub("", printed.replace("\r\n", "\n")))
        for port, free in self._ports.items():
            printed = re.sub(rf"\b{free}\b", port, printed)
        assert "<<failed " not in printed, f"a command failed:\n{text}\nprinted:\n{printed}"
        return printed

    def close(self) -> None:
        """End the shell; what it has started is for the lab to end."""
        self._child.kill()
        self._child.wait()
        os.close(self._master)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _furnish(directory: Path) -> None:
    """Put in place what a clone has, what the installation makes, and what PATH may lack."""
    programs = directory / "relay" / "bin"
    programs.mkdir(parents=True)
    for name in ("deploy", "docs"):
        (directory / name).symlink_to(REPOSITORY / name)
    python = shlex.quote(sys.executable)
    script = f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(REPOSITORY))} exec {python} -m repltap "$@"\n'
    (programs / "repltap").write_text(script)
    (programs / "repltap").chmod(0o755)
    server = next((f.binary for f in flavours().values() if f.vendor == "redis"), None)
    for name, program in (("redis-server", server), ("redis-cli", cli())):
        if shutil.which(name) is None and program is not None:
            (programs / name).symlink_to(program)
