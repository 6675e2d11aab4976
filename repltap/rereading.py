"""What SIGHUP reads again of the configuration: the secrets, and nothing else.

Each is read by itself, from the same flags, variables and files as at the start: a missing file of
one does not keep the other from being read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from repltap.config import load_tokens, load_upstream, load_users
from repltap.errors import ConfigError
from repltap.net.discovery import Discovery
from repltap.net.downstream import Downstream
from repltap.net.upstream import UpstreamLink
from repltap.net.web_access import WebAccess
from repltap.reload import UNCHANGED, Reloads, Take


@dataclass(frozen=True, slots=True, repr=False)
class Sources:
    """Where the configuration came from, as for `repltap.config.load`."""

    flags: Mapping[str, object]
    environ: Mapping[str, str]
    file: Path | None


def add_secrets(
    reloads: Reloads,
    sources: Sources,
    link: UpstreamLink,
    downstream: Downstream,
    discovery: Discovery | None = None,
) -> None:
    """Register the secrets of a relay.

    Args:
        reloads: Where.
        sources: What to read again.
        link: To the master.
        downstream: The port.
        discovery: Of the master by sentinels, None without them.
    """

    def read_upstream() -> Take:
        found = load_upstream(sources.flags, sources.environ, sources.file)

        def take() -> str:
            if link.take_credentials(found.username, found.password):
                return "changed; used at the next connection, the present one stays"
            return UNCHANGED

        return take

    def read_users() -> Take:
        found = load_users(sources.flags, sources.environ, sources.file)
        if downstream.users.required and not found.required:
            raise _opened("password or user")

        def take() -> str:
            if found == downstream.users:
                return UNCHANGED
            gone = downstream.take_users(found)
            names = ", ".join(user.name for user in found.all)
            ended = f"; {gone} connections ended for want of a right" if gone else ""
            return f"changed: {names}{ended}"

        return take

    reloads.add("upstream password", read_upstream)
    # A file that was changed and no SIGHUP sent, as Kubernetes changes a mounted secret.
    link.on_refused = partial(reloads.doubt, "upstream password")
    reloads.add("users of the port", read_users)
    if discovery is not None:
        _add_sentinels(reloads, sources, discovery)


def _add_sentinels(reloads: Reloads, sources: Sources, discovery: Discovery) -> None:
    """Register what is logged in with at the sentinels."""

    def read() -> Take:
        found = load_upstream(sources.flags, sources.environ, sources.file).sentinel

        def take() -> str:
            if found is not None and discovery.take_credentials(found.username, found.password):
                return "changed; used at the next connections, the present ones stay"
            return UNCHANGED

        return take

    reloads.add("sentinels' password", read)


def add_tokens(reloads: Reloads, sources: Sources, access: WebAccess) -> None:
    """Register the tokens of the HTTP side."""

    def read() -> Take:
        found = load_tokens(sources.flags, sources.environ, sources.file)
        if access.digests and not found:
            raise _opened("token")

        def take() -> str:
            if found == access.digests:
                return UNCHANGED
            access.digests = found
            return "changed"

        return take

    reloads.add("HTTP token", read)


def _opened(lacking: str) -> ConfigError:
    """Refuse to open to everybody what was closed.

    A configuration file that is just being written, or a mounted one that is not there yet, looks
    like one without secrets; and who waits on a connection without a login would be let in.
    """
    return ConfigError(
        f"no {lacking} is configured any more, and everybody would be let in",
        hint="that needs a restart",
    )
