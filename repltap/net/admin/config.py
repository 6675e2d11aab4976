"""CONFIG: settings can be read here; whom the relay follows can be kept."""

from __future__ import annotations

from repltap.net.admin.command import Call, Command, RefusedError
from repltap.net.admin.glob import matches
from repltap.protocol import reply

_NO_STATISTICS_RESET = b"ERR repltap's counters run since its start and can't be reset"
_READ_ONLY = b"ERR repltap's settings come from its configuration: change them there and restart it"


def _get(call: Call) -> bytes:
    patterns = [raw.decode("utf-8", "replace").lower() for raw in call.args[2:]]
    pairs = (
        (reply.bulk(name), reply.bulk(value))
        for name, value in call.context.settings().items()
        if any(matches(pattern, name.lower()) for pattern in patterns)
    )
    return reply.map_of(pairs, call.resp)


def _read_only(_call: Call) -> bytes:
    raise RefusedError(_READ_ONLY)


def _rewrite(call: Call) -> bytes:
    # Of all that CONFIG REWRITE stores, a relay has one thing that a command has changed: whom it
    # follows. Sentinel sends it with every SLAVEOF.
    call.context.keep_master()
    return reply.OK


def _reset_statistics(_call: Call) -> bytes:
    raise RefusedError(_NO_STATISTICS_RESET)


_FLAGS = ("admin", "noscript", "loading", "stale")
_CATEGORIES = ("admin", "slow", "dangerous")

COMMANDS = (
    Command(
        name="config",
        arity=-2,
        summary="The relay's settings",
        since="2.0.0",
        group="server",
        categories=("slow",),
        subcommands=(
            Command(
                name="config|get",
                arity=-3,
                handler=_get,
                summary="Tell the settings whose names match",
                usage="<pattern> [<pattern> ...]",
                since="2.0.0",
                group="server",
                flags=_FLAGS,
                categories=_CATEGORIES,
            ),
            Command(
                name="config|set",
                arity=-4,
                handler=_read_only,
                summary="Refused: settings come from the configuration",
                usage="<name> <value> [<name> <value> ...]",
                since="2.0.0",
                group="server",
                flags=_FLAGS,
                categories=_CATEGORIES,
            ),
            Command(
                name="config|rewrite",
                arity=2,
                handler=_rewrite,
                summary="Follow the master of now after a restart too",
                since="2.8.0",
                group="server",
                flags=_FLAGS,
                categories=_CATEGORIES,
            ),
            Command(
                name="config|resetstat",
                arity=2,
                handler=_reset_statistics,
                summary="Refused: counters run since the start",
                since="2.0.0",
                group="server",
                flags=_FLAGS,
                categories=_CATEGORIES,
            ),
        ),
    ),
)
