"""`repltap sink types`: which sinks are installed, and what can be set of one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from repltap.cli.human import NOTHING
from repltap.cli.options import json_flag
from repltap.cli.output import show, show_json
from repltap.cli.sections import Cell, Section
from repltap.delivery.options import COMMON
from repltap.delivery.registry import find_sink, sink_types
from repltap.errors import ConfigError
from repltap.sink import Option, Sink

_ORIGIN = "repltap sink types"


@click.command(name="types")
@click.argument("kind", metavar="[TYPE]", required=False)
@json_flag
def types(kind: str | None, as_json: bool) -> None:
    """List the sinks that are installed; of TYPE, all that can be set.

    An option is `name=value` in --sink, `name = value` under [sink.NAME] in the configuration file,
    and the variable REPLTAP_SINK_<NAME>_<OPTION>. A secret is given by that variable, or by
    `option_file`, never in --sink.

    \b
    repltap sink types
    repltap sink types file
    repltap sink types kafka --json
    """
    if kind is None:
        found = [_document(name) for name in sink_types()]
        if as_json:
            show_json({"types": found})
        else:
            rows = tuple(_row(each["type"], each["target"], each["about"]) for each in found)
            show([Section("Sinks", ("type", "target", "what it does"), rows, folded=_LAST)])
        return
    made = find_sink(kind, _ORIGIN)
    own, common = list(map(_option, made.options)), list(map(_option, COMMON))
    if as_json:
        show_json({**_document(kind), "options": own, "common_options": common})
        return
    target = f"  (--sink {kind}:{made.target.upper()})" if made.target else ""
    show([_section(f"{kind}{target}", own), _section("Every sink", common)])


_LAST = frozenset((2,))


def _document(kind: str) -> dict[str, str]:
    try:
        made = find_sink(kind, _ORIGIN)
    except ConfigError as exc:  # its library is not there: the others are
        return {"type": kind, "target": "", "about": str(exc).removeprefix(f"{_ORIGIN}: type: ")}
    return {"type": kind, "target": made.target, "about": _about(made)}


def _about(made: type[Sink]) -> str:
    return (inspect.getdoc(made) or "").partition("\n")[0]


def _option(option: Option) -> dict[str, object]:
    return {
        "name": option.name,
        "default": option.default if isinstance(option.default, str | int | float) else None,
        "required": option.required,
        "secret": option.secret,
        "help": option.help,
    }


def _section(title: str, options: list[dict[str, object]]) -> Section:
    rows = tuple(
        _row(str(each["name"]), ", ".join(_notes(each)) or NOTHING, str(each["help"]))
        for each in options
    )
    return Section(title, ("option", "default", "what for"), rows, folded=_LAST)


def _notes(option: dict[str, object]) -> Iterator[str]:
    if option["required"]:
        yield "required"
    if option["secret"]:
        yield "secret"
    if option["default"] is not None:
        default = option["default"]
        yield str(default).lower() if isinstance(default, bool) else str(default)


def _row(*texts: str) -> tuple[Cell, ...]:
    return tuple(map(Cell, texts))
