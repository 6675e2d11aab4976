"""Certificates for tests that start no servers."""

from __future__ import annotations

from pathlib import Path

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
from tests.servers.certificates import Authority, Pair


def authority(directory: Path, name: str = "ca") -> Authority:
    """Make one that is known by nobody yet."""
    return Authority(directory / name)


def credentials(pair: Pair, passphrase: str | None = None) -> Credentials:
    """Name the files of a pair."""
    return Credentials(cert_file=pair.cert_file, key_file=pair.key_file, key_file_pass=passphrase)


def server(pair: Pair, auth: AuthClients = AuthClients.NO) -> ServerTls:
    """Make a server that shows this, and trusts those of the same authority."""
    return ServerTls(
        ServerTlsConfig(
            section="listen",
            credentials=credentials(pair),
            trust=Trust(ca_cert_file=pair.ca_file),
            auth_clients=auth,
        )
    )


def client(
    ca_file: Path | None, pair: Pair | None = None, *, verify: Verify = Verify.YES, sni: str = ""
) -> ClientTls:
    """Make a client that trusts this authority."""
    return ClientTls(
        ClientTlsConfig(
            section="upstream",
            trust=Trust(ca_cert_file=ca_file),
            credentials=credentials(pair) if pair else None,
            verify=verify,
            sni=sni,
        )
    )
