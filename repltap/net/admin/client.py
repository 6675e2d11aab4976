"""CLIENT: who is connected, under which names, and closing connections.

CLIENT KILL TYPE normal or pubsub, which Sentinel sends when it re-points a replica, never touches
the replicas below us: they would all sync again for nothing.
"""

from __future__ import annotations

from repltap.net.admin.client_filter import ClientFilter, parse_kill, parse_kinds
from repltap.net.admin.command import (
    SYNTAX_ERROR,
    Call,
    Command,
    RefusedError,
    parse_integer,
    printable,
)
from repltap.net.admin.context import ClientKind, ClientState, ClientView
from repltap.protocol import reply

MAX_NAME_BYTES = 256
"""Redis sets no limit but its query buffer's; names are held as long as the connection, so one
is needed here, and 256 is several times what client libraries send."""


def set_name(state: ClientState, name: bytes) -> None:
    """Name a connection, for CLIENT SETNAME and HELLO SETNAME; b"" takes the name away."""
    _check_attribute(b"Client names", name)
    state.name = name


def client_line(client: ClientView, now: float) -> str:
    """Describe a connection as Redis 7.2 `catClientInfoString` does.

    What only Redis has (its own buffers' sizes) is 0, as for a client there
    that uses none of it. `omem` is what waits in this process; stream bytes never do.
    """
    state = client.state
    pending = client.output_buffered_bytes
    fields = (
        ("id", client.id),
        ("addr", client.address),
        ("laddr", client.local_address),
        ("fd", client.fd),
        ("name", _text(state.name)),
        ("age", max(0, int(now - client.created_at))),
        ("idle", max(0, int(now - client.last_active_at))),
        ("flags", _flags(client)),
        ("db", 0),
        ("sub", len(state.channels)),
        ("psub", len(state.patterns)),
        ("ssub", 0),
        ("multi", -1 if state.queue is None else len(state.queue.commands)),
        ("qbuf", client.input_buffered_bytes),
        ("qbuf-free", 0),
        ("argv-mem", 0),
        ("multi-mem", 0),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", 0),
        ("oll", 0),
        ("omem", pending),
        ("tot-mem", client.input_buffered_bytes + pending),
        ("events", "rw" if pending else "r"),
        ("cmd", state.last_command),
        ("user", state.username),
        ("redir", -1),
        ("resp", state.resp),
        ("lib-name", _text(state.lib_name)),
        ("lib-ver", _text(state.lib_ver)),
    )
    return " ".join(f"{name}={value}" for name, value in fields) + "\n"


def _flags(client: ClientView) -> str:
    state = client.state
    flags = {ClientKind.REPLICA: "S", ClientKind.PUBSUB: "P"}.get(client.kind, "")
    flags += "x" if state.queue is not None else ""
    flags += "O" if state.monitoring else ""
    flags += "c" if state.close_after_reply else ""
    flags += "e" if state.no_evict else ""
    flags += "T" if state.no_touch else ""
    return flags or "N"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")


def _check_attribute(what: bytes, value: bytes) -> None:
    if not printable(value):
        raise RefusedError(b"ERR %b cannot contain spaces, newlines or special characters." % what)
    if len(value) > MAX_NAME_BYTES:
        raise RefusedError(b"ERR %b cannot be longer than %d bytes" % (what, MAX_NAME_BYTES))


def _list(call: Call) -> bytes:
    clients = list(call.context.clients())
    option = call.option(2) if len(call.args) > 2 else b""
    if len(call.args) == 4 and option == b"type":
        kinds = parse_kinds(call.args[3])
        clients = [client for client in clients if client.kind in kinds]
    elif len(call.args) > 3 and option == b"id":
        wanted = {_client_id(raw) for raw in call.args[3:]}
        clients = [client for client in clients if client.id in wanted]
    elif len(call.args) != 2:
        raise RefusedError(SYNTAX_ERROR)
    now = call.context.status().now
    return reply.verbatim("".join(client_line(client, now) for client in clients), call.resp)


def _client_id(raw: bytes) -> int:
    number = parse_integer(raw)
    if number is None:
        raise RefusedError(b"ERR Invalid client ID")
    return number


def _info(call: Call) -> bytes:
    return reply.verbatim(client_line(call.session, call.context.status().now), call.resp)


def _id(call: Call) -> bytes:
    return reply.integer(call.session.id)


def _get_name(call: Call) -> bytes:
    return reply.bulk(call.state.name) if call.state.name else reply.null(call.resp)


def _set_name(call: Call) -> bytes:
    set_name(call.state, call.args[2])
    return reply.OK


