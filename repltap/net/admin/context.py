"""What the admin commands need from the connections around them, and what they keep of their own.

The downstream server implements `AdminContext` and `ClientView`; the commands see nothing else of
it. `ClientState` belongs to the commands: the server makes one for each connection, reads it, and
never writes to it. Nothing here opens, waits or reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from repltap.access import DEFAULT_USER, Right
from repltap.status.relay import RelayStatus


class ClientKind(Enum):
    """What a connection is; the values are what CLIENT LIST TYPE and CLIENT KILL TYPE call it."""

    NORMAL = "normal"
    REPLICA = "replica"
    PUBSUB = "pubsub"


@dataclass(slots=True)
class Transaction:
    """What a client has queued since its MULTI.

    Attributes:
        commands: Names with arguments, in order.
        spoilt: One of them was refused: EXEC will refuse all.
    """

    commands: list[list[bytes]] = field(default_factory=list)
    spoilt: bool = False


@dataclass(slots=True)
class ClientState:
    """What a client's own commands have set on its connection.

    Attributes:
        authenticated: It gave its password, or none is required. The server also lets this decide
            about PSYNC, SYNC and REPLCONF.
        username: Whom it authenticated as.
        name: From CLIENT SETNAME or HELLO SETNAME, b"" for none.
        lib_name, lib_ver: From CLIENT SETINFO, b"" for none.
        resp: The protocol version its replies are in, 2 or 3.
        no_evict, no_touch: CLIENT NO-EVICT and NO-TOUCH; shown in CLIENT LIST, without effect.
        channels, patterns: What it is subscribed to.
        queue: The transaction that it is in, None outside.
        executing: Its EXEC is at work.
        last_command: As CLIENT LIST shows it: lower case, `client|list`; "NULL" before the first.
        monitoring: It is in the mode that MONITOR begins, and RESET ends.
        failed_logins: Wrong passwords it has given.
        close_after_reply: The server closes the connection once the reply is written.
    """

    authenticated: bool
    username: str = DEFAULT_USER
    name: bytes = b""
    lib_name: bytes = b""
    lib_ver: bytes = b""
    resp: int = 2
    no_evict: bool = False
    no_touch: bool = False
    channels: set[bytes] = field(default_factory=set)
    patterns: set[bytes] = field(default_factory=set)
    queue: Transaction | None = None
    executing: bool = False
    last_command: str = "NULL"
    monitoring: bool = False
    close_after_reply: bool = False
    failed_logins: int = field(default=0, compare=False)

    @property
    def subscribed(self) -> bool:
        """It listens to something."""
        return bool(self.channels or self.patterns)


class ClientView(Protocol):
    """One connection on the RESP port as CLIENT LIST shows it."""

    @property
    def id(self) -> int:
        """Unique and growing since the start, from 1."""

    @property
    def address(self) -> str:
        """The peer, `host:port`."""

    @property
    def local_address(self) -> str:
        """Our end, `host:port`."""

    @property
    def fd(self) -> int:
        """Its file descriptor, -1 once it is closed."""

    @property
    def kind(self) -> ClientKind:
        """What it is now: a connection becomes a replica when its PSYNC is accepted."""

    @property
    def created_at(self) -> float:
        """When it was accepted, Unix seconds (the clock of `RelayStatus.now`)."""

    @property
    def last_active_at(self) -> float:
        """When a byte last arrived from it, Unix seconds."""

    @property
    def input_buffered_bytes(self) -> int:
        """Received and not parsed yet."""

    @property
    def output_buffered_bytes(self) -> int:
        """Replies (never stream bytes, those stay on disk) not yet given to the kernel."""

    @property
    def state(self) -> ClientState:
        """What its own commands set."""


ClientSession = ClientView
"""The connection whose command is executed: nothing more than any other client shows."""


class AdminContext(Protocol):
    """The relay as its commands see it. Calls return at once; none may block."""

    @property
    def password_required(self) -> bool:
        """Who connects has to log in."""

    def check_password(self, username: bytes, password: bytes) -> bool:
        """Compare in constant time; False where there is no such user."""

    def may(self, username: str, right: Right) -> bool:
        """Tell whether a user has a right now: it may be taken away while it is connected."""

    def status(self) -> RelayStatus:
        """Everything that is known now."""

    def clients(self) -> Sequence[ClientView]:
        """All open connections, by id."""

    def kill(self, connection_id: int) -> bool:
        """Close a connection; False when there is none with this id."""

    def monitor(self, connection_id: int) -> bool:
        """Show a connection the master's writes from now on; False where too many are shown."""

    def stop_monitor(self, connection_id: int) -> None:
        """Show it nothing more."""

    def repoint(self, host: str, port: int) -> str:
        """Follow another master from now on.

        Args:
            host: A host name or address, at most 255 printable characters.
            port: 1 to 65535.

        Returns:
            The line to answer with: `OK`, or `OK Already connected to specified master`.

        Raises:
            ReplTapError: It can't be done; the message is answered.
        """

    def keep_master(self) -> None:
        """Follow the master of now after a restart too, as Redis's CONFIG REWRITE makes it."""

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Tell subscribers; returns how many."""

    def request_shutdown(self, *, now: bool) -> None:
        """Begin an ordered shutdown after this call; `now` skips waiting for replicas."""

    def settings(self) -> Mapping[str, str]:
        """What CONFIG GET shows, by name, in the order to show. Never a secret."""
