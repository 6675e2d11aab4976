"""Which clients CLIENT KILL and CLIENT LIST mean: all forms up to Redis 7.4."""

from __future__ import annotations

from dataclasses import dataclass

from repltap.access import DEFAULT_USER
from repltap.net.admin.command import SYNTAX_ERROR, Call, RefusedError, parse_integer
from repltap.net.admin.context import ClientKind, ClientView

_KINDS = {
    b"normal": (ClientKind.NORMAL,),
    b"replica": (ClientKind.REPLICA,),
    b"slave": (ClientKind.REPLICA,),
    b"pubsub": (ClientKind.PUBSUB,),
    # The link to the master is no client of this port; REPLICAOF is what cuts it.
    b"master": (),
}


@dataclass(slots=True)
class ClientFilter:
    """All that is given must hold; `None` is not asked for."""

    connection_id: int | None = None
    address: str | None = None
    local_address: str | None = None
    kinds: tuple[ClientKind, ...] | None = None
    username: str | None = None
    older_than_seconds: int | None = None
    skip_me: bool = True

    def accepts(self, client: ClientView, *, now: float, is_me: bool) -> bool:
        """Tell whether `client` is meant."""
        if is_me and self.skip_me:
            return False
        return (
            self.connection_id in (None, client.id)
            and self.address in (None, client.address)
            and self.local_address in (None, client.local_address)
            and (self.kinds is None or client.kind in self.kinds)
            and self.username in (None, client.state.username)
            and (
                self.older_than_seconds is None
                or int(now - client.created_at) >= self.older_than_seconds
            )
        )


def parse_kinds(name: bytes) -> tuple[ClientKind, ...]:
    """Read a TYPE argument (Redis `getClientTypeByName`)."""
    kinds = _KINDS.get(name.lower())
    if kinds is None:
        raise RefusedError(b"ERR Unknown client type '%b'" % name[:128])
    return kinds


def parse_kill(call: Call) -> ClientFilter:
    """Read CLIENT KILL's filters; `args[2:]` in pairs (Redis `clientKillCommand`)."""
    wanted = ClientFilter()
    options = call.args[2:]
    for at in range(0, len(options), 2):
        if at + 1 == len(options):
            raise RefusedError(SYNTAX_ERROR)
        _add_filter(wanted, options[at].lower(), options[at + 1])
    return wanted


def _add_filter(wanted: ClientFilter, option: bytes, value: bytes) -> None:
    match option:
        case b"id":
            wanted.connection_id = _positive(
                value,
                not_integer=b"ERR client-id should be greater than 0",
                too_small=b"ERR client-id should be greater than 0",
            )
        case b"maxage":
            wanted.older_than_seconds = _positive(
                value,
                not_integer=b"ERR maxage is not an integer or out of range",
                too_small=b"ERR maxage should be greater than 0",
            )
        case b"type":
            wanted.kinds = parse_kinds(value)
        case b"addr":
            wanted.address = _text(value)
        case b"laddr":
            wanted.local_address = _text(value)
        case b"user":
            if value != DEFAULT_USER.encode():
                raise RefusedError(b"ERR No such user '%b'" % value[:128])
            wanted.username = DEFAULT_USER
        case b"skipme":
            if value.lower() not in (b"yes", b"no"):
                raise RefusedError(SYNTAX_ERROR)
            wanted.skip_me = value.lower() == b"yes"
        case _:
            raise RefusedError(SYNTAX_ERROR)


def _positive(value: bytes, *, not_integer: bytes, too_small: bytes) -> int:
    number = parse_integer(value)
    if number is None:
        raise RefusedError(not_integer)
    if number <= 0:
        raise RefusedError(too_small)
    return number


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
