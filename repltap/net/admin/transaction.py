"""MULTI, EXEC and DISCARD: how Sentinel wraps what re-points a replica.

Sentinel sends MULTI, SLAVEOF, CONFIG REWRITE, two CLIENT KILL and EXEC (Redis
`sentinelSendSlaveOf`). Any command of this port may be queued; nothing is ever watched.
"""

from __future__ import annotations

from collections.abc import Callable

from repltap.net.admin.command import Call, Command, RefusedError
from repltap.net.admin.context import Transaction
from repltap.protocol import reply

MAX_QUEUED = 16
"""Sentinel queues four. They are executed in one turn of the event loop: some milliseconds for the
dearest of them, with a thousand clients."""

MAX_QUEUED_BYTES = 64 << 10
"""What a thousand clients can make us hold a thousand times."""

MAX_ANSWER_BYTES = 64 << 10
"""With more than this answered, the rest of a transaction is refused: 64 CLIENT LIST of 900 clients
took 2.7 s, in which nothing was relayed."""

_TOO_LONG = b"ERR the answers to this transaction are too long: ask for the rest without MULTI"

IMMEDIATE = frozenset({"multi", "exec", "discard", "quit", "reset"})
"""Executed at once also inside a transaction (Redis `processCommand`)."""


def enqueue(call: Call, command: Command) -> bytes:
    """Put a command into the transaction that its connection is in.

    Raises:
        RefusedError: It can't be part of one, or there are too many; EXEC will refuse then.
    """
    queue = call.state.queue
    assert queue is not None
    held = sum(len(arg) for args in queue.commands for arg in args)
    # Redis would queue REPLCONF; no replica sends it so, and here it never comes to be executed.
    if "no_multi" in command.flags or command.name == "replconf":
        queue.spoilt = True
        raise RefusedError(b"ERR Command not allowed inside a transaction")
    if len(queue.commands) >= MAX_QUEUED or held + sum(map(len, call.args)) > MAX_QUEUED_BYTES:
        queue.spoilt = True
        raise RefusedError(b"ERR too many commands in one transaction")
    queue.commands.append(call.args)
    return reply.status("QUEUED")


def execute_all(commands: list[list[bytes]], execute: Callable[[list[bytes]], bytes]) -> bytes:
    """Execute commands one after the other, as far as their answers go together in one reply.

    Args:
        commands: From `take`.
        execute: Executes one.

    Returns:
        The reply to EXEC.
    """
    answers: list[bytes] = []
    size = 0
    for args in commands:
        answers.append(reply.error(_TOO_LONG) if size > MAX_ANSWER_BYTES else execute(args))
        size += len(answers[-1])
    return reply.array(answers)


def begin(call: Call) -> bytes:
    """MULTI."""
    if call.state.queue is not None:
        raise RefusedError(b"ERR MULTI calls can not be nested")
    call.state.queue = Transaction()
    return reply.OK


def discard(call: Call) -> bytes:
    """DISCARD."""
    if call.state.queue is None:
        raise RefusedError(b"ERR DISCARD without MULTI")
    call.state.queue = None
    return reply.OK


def take(call: Call) -> list[list[bytes]]:
    """End the transaction, for EXEC.

    Returns:
        The commands to execute now.

    Raises:
        RefusedError: There is none, or a command in it was refused.
    """
    queue, call.state.queue = call.state.queue, None
    if queue is None:
        raise RefusedError(b"ERR EXEC without MULTI")
    if queue.spoilt:
        raise RefusedError(b"EXECABORT Transaction discarded because of previous errors.")
    return queue.commands


COMMANDS = tuple(
    Command(
        name=name,
        arity=1,
        handler=handler,
        summary=summary,
        since=since,
        group="transactions",
        flags=("noscript", "loading", "stale", "fast"),
        categories=("fast", "transaction"),
    )
    for name, handler, summary, since in (
        ("multi", begin, "Queue the commands that follow", "1.2.0"),
        ("discard", discard, "Forget what was queued", "2.0.0"),
    )
)
