"""One command in, one reply out.

This module owns the order of the checks (Redis 7.0 `processCommand`): does the command exist, does
it have enough arguments, may this client use it. It holds no state and never waits.
"""

from __future__ import annotations

from repltap.net.admin.context import AdminContext, ClientSession


def execute(context: AdminContext, session: ClientSession, args: list[bytes]) -> bytes:
    """Execute one admin command.

    Args:
        context: The relay.
        session: The connection the command came from; its `state` may change.
        args: The command's name and arguments, at least one.

    Returns:
        The bytes to send back, in the client's protocol version; b"" for no reply at all. When
        `session.state.close_after_reply` is set then, close the connection after sending them.
    """
    return b"-ERR not yet\r\n"
