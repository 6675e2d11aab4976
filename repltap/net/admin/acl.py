"""ACL WHOAMI. Users are configured, not commanded: the rest of ACL is not here."""

from __future__ import annotations

from repltap.net.admin.command import Call, Command
from repltap.protocol import reply


def _who_am_i(call: Call) -> bytes:
    return reply.bulk(call.state.username)


COMMANDS = (
    Command(
        name="acl",
        arity=-2,
        summary="Users and their rights, which are configured elsewhere",
        since="6.0.0",
        group="server",
        categories=("slow",),
        subcommands=(
            Command(
                name="acl|whoami",
                arity=2,
                handler=_who_am_i,
                summary="Tell as whom this connection is logged in",
                since="6.0.0",
                group="server",
                flags=("noscript", "loading", "stale"),
                categories=("slow",),
            ),
        ),
    ),
)
