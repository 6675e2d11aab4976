"""TLS: what is configured of it, and the contexts that are made of that.

A `ClientTls` or `ServerTls` holds the context in use. Files are read when it is first needed, and
again by `read`, all or nothing. Connections keep the context that they began with. Nothing here
opens a connection; nothing here shows a passphrase.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from repltap.certificate import Certificate, first_in_pem
from repltap.errors import ConfigError
from repltap.secret_files import read_bounded
from repltap.tls_faults import TlsFault, reason_of, tls_fault, words

_MAX_FILE_BYTES = 4 << 20
"""A bundle of all public CAs has a quarter of a megabyte: more is some other file."""


class Verify(Enum):
    """What is checked of a server's certificate."""

    YES = "yes"  # who signed it, when it is valid, and its name
    CA = "ca"  # all but the name, as Redis's own replicas do
    NO = "no"  # nothing: the connection is encrypted, to whoever has answered


class AuthClients(Enum):
    """Whether clients have to show a certificate (Redis's `tls-auth-clients`)."""

    YES = "yes"
    OPTIONAL = "optional"  # one that is shown has to be right
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A certificate and its key.

    Attributes:
        cert_file: PEM: the certificate, and those between it and the CA.
        key_file: PEM.
        key_file_pass: What the key is encrypted with, None for nothing.
    """

    cert_file: Path
    key_file: Path
    key_file_pass: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose signatures are trusted: files of the system where neither is given."""

    ca_cert_file: Path | None = None
    ca_cert_dir: Path | None = None

    @property
    def shown(self) -> str:
        """For people."""
        given = [str(one) for one in (self.ca_cert_file, self.ca_cert_dir) if one is not None]
        return " or ".join(given) or "this system"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTlsConfig:
    """How a connection that we open is made.

    Attributes:
        section: What it is of, for errors: `upstream`.
        trust: Who may have signed the server's certificate.
        credentials: Our own certificate, None for none.
        sni: The name that the server is asked for and its certificate compared with, "" for the
            host.
        verify: What is checked.
    """

    section: str
    trust: Trust = field(default_factory=Trust)
    credentials: Credentials | None = None
    sni: str = ""
    verify: Verify = Verify.YES


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTlsConfig:
    """How connections are accepted.

    Attributes:
        section: What it is of, for errors: `listen`.
        credentials: Our certificate.
        trust: Who may have signed those of clients.
        auth_clients: Whether they have to show one.
    """

    section: str
    credentials: Credentials
    trust: Trust = field(default_factory=Trust)
    auth_clients: AuthClients = AuthClients.YES


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    own: Certificate | None


_C = TypeVar("_C", ClientTlsConfig, ServerTlsConfig)


class Tls(Generic[_C]):
    """The context in use.

    Attributes:
        config: What it was made of.
    """

    def __init__(self, config: _C) -> None:
        self.config: _C = config
        self._loaded: _Loaded | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """The context for new connections; the first time its files are read.

        Raises:
            ConfigError: One can't be used.
        """
        return self._in_use().context

    @property
    def certificate(self) -> Certificate | None:
        """Our own certificate, as it was read."""
        return self._in_use().own

    def load(self) -> None:
        """Read the files, if that has not been done.

        Raises:
            ConfigError: One can't be used.
        """
        self._in_use()

    def read(self, config: _C) -> Callable[[], str]:
        """Read the files again; may take its time.

        Args:
            config: As it is configured now.

        Returns:
            What puts them into effect, and says what they are.

        Raises:
            ConfigError: One can't be used; what was read before stays in use.
        """
        loaded = self._load(config)

        def take() -> str:
            self.config, self._loaded = config, loaded
            return "used for new connections, the present ones stay"

        return take

    def _in_use(self) -> _Loaded:
        if self._loaded is None:
            self._loaded = self._load(self.config)
        return self._loaded

    def _load(self, config: _C) -> _Loaded:
        raise NotImplementedError


class ClientTls(Tls[ClientTlsConfig]):
    """TLS of connections that we open."""

    def name(self, host: str) -> str:
        """Tell which name the server at `host` is asked for, and has to have."""
        return self.config.sni or host

    def fault(self, failure: BaseException, who: str, host: str) -> TlsFault:
        """Say why a connection failed; see `tls_fault`."""
        return tls_fault(failure, who, name=self.name(host), trusted=self.config.trust.shown)

    def _load(self, config: ClientTlsConfig) -> _Loaded:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.verify is not Verify.YES:
            context.check_hostname = False
        if config.verify is Verify.NO:
            context.verify_mode = ssl.CERT_NONE
        else:
            _load_trust(context, config.trust, config.section)
        own = None
        if config.credentials is not None:
            own = _load_credentials(context, config.credentials, config.section)
        return _Loaded(context, own)


class ServerTls(Tls[ServerTlsConfig]):
    """TLS of connections that we accept."""

    def _load(self, config: ServerTlsConfig) -> _Loaded:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client could make us compute one key after the other, and reading would need writing.
        context.options |= ssl.OP_NO_RENEGOTIATION
        if config.auth_clients is not AuthClients.NO:
            optional = config.auth_clients is AuthClients.OPTIONAL
            context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
            _load_trust(context, config.trust, config.section)
        return _Loaded(context, _load_credentials(context, config.credentials, config.section))


