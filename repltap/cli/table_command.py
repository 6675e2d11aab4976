"""Commands with the whole table of options; their help groups them by section of the file."""

from __future__ import annotations

from typing import Any

import click

from repltap.cli.options import flag
from repltap.options import OPTIONS

_TITLES = {
    "upstream": "The master, [upstream]",
    "listen": "Replicas and clients, [listen]",
    "http": "Status page, API and metrics, [http]",
    "store": "What is kept on disk, [store]",
    "snapshot": "Fetching snapshots, [snapshot]",
    "log": "The log, [log]",
}
_SHOWN = [option for option in OPTIONS if not option.secret]
_SECTIONS = {option.key: option.section for option in _SHOWN}


class TableCommand(click.Command):
    """A command that takes every option of `repltap run`, after those of its own."""

    def __init__(self, *args: Any, **attrs: Any) -> None:  # Any: as click's own
        super().__init__(*args, **attrs)
        self.params.extend(flag(option) for option in _SHOWN)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those of the table by section."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_SECTIONS.get(param.name or "", ""), []).append(record)
        for section, records in groups.items():
            with formatter.section(_TITLES.get(section, "Options")):
                formatter.write_dl(records)
