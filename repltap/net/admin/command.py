"""What one admin command is, what it gets, and how it refuses.

`Command` describes a command the way COMMAND INFO and COMMAND DOCS tell it; `Call` is one use of
it. The groups (`connection`, `client`, …) each export a tuple of commands; `dispatch` joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repltap.errors import ReplTapError
from repltap.net.admin.context import AdminContext, ClientSession, ClientState

SYNTAX_ERROR = b"ERR syntax error"


class RefusedError(ReplTapError):
    """A command is answered with an error.

    Args:
        text: The whole error line without the dash: code and message.
    """

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("utf-8", "replace"))
        self.text = text


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a command.

    Attributes:
        context: The relay.
        session: The connection it came from.
        args: The command's name and arguments; for a subcommand both names come first.
        commands: All that can be called, by lower-case name.
    """

    context: AdminContext
    session: ClientSession
    args: list[bytes]
    commands: Mapping[str, Command]

    @property
    def state(self) -> ClientState:
        """What the client's commands have set, to be changed by this one."""
        return self.session.state

    @property
    def resp(self) -> int:
        """The protocol version to answer in."""
        return self.session.state.resp

    def option(self, index: int) -> bytes:
        """Give an argument in lower case, for comparing with an option's name."""
        return self.args[index].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command or subcommand.

    Attributes:
        name: Lower case; a subcommand's is `container|name`.
        arity: As COMMAND INFO says it: the exact number of arguments with the name, or minus the
            least number.
        handler: Makes the reply; None for a container, whose subcommands do.
        summary: One line.
        since: The Redis version it came with.
        group: As in COMMAND DOCS.
        flags: As COMMAND INFO lists them.
        categories: ACL categories without the at sign.
        usage: Arguments as HELP shows them.
        subcommands: By name within the container.
    """

    name: str
    arity: int
    summary: str
    since: str
    group: str
    flags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    usage: str = ""
    handler: Callable[[Call], bytes] | None = None
    subcommands: tuple[Command, ...] = ()

    @property
    def short_name(self) -> str:
        """The name within its container."""
        return self.name.rpartition("|")[2]

    def subcommand(self, name: str) -> Command | None:
        """Find a subcommand by its lower-case name."""
        return next((each for each in self.subcommands if each.short_name == name), None)

    def accepts(self, count: int) -> bool:
        """Tell whether it may be called with so many arguments, its name included."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity


def parse_integer(raw: bytes) -> int | None:
    """Read a signed 64-bit decimal as strictly as Redis `string2ll`; None when it is not one."""
    if len(raw) > 20:
        return None
    digits = raw.removeprefix(b"-")
    if not digits.isdigit() or (digits.startswith(b"0") and raw != b"0"):
        return None
    number = int(raw)
    return number if -(2**63) <= number < 2**63 else None


def printable(raw: bytes) -> bool:
    """Tell whether every byte is visible ASCII: what Redis `validateClientAttr` lets names be."""
    return all(33 <= byte <= 126 for byte in raw)
