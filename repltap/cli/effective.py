"""What is configured, as a TOML file that can be loaded again, each value with where it came from.

Secrets are left out: a comment says where they were given. Who loads the file gives them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from repltap.addresses import host_port
from repltap.config_sources import Given
from repltap.delivery.options import COMMON
from repltap.delivery.registry import find_sink
from repltap.options import OPTIONS, SECTIONS, Option
from repltap.sink_config import SinkConfig
from repltap.sinkspec import TARGET, sink_variable
from repltap.user_config import UserConfig
from repltap.values import Endpoint, UpstreamUrl, words

_SECRETS = ("password", "sentinel_password", "token", "tls_key_file_pass")
_HIDDEN = '"***"'
_NO_VALUE = ("", "off", "listen", "host:port")  # defaults that say what happens, and can't be given
_AS_THE_SINK = "  # given with the sink"
_UNITS = (("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10))
_PASSWORD = re.compile(r"(://[^/@\s:]*):[^@\s]+@")


def effective(given: Given, environ: Mapping[str, str], file: Path | None) -> str:
    """Write the configuration.

    Args:
        given: What was configured; it has been found to be right.
        environ: The environment: variables set single settings of sinks.
        file: The configuration file, for the comments.

    Returns:
        TOML text.
    """
    sections = [
        "\n".join([f"[{section}]", *_section(section, given, file)]) for section in SECTIONS
    ]
    sections += ["\n".join(_user(user, environ)) for user in given.users]
    sections += ["\n".join(_sink(sink, environ)) for sink in given.sinks]
    return "\n\n".join(sections) + "\n"


def _section(section: str, given: Given, file: Path | None) -> Iterator[str]:
    layers = {name: _layer_of_secret(section, name, given) for name in _SECRETS}
    for option in (option for option in OPTIONS if option.section == section):
        at = next((i for i, layer in enumerate(given.layers) if option.key in layer), None)
        if (secret := option.name.removesuffix("_file")) in layers and at != layers[secret]:
            at = None  # a stronger source gives it in another way
        if at is None:
            if option.key == "store_segment_bytes":
                # One that is asked for may be refused beside a small quota; the default gives way.
                yield f"# {option.name}: {option.default}, less with a small quota (default)"
            elif option.default in _NO_VALUE:
                yield f"# {option.name}: {option.default or 'not set'} (default)"
            else:
                yield f"{option.name} = {_default(option)}  # default"
            continue
        origin = (option.flag, option.variable, str(file))[at]
        value = given.layers[at][option.key]
        if option.secret:
            yield f"# {option.name} = {_HIDDEN}  # {origin}; not shown"
        else:
            yield f"{option.name} = {_of_option(option, value)}  # {origin}"
        if isinstance(value, UpstreamUrl) and value.password is not None:
            yield f"# its password: {_HIDDEN}  # {origin}; not shown"


def _layer_of_secret(section: str, name: str, given: Given) -> int | None:
    """Find the source that counts: what weaker ones say of the secret does not."""
    for index, layer in enumerate(given.layers):
        url = layer.get(section)
        of_url = name == "password" and isinstance(url, UpstreamUrl) and url.password is not None
        if f"{section}_{name}" in layer or f"{section}_{name}_file" in layer or of_url:
            return index
    return None


def _default(option: Option) -> str:
    return _of_option(option, None if option.default == "none" else option.parse(option.default))


def _of_option(option: Option, value: object) -> str:
    if option.metavar == "SIZE" and isinstance(value, int):
        for unit, size in _UNITS:
            if value and value % size == 0:
                return _toml(f"{value // size}{unit}")
    return _toml(value)


def _user(user: UserConfig, environ: Mapping[str, str]) -> Iterator[str]:
    yield f"[user.{user.name}]  # {user.origin}"
    yield f"rights = {_toml(sorted(right.value for right in user.rights))}"
    file = f"{user.variable}_FILE"
    if environ.get(user.variable):
        yield f"# password = {_HIDDEN}  # {user.variable}; not shown"
    elif environ.get(file):
        yield f"password_file = {_toml(environ[file])}  # {file}"
    elif user.password is not None:
        yield f"# password = {_HIDDEN}  # with the user; not shown"
    else:
        yield f"password_file = {_toml(user.password_file)}"


def _sink(sink: SinkConfig, environ: Mapping[str, str]) -> Iterator[str]:
    kind = find_sink(sink.type, sink.origin)
    settings = dict(sink.settings)
    if TARGET in settings:
        settings[kind.target] = settings.pop(TARGET)
    yield f"[sink.{sink.name}]  # {sink.origin}"
    yield f"type = {_toml(sink.type)}"
    by_flag = sink.origin.startswith("--sink")
    for option in (*COMMON, *kind.options):
        variable = sink_variable(sink.name, option.name)
        value, origin = settings.get(option.name), ""
        if environ.get(variable, "") and not (by_flag and option.name in settings):
            value, origin = environ[variable], f"  # {variable}"
        from_file = f"{option.name}_file"
        if option.secret and value is not None:
            yield f"# {option.name} = {_HIDDEN}{origin or _AS_THE_SINK}; not shown"
        elif option.secret and from_file in settings:
            yield f"{from_file} = {_toml(settings[from_file])}"
        elif isinstance(value, str) and _PASSWORD.search(value):
            shown = _PASSWORD.sub(r"\1@", value).replace("://@", "://")
            yield f"{option.name} = {_toml(shown)}{origin or _AS_THE_SINK}; password not shown"
        elif value is not None:
            yield f"{option.name} = {_toml(value)}{origin}"


def _toml(value: object) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if value == int(value) and abs(value) < 1e6 else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        value = list(words(value))
    if isinstance(value, Mapping):
        return (
            f"{{ {', '.join(f'{_toml(name)} = {_toml(each)}' for name, each in value.items())} }}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Endpoint | UpstreamUrl):
        value = _address(value)
    # A JSON string is a TOML string, but for this one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _address(value: Endpoint | UpstreamUrl) -> str:
    if isinstance(value, Endpoint):
        return host_port(value.host, value.port)
    user = f"{quote(value.username, safe='')}@" if value.username else ""
    if value.sentinels:
        named = ",".join(host_port(host, port) for host, port in value.sentinels)
        scheme = "rediss-sentinel" if value.tls else "redis-sentinel"
        return f"{scheme}://{user}{named}/{quote(value.master_name, safe='')}"
    if value.port == 0:
        return f"unix://{user}{quote(value.host)}"
    return f"{'rediss' if value.tls else 'redis'}://{user}{host_port(value.host, value.port)}"
