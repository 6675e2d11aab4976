"""What is configured of TLS, checked together: the options that begin with `tls`.

Whoever names a CA or a certificate wants TLS. Where it is off all the same that is an error, never
a connection without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from repltap.config_sources import Given, read_sources
from repltap.errors import ConfigError
from repltap.tls import (
    AuthClients,
    ClientTls,
    ClientTlsConfig,
    Credentials,
    ServerTls,
    ServerTlsConfig,
    Trust,
    Verify,
)
from repltap.values import UpstreamUrl

_UPSTREAM, _LISTEN, _HTTP = "upstream", "listen", "http"


def tls_wanted(given: Given) -> tuple[bool, bool]:
    """Say whether TLS is spoken to the master, and whether to its sentinels.

    `rediss-sentinel://` is both, until `tls` or `sentinel_tls` says otherwise.
    """
    values = given.values
    url: UpstreamUrl | None = values.get(_UPSTREAM)
    secured = url is not None and url.tls
    if url is None or not url.sentinels:
        return secured or bool(values.get("upstream_tls")), False
    to_master, to_sentinels = values.get("upstream_tls"), values.get("upstream_sentinel_tls")
    return (
        secured if to_master is None else bool(to_master),
        secured if to_sentinels is None else bool(to_sentinels),
    )


def upstream_tls(given: Given) -> ClientTls | None:
    """Make what connections to the master and its sentinels are made with, None for no TLS.

    Raises:
        ConfigError: Options don't go together, or a passphrase can't be read; no other file is
            looked at.
    """
    values = given.values
    url: UpstreamUrl | None = values.get(_UPSTREAM)
    if not any(tls_wanted(given)):
        _refuse_leftovers(values, _UPSTREAM, "use rediss:// or set tls yes")
        return None
    if url is not None and url.port == 0 and not url.sentinels:
        raise ConfigError("upstream: there is no TLS over a unix socket", hint="set tls no")
    config = ClientTlsConfig(
        section=_UPSTREAM,
        trust=_trust(values, _UPSTREAM),
        credentials=_credentials(given, _UPSTREAM),
        sni=values.get("upstream_tls_sni", ""),
        verify=Verify(values.get("upstream_tls_verify", Verify.YES.value)),
    )
    return ClientTls(config)


def listen_tls(given: Given) -> ServerTls | None:
    """Make what replicas and clients are accepted with at `tls_address`, None where it is off.

    Raises:
        ConfigError: As `upstream_tls`.
    """
    if given.values.get("listen_tls_address") is None:
        _refuse_leftovers(given.values, _LISTEN, "set tls_address to the port for TLS")
        return None
    return _server(given, _LISTEN, AuthClients.YES)


def http_tls(given: Given) -> ServerTls | None:
    """Make what the HTTP side is served with, None for http.

    Raises:
        ConfigError: As `upstream_tls`.
    """
    if "http_tls_cert_file" not in given.values:
        _refuse_leftovers(given.values, _HTTP, "set tls_cert_file")
        return None
    # Browsers and Prometheus rarely have a certificate of their own.
    return _server(given, _HTTP, AuthClients.NO)


_T = TypeVar("_T")


def read_tls(
    make: Callable[[Given], _T],
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    file: Path | None,
) -> _T:
    """Make one of these from the configuration as it is now; nothing else has to be right.

    Args:
        make: `upstream_tls`, `listen_tls` or `http_tls`.
        flags, environ, file: As for `repltap.config.load`.

    Raises:
        ConfigError: As `make`, or a source can't be read.
    """
    return make(read_sources(flags, environ, file))


def _server(given: Given, section: str, auth_clients: AuthClients) -> ServerTls:
    values = given.values
    credentials = _credentials(given, section)
    if credentials is None:
        raise ConfigError(
            f"{section}: TLS needs a certificate", hint="set tls_cert_file and tls_key_file"
        )
    auth = AuthClients(values.get(f"{section}_tls_auth_clients", auth_clients.value))
    trust = _trust(values, section)
    # As Redis (`tlsConfigure`): all CAs of the system would let in who has any certificate.
    if auth is not AuthClients.NO and trust == Trust():
        raise ConfigError(
            f"{section}: tls_auth_clients {auth.value} needs tls_ca_cert_file or tls_ca_cert_dir",
            hint="name the CA that signs your clients' certificates, or set tls_auth_clients no",
        )
    return ServerTls(
        ServerTlsConfig(section=section, credentials=credentials, trust=trust, auth_clients=auth)
    )


def _trust(values: Mapping[str, Any], section: str) -> Trust:
    return Trust(
        ca_cert_file=values.get(f"{section}_tls_ca_cert_file"),
        ca_cert_dir=values.get(f"{section}_tls_ca_cert_dir"),
    )


def _credentials(given: Given, section: str) -> Credentials | None:
    cert = given.values.get(f"{section}_tls_cert_file")
    key = given.values.get(f"{section}_tls_key_file")
    word = given.password(section, "tls_key_file_pass")
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        lacking = "tls_cert_file" if cert is None else "tls_key_file"
        raise ConfigError(
            f"{section}: {lacking} is missing: a certificate and its key belong together"
        )
    return Credentials(cert_file=cert, key_file=key, key_file_pass=word)


def _refuse_leftovers(values: Mapping[str, Any], section: str, hint: str) -> None:
    begin = f"{section}_tls_"
    for key in values:
        if key.startswith(begin) and key.endswith(("_file", "_dir")):
            name = key.removeprefix(f"{section}_")
            raise ConfigError(f"{section}: {name} is set, but TLS is off", hint=hint)
