"""Certificates for tests: an authority, and what it signs, made anew for each test.

Keys are EC, which takes a millisecond each.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, its key, and the authority that signed it, as files."""

    cert_file: Path
    key_file: Path
    ca_file: Path

    def options(self, prefix: str) -> dict[str, str | int]:
        """Name the files as a relay or a server does: `listen_tls_`, `tls_`."""
        return {
            f"{prefix}cert_file": str(self.cert_file),
            f"{prefix}key_file": str(self.key_file),
            f"{prefix}ca_cert_file": str(self.ca_file),
        }


class Authority:
    """A certificate authority.

    Args:
        directory: Where its files go; made when the first is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    @cached_property
    def _ca(self) -> trustme.CA:
        self._directory.mkdir(parents=True, exist_ok=True)
        return trustme.CA(key_type=trustme.KeyType.ECDSA)

    @cached_property
    def ca_file(self) -> Path:
        """Its own certificate."""
        ca = self._ca
        file = self._directory / "ca.pem"
        ca.cert_pem.write_to_path(str(file))
        return file

    def issue(
        self, *names: str, days: float = 365, passphrase: str = "", into: Pair | None = None
    ) -> Pair:
        """Sign a certificate.

        Args:
            names: Host names and addresses that it is for; this machine if none is given.
            days: How long it is valid; negative: it has expired so long ago.
            passphrase: Encrypts the key.
            into: Files to write over, as a rotation does; else new ones.
        """
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(days=days)
        made = self._ca.issue_cert(
            *(names or HERE),
            common_name=(names or HERE)[0],
            not_before=min(now, until) - datetime.timedelta(days=1),
            not_after=until,
            key_type=trustme.KeyType.ECDSA,
        )
        ca_file = self.ca_file
        self._count += 1
        stem = self._directory / f"{self._count}"
        pair = into or Pair(stem.with_suffix(".crt"), stem.with_suffix(".key"), ca_file)
        pair.cert_file.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        key = made.private_key_pem.bytes()
        if passphrase:
            key = load_pem_private_key(key, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
            )
        pair.key_file.write_bytes(key)
        return pair
