"""How an address is shown to people."""

from __future__ import annotations


def host_port(host: str, port: int) -> str:
    """Join host and port; an IPv6 address goes in brackets (RFC 3986, 3.2.2).

    Args:
        host: A name, an address, or the path of a unix socket, which stays as it is.
        port: 0 to 65535.

    Returns:
        Such as `127.0.0.1:6379` or `[::1]:6379`.
    """
    bare = ":" not in host or "/" in host
    return f"{host}:{port}" if bare else f"[{host}]:{port}"
