"""PING, ECHO, AUTH, HELLO, SELECT, RESET, QUIT: a client and its own connection."""

from __future__ import annotations

from repltap.access import DEFAULT_USER
from repltap.net.admin.client import set_name
from repltap.net.admin.command import SYNTAX_ERROR, Call, Command, RefusedError, parse_integer
from repltap.protocol import reply
from repltap.protocol.info import REDIS_VERSION

_WRONG_PASSWORD = b"WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD = (
    b"ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?"
)
_HELLO_FIRST = (
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the "
    b"HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select "
    b"the RESP protocol version at the same time"
)


def _ping(call: Call) -> bytes:
    if len(call.args) > 2:
        raise RefusedError(b"ERR wrong number of arguments for 'ping' command")
    if call.state.subscribed and call.resp < 3:
        # In the form of a message (Redis `pingCommand`).
        text = call.args[1] if len(call.args) == 2 else b""
        return reply.array((reply.bulk("pong"), reply.bulk(text)))
    return reply.bulk(call.args[1]) if len(call.args) == 2 else reply.status("PONG")


def _echo(call: Call) -> bytes:
    return reply.bulk(call.args[1])


def _auth(call: Call) -> bytes:
    if len(call.args) > 3:
        raise RefusedError(SYNTAX_ERROR)
    if len(call.args) == 2:
        if not call.context.password_required:
            raise RefusedError(_NO_PASSWORD)
        _authenticate(call, DEFAULT_USER.encode(), call.args[1])
    else:
        _authenticate(call, call.args[1], call.args[2])
    return reply.OK


def _authenticate(call: Call, username: bytes, password: bytes) -> None:
    if call.context.password_required:
        accepted = call.context.check_password(username, password)
    else:
        # Redis: `default` without a password accepts any (`nopass`).
        accepted = username == DEFAULT_USER.encode()
    if not accepted:
        call.state.failed_logins += call.context.password_required
        raise RefusedError(_WRONG_PASSWORD)
    call.state.authenticated = True
    call.state.username = username.decode("ascii")


def _hello(call: Call) -> bytes:
    resp = _hello_version(call)
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    at = 2
    while at < len(call.args):
        option, left = call.option(at), len(call.args) - at - 1
        if option == b"auth" and left >= 2:
            credentials = (call.args[at + 1], call.args[at + 2])
            at += 3
        elif option == b"setname" and left >= 1:
            name = call.args[at + 1]
            at += 2
        else:
            raise RefusedError(b"ERR Syntax error in HELLO option '%b'" % call.args[at][:128])
    if credentials:
        _authenticate(call, *credentials)
    if not call.state.authenticated:
        raise RefusedError(_HELLO_FIRST)
    if name is not None:
        set_name(call.state, name)
    call.state.resp = resp
    return _greeting(call)


def _hello_version(call: Call) -> int:
    if len(call.args) == 1:
        return call.resp
    version = parse_integer(call.args[1])
    if version is None:
        raise RefusedError(b"ERR Protocol version is not an integer or out of range")
    if version not in (2, 3):
        raise RefusedError(b"NOPROTO unsupported protocol version")
    return version


def _greeting(call: Call) -> bytes:
    # Clients choose what to send by server and version: what we answer is Redis's.
    fields = (
        ("server", reply.bulk("redis")),
        ("version", reply.bulk(REDIS_VERSION)),
        ("proto", reply.integer(call.resp)),
        ("id", reply.integer(call.session.id)),
        ("mode", reply.bulk("standalone")),
        ("role", reply.bulk("replica")),
        ("modules", reply.array(())),
    )
    return reply.map_of(((reply.bulk(name), value) for name, value in fields), call.resp)


def _select(call: Call) -> bytes:
    index = parse_integer(call.args[1])
    if index is None:
        raise RefusedError(b"ERR value is not an integer or out of range")
    if index != 0:
        raise RefusedError(b"ERR DB index is out of range")
    return reply.OK


def _reset(call: Call) -> bytes:
    # Redis `resetCommand`: all that the client set is forgotten, the library's name is not.
    state = call.state
    state.authenticated = not call.context.password_required
    state.username = DEFAULT_USER
    state.name = b""
    state.resp = 2
    state.no_evict = state.no_touch = False
    state.channels.clear()
    state.patterns.clear()
    state.queue = None
    if state.monitoring:
        state.monitoring = False
        call.context.stop_monitor(call.session.id)
    return reply.status("RESET")


def _quit(call: Call) -> bytes:
    call.state.close_after_reply = True
    return reply.OK


# Unlike in Redis not in a transaction: a hundred guesses in one EXEC would not wait in line.
_LOGIN_FLAGS = ("noscript", "loading", "stale", "fast", "no_auth", "no_multi", "allow_busy")
_BEFORE_AUTH = ("noscript", "loading", "stale", "fast", "no_auth", "allow_busy")

COMMANDS = (
    Command(
        name="ping",
        arity=-1,
        handler=_ping,
        summary="Show that the relay answers",
        since="1.0.0",
        group="connection",
        flags=("fast",),
        categories=("fast", "connection"),
    ),
    Command(
        name="echo",
        arity=2,
        handler=_echo,
        summary="Give back a message",
        since="1.0.0",
        group="connection",
        flags=("loading", "stale", "fast"),
        categories=("fast", "connection"),
    ),
    Command(
        name="auth",
        arity=-2,
        handler=_auth,
        summary="Authenticate with a password",
        since="1.0.0",
        group="connection",
        flags=_LOGIN_FLAGS,
        categories=("fast", "connection"),
    ),
    Command(
        name="hello",
        arity=-1,
        handler=_hello,
        summary="Choose the protocol version, and authenticate",
        since="6.0.0",
        group="connection",
        flags=_LOGIN_FLAGS,
        categories=("fast", "connection"),
    ),
    Command(
        name="select",
        arity=2,
        handler=_select,
        summary="Choose database 0, the only one here",
        since="1.0.0",
        group="connection",
        flags=("loading", "stale", "fast"),
        categories=("fast", "connection"),
    ),
    Command(
        name="reset",
        arity=1,
        handler=_reset,
        summary="Forget all that was set on this connection",
        since="6.2.0",
        group="connection",
        flags=_BEFORE_AUTH,
        categories=("fast", "connection"),
    ),
    Command(
        name="quit",
        arity=-1,
        handler=_quit,
        summary="Close this connection",
        since="1.0.0",
        group="connection",
        flags=("noscript", "loading", "stale", "fast", "no_auth", "allow_busy"),
        categories=("fast", "connection"),
    ),
)
