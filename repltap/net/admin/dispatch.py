"""One command in, one reply out.

This module owns the order of the checks (Redis 7.0 `processCommand`): does the command exist, does
it have the right number of arguments, may this client use it, now or at EXEC. It holds no state
and never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from repltap.errors import LocalProtocolError, ReplTapError
from repltap.net.admin import (
    acl,
    client,
    command_table,
    config,
    connection,
    pubsub,
    replication,
    server,
    transaction,
)
from repltap.net.admin.command import Call, Command, RefusedError
from repltap.net.admin.context import AdminContext, ClientSession
from repltap.net.admin.data_commands import known, refuse
from repltap.net.admin.rights import right_of
from repltap.protocol import reply

_WHEN_SUBSCRIBED = frozenset(
    {"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ping", "quit", "reset"}
)

_ECHO_BYTES = 128
"""How much of what a client sent goes into an error (Redis `commandCheckExistence`)."""

_NOT_AUTHENTICATED = b"NOAUTH Authentication required."


def execute(context: AdminContext, session: ClientSession, args: list[bytes]) -> bytes:
    """Execute one admin command.

    Args:
        context: The relay.
        session: The connection the command came from; its `state` may change.
        args: The command's name and arguments, at least one.

    Returns:
        The bytes to send back, in the client's protocol version; b"" for no reply at all. When
        `session.state.close_after_reply` is set then, close the connection after sending them.

    Raises:
        LocalProtocolError: PSYNC, SYNC or REPLCONF: those are for the replication protocol.
    """
    call = Call(context, session, args, COMMANDS)
    try:
        return _run(call)
    except RefusedError as refusal:
        if session.state.queue is not None:
            session.state.queue.spoilt = True  # Redis `rejectCommand`
        return reply.error(refusal.text)
    except LocalProtocolError:
        raise
    except ReplTapError as problem:
        return reply.error(f"ERR {problem}")


def _run(call: Call) -> bytes:
    name = call.option(0).decode("ascii", "replace")
    command = COMMANDS.get(name)
    if command is None:
        return _run_foreign(call, name)
    if command.subcommands and len(call.args) > 1:
        short = call.option(1).decode("ascii", "replace")
        if short == "help" and len(call.args) == 2:
            _check_authenticated(call, command)
            return _help(command)
        command = command.subcommand(short) or _no_subcommand(call, command)
    if not command.accepts(len(call.args)) or command.handler is None:
        raise RefusedError(
            b"ERR wrong number of arguments for '%b' command" % command.name.encode()
        )
    _check_authenticated(call, command)
    _check_right(call, command)
    if call.state.subscribed and call.resp < 3 and command.name not in _WHEN_SUBSCRIBED:
        raise RefusedError(
            b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
            b"RESET are allowed in this context" % command.name.encode()
        )
    if call.state.queue is not None and command.name not in transaction.IMMEDIATE:
        return transaction.enqueue(call, command)
    call.state.last_command = command.name
    return command.handler(call)


def _exec(call: Call) -> bytes:
    commands = transaction.take(call)
    call.state.executing = True
    try:
        return transaction.execute_all(commands, partial(execute, call.context, call.session))
    finally:
        call.state.executing = False


def _run_foreign(call: Call, name: str) -> bytes:
    if not known(name):
        raise RefusedError(_unknown(call.args))
    if not call.state.authenticated:
        raise RefusedError(_NOT_AUTHENTICATED)
    call.state.last_command = name
    return refuse(call)


def _check_authenticated(call: Call, command: Command) -> None:
    if not call.state.authenticated and "no_auth" not in command.flags:
        raise RefusedError(_NOT_AUTHENTICATED)


def _check_right(call: Call, command: Command) -> None:
    right = right_of(command)
    if right is not None and not call.context.may(call.state.username, right):
        raise RefusedError(no_permission(call.state.username, command.name))


def no_permission(username: str, command: str) -> bytes:
    """Say that a user may not use a command, as Redis 7 does (`getAclErrorMessage`)."""
    return f"NOPERM User {username} has no permissions to run the '{command}' command".encode()


def _no_subcommand(call: Call, command: Command) -> Command:
    raise RefusedError(
        b"ERR unknown subcommand '%b'. Try %b HELP."
        % (call.args[1][:_ECHO_BYTES], command.name.upper().encode())
    )


def _unknown(args: list[bytes]) -> bytes:
    # With the trailing space that Redis has had since 7.0.
    given = b""
    for arg in args[1:]:
        if len(given) >= _ECHO_BYTES:
            break
        given += b"'%b' " % arg[: _ECHO_BYTES - len(given)]
    return b"ERR unknown command '%b', with args beginning with: %b" % (
        args[0][:_ECHO_BYTES],
        given,
    )


def _help(command: Command) -> bytes:
    """List a container's subcommands in the shape of Redis `addReplyHelp`."""
    name = command.name.upper()
    lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for each in command.subcommands:
        lines += [f"{each.short_name.upper()} {each.usage}".rstrip(), f"    {each.summary}."]
    lines += ["HELP", "    Print this help."]
    return reply.array(map(reply.status, lines))


_EXEC = Command(
    name="exec",
    arity=1,
    handler=_exec,
    summary="Execute what was queued since MULTI",
    since="1.2.0",
    group="transactions",
    flags=("noscript", "loading", "stale"),
    categories=("slow", "transaction"),
)

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        each.name: each
        for commands in (
            connection.COMMANDS,
            client.COMMANDS,
            acl.COMMANDS,
            server.COMMANDS,
            replication.COMMANDS,
            config.COMMANDS,
            command_table.COMMANDS,
            pubsub.COMMANDS,
            transaction.COMMANDS,
            (_EXEC,),
        )
        for each in commands
    }
)
"""All that can be called, by lower-case name."""
