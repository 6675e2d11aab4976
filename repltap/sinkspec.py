"""A sink in one word: `TYPE[:TARGET][,name=value...]`, as `--sink` and REPLTAP_SINK take it.

    file:/var/log/redis.jsonl,include_prefix=user:;order:,snapshot=initial
    kafka:broker1:9092,broker2:9092,topic=changes,sink=audit

TARGET ends at the first comma that a name and `=` follow, and so does each value: other commas need
nothing. `\\,` is a comma that ends nothing. A name that comes again makes a list of its values.
`sink=NAME` names the sink, which is called as its type otherwise. TYPE is the name of an entry
point or a class: `package.module:Class`, with a dot, as a TARGET may follow the colon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TARGET = ":target"
"""What TARGET is called in the settings: only the sink's class knows which option it is."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TYPE = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+:[A-Za-z_]\w*|[A-Za-z0-9_-]+")
_SETTING = re.compile(r"(?<!\\),(?=[A-Za-z_][A-Za-z0-9_]*=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec:
    """What a spec says.

    Attributes:
        name: Of the sink.
        type: What it is.
        settings: By name, as text; a tuple for a name that was given more than once. TARGET is
            among them, if there is one.
    """

    name: str
    type: str
    settings: Mapping[str, str | tuple[str, ...]] = field(repr=False)


def parse_spec(spec: str) -> SinkSpec:
    """Read a spec.

    Raises:
        ValueError: It is none. The message shows no value: passwords may be among them.
    """
    head, *rest = _SETTING.split(spec)
    match = _TYPE.match(head)
    if match is None or (match.end() < len(head) and head[match.end()] != ":"):
        raise ValueError("it does not begin with TYPE or TYPE:TARGET")
    kind = match[0]
    given: dict[str, list[str]] = {}
    if match.end() < len(head):
        target = head[match.end() + 1 :]
        if not target:
            raise ValueError(f"{kind}: there is nothing behind the colon")
        given[TARGET] = [_unescaped(target)]
    for setting in rest:
        name, _, value = setting.partition("=")
        given.setdefault(name, []).append(_unescaped(value))
    if "type" in given:
        raise ValueError(f"{kind}: the type is given again, as type=")
    names = given.pop("sink", [kind.rpartition(":")[2].lower() if ":" in kind else kind])
    if len(names) > 1:
        raise ValueError(f"{kind}: sink= is given more than once")
    return SinkSpec(
        name=sink_name(names[0]),
        type=kind,
        settings={
            name: values[0] if len(values) == 1 else tuple(values) for name, values in given.items()
        },
    )


def sink_name(name: str) -> str:
    """Check the name of a sink: files, metrics and variables are called by it.

    Raises:
        ValueError: It is none.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} is no name for a sink: letters, digits, _ and -, at most 64 of them, "
            "beginning with a letter or digit"
        )
    return name


def sink_variable(name: str, option: str) -> str:
    """Tell which environment variable sets an option of a sink."""
    return f"REPLTAP_SINK_{name}_{option}".upper().replace("-", "_")


def _unescaped(value: str) -> str:
    return value.replace("\\,", ",")
