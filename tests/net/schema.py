"""The JSON schemas of `/api/status` and `/api/events`, made from the classes that are rendered.

`python -m tests.net.schema` writes them to `docs`; a test compares them with what is there, and
others compare them with what a relay really answers.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path

from repltap.net.changes import Event
from repltap.status.link import UpstreamStatus
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaStatus
from repltap.status.store import JournalStatus

DOCS = Path(__file__).parents[2] / "docs"
FILES = {"status.schema.json": RelayStatus, "event.schema.json": Event}

Schema = dict[str, typing.Any]

_SECONDS_OR_NULL = {"type": ["number", "null"], "minimum": 0}
_DERIVED: dict[type, dict[str, Schema]] = {
    RelayStatus: {"uptime_seconds": {"type": "number", "description": "Since the start."}},
    UpstreamStatus: {
        "link_up": {"type": "boolean", "description": "Whether the stream runs."},
        "last_io_seconds_ago": {**_SECONDS_OR_NULL, "description": "Since `last_io_at`."},
    },
    JournalStatus: {
        "retained_bytes": {"type": "integer", "description": "How much is held."},
        "not_durable_bytes": {"type": "integer", "description": "What is not yet on the disk."},
    },
    ReplicaStatus: {
        "last_ack_seconds_ago": {**_SECONDS_OR_NULL, "description": "Since `last_ack_at`."},
    },
    Event: {"id": {"type": "string", "description": "What Last-Event-ID takes."}},
}
"""What `status_document` and `EventFeed` add to the attributes."""

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(root: type, name: str) -> Schema:
    """Make the schema of one class and all that it holds."""
    definitions: Schema = {}
    made = _object(root, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:repltap:{name}",
        **made,
        "$defs": dict(sorted(definitions.items())),
    }


def closed(schema: Schema) -> Schema:
    """Give the same schema, but without room for what it does not name."""
    strict: Schema = json.loads(json.dumps(schema))
    for each in (strict, *strict["$defs"].values()):
        if "properties" in each:
            each["additionalProperties"] = False
    return strict


def text_of(file: str) -> str:
    """Return what a schema file holds."""
    return json.dumps(schema_of(FILES[file], file.removesuffix(".schema.json")), indent=1) + "\n"


def _object(kind: type, definitions: Schema) -> Schema:
    hints = typing.get_type_hints(kind)
    about = _about(kind)
    properties = {}
    for each in fields(kind):
        properties[each.name] = _value(hints[each.name], definitions)
        if each.name in about:
            properties[each.name]["description"] = about[each.name]
    properties |= {name: dict(value) for name, value in _DERIVED.get(kind, {}).items()}
    return {
        "type": "object",
        "description": (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " "),
        "properties": properties,
        "required": list(properties),
    }


def _value(kind: typing.Any, definitions: Schema) -> Schema:
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_value(each, definitions) for each in parameters]}
    if origin is tuple:
        return {"type": "array", "items": _value(parameters[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _value(parameters[1], definitions)}
    if kind is type(None):
        return {"type": "null"}
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _object(kind, definitions)  # type: ignore[arg-type]
        return {"$ref": f"#/$defs/{name}"}
    if issubclass(kind, Enum):
        return {"type": "string", "enum": [each.value for each in kind]}
    return {"type": _SCALARS[kind]}


def _about(kind: type) -> dict[str, str]:
    """Read the attributes' descriptions out of a docstring."""
    found: dict[str, str] = {}
    doc = inspect.getdoc(kind) or ""
    section = re.search(r"Attributes:\n(.*?)(\n\n\S|\Z)", doc, re.DOTALL)
    for entry in re.findall(
        r"^    (\S.*?)(?=^    \S|\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL
    ):
        names, _, text = entry.partition(": ")
        for name in names.split(", "):
            found[name] = " ".join(text.split())
    return found


if __name__ == "__main__":
    for file in FILES:
        (DOCS / file).write_text(text_of(file), encoding="utf-8")
