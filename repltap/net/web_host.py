"""The name by which a browser reached the HTTP side, where nothing else shields it: DNS rebinding.

A page from elsewhere can't read what this machine's own port answers, unless the page's name is
made to lead to 127.0.0.1 once it has been loaded: then the browser takes both for the same place.
The browser still says the page's name in `Host` (RFC 9110, 7.2), and that name is none of ours.
An address can't be made to lead elsewhere, so every address is right.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from repltap.values import is_loopback


def is_exposed(host: str, *, tls: bool) -> bool:
    """Tell whether names have to be looked at, where no token is asked for.

    Args:
        host: What is listened on. More than loopback is reached by names that only those who
            gave them know, and is open to everybody there anyway.
        tls: A browser then compares the name with the certificate, which has none of a stranger.
    """
    return is_loopback(host) and not tls


def is_ours(host: str | None) -> bool:
    """Tell whether a `Host` header names this machine.

    Args:
        host: With or without a port; None for a request without one, which no browser makes.
    """
    if host is None:
        return True
    name = _name_of(host).lower().removesuffix(".")
    if _is_address(name):
        return True
    own = socket.gethostname().lower()
    # Browsers take all names below localhost for this machine (RFC 6761, 6.3).
    return name in ("localhost", own, own.partition(".")[0]) or name.endswith(".localhost")


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