def client_tls(section: str, settings: Mapping[str, Any], prefix: str = "tls_") -> ClientTls:
    """Make one of settings, which are called as Redis's with `_` for `-`.

    Args:
        section: What they are of, for errors.
        settings: `tls_ca_cert_file`, `tls_ca_cert_dir`, `tls_cert_file`, `tls_key_file`,
            `tls_key_file_pass`, `tls_sni`, `tls_verify`, as far as they are there and not None.
        prefix: What their names begin with.

    Raises:
        ValueError: A certificate without its key, or the other way round.
    """

    def given(name: str) -> Any:  # Any: as the option parses
        return settings.get(prefix + name)

    cert, key = given("cert_file"), given("key_file")
    if (cert is None) != (key is None):
        lacking = "tls_cert_file" if cert is None else "tls_key_file"
        raise ValueError(f"{lacking} is missing: a certificate and its key belong together")
    credentials = None
    if cert is not None and key is not None:
        credentials = Credentials(
            cert_file=cert, key_file=key, key_file_pass=given("key_file_pass")
        )
    return ClientTls(
        ClientTlsConfig(
            section=section,
            trust=Trust(ca_cert_file=given("ca_cert_file"), ca_cert_dir=given("ca_cert_dir")),
            credentials=credentials,
            sni=given("sni") or "",
            verify=Verify(given("verify") or Verify.YES.value),
        )
    )


def _load_trust(context: ssl.SSLContext, trust: Trust, section: str) -> None:
    file, directory = trust.ca_cert_file, trust.ca_cert_dir
    if file is None and directory is None:
        context.load_default_certs()
        return
    if file is not None:
        text = _read(file, f"{section}: tls_ca_cert_file")
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):
            raise ConfigError(
                f"{section}: tls_ca_cert_file {file} holds no certificate that can be read",
                hint="it has to be PEM: -----BEGIN CERTIFICATE-----",
            ) from None
    if directory is not None:
        if not directory.is_dir():
            raise ConfigError(f"{section}: tls_ca_cert_dir {directory} is no directory")
        # OpenSSL looks into it at each handshake, for names that `openssl rehash` makes.
        context.load_verify_locations(capath=str(directory))


def _load_credentials(
    context: ssl.SSLContext, credentials: Credentials, section: str
) -> Certificate:
    cert, key = credentials.cert_file, credentials.key_file
    where = f"{section}: tls_cert_file {cert}"
    for name, file in (("cert", cert), ("key", key)):
        if file.is_fifo():  # OpenSSL reads it once more, and would wait for another writer
            raise ConfigError(f"{section}: tls_{name}_file {file} is a pipe: it has to be a file")
    try:
        own = first_in_pem(_read(cert, f"{section}: tls_cert_file"))
    except ValueError:
        raise ConfigError(
            f"{where} holds no certificate that can be read",
            hint="it has to be PEM: -----BEGIN CERTIFICATE-----",
        ) from None
    text = _read(key, f"{section}: tls_key_file")
    encrypted = "ENCRYPTED" in text
    if encrypted and credentials.key_file_pass is None:
        raise ConfigError(
            f"{section}: tls_key_file {key} is encrypted",
            hint="set tls_key_file_pass by the environment or tls_key_file_pass_file",
        )
    # Never None: OpenSSL would ask on the terminal.
    word = credentials.key_file_pass or ""
    try:
        context.load_cert_chain(cert, key, password=word)
    except (ssl.SSLError, ValueError, OSError) as exc:
        reason = reason_of(exc) if isinstance(exc, OSError) else ""
        raise _unusable(section, credentials, reason, encrypted=encrypted) from None
    return own


def _unusable(
    section: str, credentials: Credentials, reason: str, *, encrypted: bool
) -> ConfigError:
    cert, key = credentials.cert_file, credentials.key_file
    if reason == "KEY_VALUES_MISMATCH":
        return ConfigError(
            f"{section}: tls_key_file {key} is not the key of tls_cert_file {cert}",
            hint="the first certificate in the file has to be the one with this key",
        )
    if encrypted:
        return ConfigError(
            f"{section}: tls_key_file {key} can't be decrypted",
            hint="is it the right tls_key_file_pass?",
        )
    said = f": {words(reason)}" if reason else ""
    return ConfigError(
        f"{section}: tls_cert_file {cert} and tls_key_file {key} can't be used{said}",
        hint="both have to be PEM; the key: -----BEGIN PRIVATE KEY-----",
    )


def _read(file: Path, what: str) -> str:
    try:
        data = read_bounded(file, _MAX_FILE_BYTES + 1, f"{what} {file}")
    except OSError as exc:
        raise ConfigError(f"{what} {file} can't be read: {exc.strerror}") from exc
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{what} {file} is no PEM file: it has more than {_MAX_FILE_BYTES} bytes")
    return data.decode("ascii", "replace")
