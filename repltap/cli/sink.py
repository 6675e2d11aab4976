"""`repltap sink`: the group, and the commands that sinks bring along.

A package that has a sink can add commands for what that sink writes: an entry point in the group
`repltap.sink_commands` whose value is a click command. It is loaded when it is called for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from repltap.errors import ReplTapError

GROUP = "repltap.sink_commands"


class SinkGroup(click.Group):
    """Its own commands, and after them those of entry points; a name of its own goes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name them all."""
        own = super().list_commands(ctx)
        brought = {entry.name for entry in entry_points(group=GROUP)}
        return [*own, *sorted(brought.difference(own))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find one, loading it if it comes from elsewhere."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        found = list(entry_points(group=GROUP, name=cmd_name))
        return _load(found[0]) if found else None


@click.group(cls=SinkGroup)
def sink() -> None:
    """Look after sinks: where the command stream and snapshots go."""


def _load(entry: EntryPoint) -> click.Command:
    try:
        found = entry.load()
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - it is somebody else's module
        return _broken(entry, f"can't be imported: {type(exc).__name__}: {exc}")
    return found if isinstance(found, click.Command) else _broken(entry, "is no click command")


def _broken(entry: EntryPoint, why: str) -> click.Command:
    """Stand in for a command that can't be had: `--help` goes on, and calling it says why."""
    message = f"the command {entry.name} ({entry.value}) {why}"

    @click.command(entry.name, short_help=message, add_help_option=False)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever was given
        raise ReplTapError(message, hint="install the package that has it again")

    command.ignore_unknown_options = True
    return command
