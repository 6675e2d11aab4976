"""A `RelayStatus` out of the JSON that a relay's `/api/status` answers.

The relay may be older or newer than this command: what is not known here is passed over, what is
missing takes its default, and anything else that does not fit is an error, never a guess.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum

import orjson

from repltap.status.relay import RelayStatus


def decode_status(body: bytes) -> RelayStatus:
    """Read a status.

    Args:
        body: The JSON text.

    Returns:
        The status it tells.

    Raises:
        ValueError: It is not JSON, or not a repltap status; the message says where.
    """
    status = _decode(RelayStatus, orjson.loads(body), "status")
    assert isinstance(status, RelayStatus)
    return status


def _decode(kind: object, value: object, where: str) -> object:
    """Make a value of the annotated type `kind`; `where` names it in errors."""
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    # Before Python 3.14 `NewType | None` is a `typing.Union`, `int | None` is not.
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parameters:
            return None
        kind = next(each for each in parameters if each is not type(None))
        return _decode(kind, value, where)
    if origin is tuple:
        return _decode_tuple(parameters[0], value, where)
    if origin is Mapping:
        return _decode_mapping(parameters[1], value, where)
    if isinstance(kind, type):
        if is_dataclass(kind):
            return _decode_dataclass(kind, value, where)
        if issubclass(kind, Enum):
            return _decode_enum(kind, value, where)
        return _decode_scalar(kind, value, where)
    raise TypeError(f"no way to read {kind!r}")


def _decode_dataclass(kind: type, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    given: dict[str, object] = {}
    for each in fields(kind):
        if each.name in value:
            given[each.name] = _decode(hints[each.name], value[each.name], f"{where}.{each.name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{where}.{each.name} is missing")
    return kind(**given)


def _decode_tuple(kind: object, value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is not a list")
    return tuple(_decode(kind, each, f"{where}[{index}]") for index, each in enumerate(value))


def _decode_mapping(kind: object, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    return {name: _decode(kind, each, f"{where}.{name}") for name, each in value.items()}


def _decode_enum(kind: type[Enum], value: object, where: str) -> Enum:
    try:
        return kind(value)
    except ValueError as exc:
        raise ValueError(f"{where} is {value!r}, which is not known here") from exc


def _decode_scalar(kind: type, value: object, where: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is not of type {kind.__name__}")
    return value
