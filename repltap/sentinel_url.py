"""Upstream URLs that name sentinels instead of a master.

    redis-sentinel://[user[:password]@]host[:port][,host[:port]...]/master-name

The user and the password are for the master; the sentinels' own are options of their own. With
`rediss-sentinel` the sentinels and the master are spoken to by TLS, unless options say otherwise.
"""

from __future__ import annotations

from urllib.parse import unquote

from repltap.values import UpstreamUrl, parse_upstream_url, without_secrets

DEFAULT_SENTINEL_PORT = 26379
MAX_SENTINELS = 16
"""Of one master, in the URL or learnt from others. Three or five are usual; what they tell must not
make us open connections without end."""

_SCHEMES = ("redis-sentinel", "valkey-sentinel")
_TLS_SCHEMES = ("rediss-sentinel", "valkeys-sentinel")
_EXAMPLE = "redis-sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster"


def parse_upstream(raw: object) -> UpstreamUrl:
    """Read the URL of a master, or of the sentinels that know it."""
    scheme, mark, rest = raw.partition("://") if isinstance(raw, str) else ("", "", "")
    if not isinstance(raw, str) or not mark or scheme not in (*_SCHEMES, *_TLS_SCHEMES):
        return parse_upstream_url(raw)
    shown = without_secrets(raw)
    user, at, rest = rest.rpartition("@")
    hosts, slash, name = rest.partition("/")
    name = unquote(name)
    if not slash or not name or not name.isprintable() or any(c in name for c in " /?#,"):
        raise ValueError(f"{shown!r}: the master's name is missing, such as {_EXAMPLE}")
    addresses = tuple(dict.fromkeys(_address(host, shown) for host in hosts.split(",")))
    if len(addresses) > MAX_SENTINELS:
        raise ValueError(f"{shown!r}: more than {MAX_SENTINELS} sentinels")
    username, colon, password = user.partition(":")
    return UpstreamUrl(
        host="",
        port=0,
        username=unquote(username) if at and username else None,
        password=unquote(password) if at and colon else None,
        tls=scheme in _TLS_SCHEMES,
        sentinels=addresses,
        master_name=name,
    )


def _address(text: str, shown: str) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        if port and not port.startswith(":"):
            raise ValueError(f"{shown!r}: {text!r} is not [host]:port")
        port = port[1:]
    elif text.count(":") > 1:
        raise ValueError(f"{shown!r}: an IPv6 address goes in brackets, such as [::1]:26379")
    elif ":" in text:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError(f"{shown!r}: a port is missing")
    if not host or not host.isprintable() or any(c in host for c in " /@?#"):
        raise ValueError(f"{shown!r}: a sentinel's host is missing, such as {_EXAMPLE}")
    if port and (not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535):
        raise ValueError(f"{shown!r}: {port!r} is not a port")
    return host, int(port) if port else DEFAULT_SENTINEL_PORT
