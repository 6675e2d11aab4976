"""COMMAND: what can be called, described as Redis 7.0 describes it.

redis-cli and client libraries read these replies to complete and to route commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from repltap.net.admin.command import SYNTAX_ERROR, Call, Command, RefusedError
from repltap.net.admin.glob import matches
from repltap.protocol import reply


def _all(call: Call) -> bytes:
    return reply.array(_details(each, call.resp) for each in call.commands.values())


def _count(call: Call) -> bytes:
    return reply.integer(len(call.commands))


def _info(call: Call) -> bytes:
    if len(call.args) == 2:
        return _all(call)
    found = (find(call.commands, name) for name in call.args[2:])
    return reply.array(
        _details(each, call.resp) if each else reply.null_array(call.resp) for each in found
    )


def _docs(call: Call) -> bytes:
    named = (find(call.commands, name) for name in call.args[2:])
    wanted = [each for each in named if each] if len(call.args) > 2 else call.commands.values()
    return _documents(wanted, call.resp)


def _list(call: Call) -> bytes:
    names = call.commands.values()
    if len(call.args) == 2:
        # Subcommands are listed only under a filter, as in Redis.
        return reply.array(reply.bulk(each.name) for each in names)
    if len(call.args) != 5 or call.option(2) != b"filterby":
        raise RefusedError(SYNTAX_ERROR)
    kind, value = call.option(3), call.option(4).decode("ascii", "replace")
    if kind not in (b"module", b"aclcat", b"pattern"):
        raise RefusedError(SYNTAX_ERROR)
    return reply.array(
        reply.bulk(each.name)
        for each in _with_subcommands(names)
        if (kind == b"aclcat" and value in each.categories)
        or (kind == b"pattern" and matches(value, each.name))
    )


def _get_keys(_call: Call) -> bytes:
    raise RefusedError(b"ERR The command has no key arguments")


def find(commands: Mapping[str, Command], name: bytes) -> Command | None:
    """Find a command by name, or a subcommand by `container|name`; any case."""
    text = name.decode("ascii", "replace").lower()
    container, bar, short = text.partition("|")
    command = commands.get(container)
    return command.subcommand(short) if command and bar else command


def _with_subcommands(commands: Iterable[Command]) -> Iterator[Command]:
    for command in commands:
        yield command
        yield from command.subcommands


def _details(command: Command, resp: int) -> bytes:
    """Encode one entry of COMMAND INFO (Redis `addReplyCommandInfo`); none here has keys."""
    return reply.array(
        (
            reply.bulk(command.name),
            reply.integer(command.arity),
            reply.set_of(map(reply.status, command.flags), resp),
            reply.integer(0),
            reply.integer(0),
            reply.integer(0),
            reply.set_of((reply.status(f"@{each}") for each in command.categories), resp),
            reply.set_of((), resp),
            reply.set_of((), resp),
            # Redis sends a set when there are none and an array when there are some.
            reply.array(_details(each, resp) for each in command.subcommands)
            if command.subcommands
            else reply.set_of((), resp),
        )
    )


def _documents(commands: Iterable[Command], resp: int) -> bytes:
    return reply.map_of(((reply.bulk(each.name), _document(each, resp)) for each in commands), resp)


def _document(command: Command, resp: int) -> bytes:
    fields = [
        (reply.bulk(name), reply.bulk(value))
        for name, value in (
            ("summary", command.summary),
            ("since", command.since),
            ("group", command.group),
        )
    ]
    if command.subcommands:
        fields.append((reply.bulk("subcommands"), _documents(command.subcommands, resp)))
    return reply.map_of(fields, resp)


_FLAGS = ("loading", "stale")
_CATEGORIES = ("slow", "connection")

COMMANDS = (
    Command(
        name="command",
        arity=-1,
        handler=_all,
        summary="What can be called on this port",
        since="2.8.13",
        group="server",
        flags=_FLAGS,
        categories=_CATEGORIES,
        subcommands=tuple(
            Command(
                name=f"command|{name}",
                arity=arity,
                handler=handler,
                summary=summary,
                usage=usage,
                since=since,
                group="server",
                flags=_FLAGS,
                categories=_CATEGORIES,
            )
            for name, arity, handler, since, usage, summary in (
                ("count", 2, _count, "2.8.13", "", "Count the commands"),
                ("info", -2, _info, "2.8.13", "[<name> ...]", "Describe commands"),
                ("docs", -2, _docs, "7.0.0", "[<name> ...]", "Explain commands"),
                (
                    "list",
                    -2,
                    _list,
                    "7.0.0",
                    "[FILTERBY (ACLCAT <category>|PATTERN <pattern>)]",
                    "Name the commands",
                ),
                ("getkeys", -3, _get_keys, "2.8.13", "<command>", "Refused: there are no keys"),
            )
        ),
    ),
)