def _set_info(call: Call) -> bytes:
    option, value = call.option(2), call.args[3]
    if option not in (b"lib-name", b"lib-ver"):
        raise RefusedError(b"ERR Unrecognized option '%b'" % call.args[2][:128])
    _check_attribute(option, value)
    if option == b"lib-name":
        call.state.lib_name = value
    else:
        call.state.lib_ver = value
    return reply.OK


def _kill(call: Call) -> bytes:
    if len(call.args) == 3:
        # The form of Redis 2.4: one address, and it may be one's own.
        wanted = ClientFilter(address=_text(call.args[2]), skip_me=False)
        if not _kill_all(call, wanted):
            raise RefusedError(b"ERR No such client")
        return reply.OK
    return reply.integer(_kill_all(call, parse_kill(call)))


def _kill_all(call: Call, wanted: ClientFilter) -> int:
    now = call.context.status().now
    killed = 0
    for client in tuple(call.context.clients()):
        is_me = client.id == call.session.id
        if not wanted.accepts(client, now=now, is_me=is_me):
            continue
        if is_me:
            # The reply still goes out (Redis: CLIENT_CLOSE_AFTER_REPLY).
            call.state.close_after_reply = True
            killed += 1
        else:
            killed += call.context.kill(client.id)
    return killed


def _no_evict(call: Call) -> bytes:
    call.state.no_evict = _on_off(call.option(2))
    return reply.OK


def _no_touch(call: Call) -> bytes:
    call.state.no_touch = _on_off(call.option(2))
    return reply.OK


def _reply(call: Call) -> bytes:
    if call.option(2) == b"on":
        return reply.OK
    if call.option(2) in (b"off", b"skip"):
        raise RefusedError(b"ERR repltap always answers: only CLIENT REPLY ON is supported")
    raise RefusedError(SYNTAX_ERROR)


def _on_off(option: bytes) -> bool:
    if option not in (b"on", b"off"):
        raise RefusedError(SYNTAX_ERROR)
    return option == b"on"


_PLAIN = ("noscript", "loading", "stale")
_ADMIN = ("admin", "noscript", "loading", "stale")
_BY_ALL = ("slow", "connection")
_BY_ADMINS = ("admin", "slow", "dangerous", "connection")

COMMANDS = (
    Command(
        name="client",
        arity=-2,
        summary="Connections to this port",
        since="2.4.0",
        group="connection",
        categories=("slow",),
        subcommands=(
            Command(
                name="client|list",
                arity=-2,
                handler=_list,
                summary="Describe the connections, one a line",
                usage="[TYPE (NORMAL|REPLICA|PUBSUB) | ID <id> [<id> ...]]",
                since="2.4.0",
                group="connection",
                flags=_ADMIN,
                categories=_BY_ADMINS,
            ),
            Command(
                name="client|info",
                arity=2,
                handler=_info,
                summary="Describe this connection",
                since="6.2.0",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|id",
                arity=2,
                handler=_id,
                summary="Tell this connection's id",
                since="5.0.0",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|getname",
                arity=2,
                handler=_get_name,
                summary="Tell this connection's name",
                since="2.6.9",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|setname",
                arity=3,
                handler=_set_name,
                summary="Name this connection",
                usage="<name>",
                since="2.6.9",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|setinfo",
                arity=4,
                handler=_set_info,
                summary="Tell the client library's name or version",
                usage="(LIB-NAME|LIB-VER) <value>",
                since="7.2.0",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|kill",
                arity=-3,
                handler=_kill,
                summary="Close connections: by address, or by all of the given options",
                usage=(
                    "<ip:port> | [ID <id>] [ADDR <ip:port>] [LADDR <ip:port>] [USER <name>] "
                    "[TYPE (NORMAL|REPLICA|PUBSUB)] [MAXAGE <seconds>] [SKIPME (YES|NO)]"
                ),
                since="2.4.0",
                group="connection",
                flags=_ADMIN,
                categories=_BY_ADMINS,
            ),
            Command(
                name="client|no-evict",
                arity=3,
                handler=_no_evict,
                summary="Accepted for compatibility; nothing is ever evicted",
                usage="(ON|OFF)",
                since="7.0.0",
                group="connection",
                flags=_ADMIN,
                categories=_BY_ADMINS,
            ),
            Command(
                name="client|no-touch",
                arity=3,
                handler=_no_touch,
                summary="Accepted for compatibility; there are no keys to touch",
                usage="(ON|OFF)",
                since="7.2.0",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
            Command(
                name="client|reply",
                arity=3,
                handler=_reply,
                summary="Accepted for compatibility; replies are always on",
                usage="ON",
                since="3.2.0",
                group="connection",
                flags=_PLAIN,
                categories=_BY_ALL,
            ),
        ),
    ),
)
