"""What is configured of Sentinel, checked together."""

from __future__ import annotations

from repltap.config_sections import SentinelConfig
from repltap.config_sources import Given
from repltap.errors import ConfigError
from repltap.tls import ClientTls
from repltap.values import UpstreamUrl


def sentinel_config(
    given: Given, url: UpstreamUrl, tls: ClientTls | None = None
) -> SentinelConfig | None:
    """Say who names the master; None where the URL does.

    Args:
        given: What is configured.
        url: Of the upstream.
        tls: What connections to sentinels are made with.

    Raises:
        ConfigError: Something for sentinels is given without them, or a login by halves.
    """
    username = given.values.get("upstream_sentinel_username")
    password = given.password("upstream_sentinel")
    if not url.sentinels:
        if username is not None or password is not None:
            raise ConfigError(
                "upstream: a user or password for sentinels, and no sentinels",
                hint="give them as --upstream redis-sentinel://HOST:PORT,.../NAME",
            )
        if given.values.get("upstream_sentinel_tls") is not None:
            raise ConfigError(
                "upstream: sentinel_tls is set, and there are no sentinels",
                hint="TLS to the master is rediss:// or tls yes",
            )
        return None
    if username is not None and password is None:
        raise ConfigError(
            f"upstream: no password for the sentinels' user {username!r}",
            hint="set REPLTAP_UPSTREAM_SENTINEL_PASSWORD or --upstream-sentinel-password-file",
        )
    return SentinelConfig(
        addresses=url.sentinels,
        master_name=url.master_name,
        username=username,
        password=password,
        tls=tls,
    )
