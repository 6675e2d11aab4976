"""The one table of options: the command line, the environment and the file are read through it.

An option of section `upstream` called `announce_ip` is the flag `--upstream-announce-ip`, the
variable `REPLTAP_UPSTREAM_ANNOUNCE_IP` and `announce_ip` under `[upstream]`. The few with a short
name (`--upstream`, `--listen`, `--http`, `--data-dir`) are called so in flag and variable. The
table in docs/configuration.md is checked against this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repltap.sentinel_url import parse_upstream
from repltap.values import (
    ack_policy,
    boolean,
    choice,
    endpoint,
    endpoint_or_off,
    integer,
    path,
    readiness,
    seconds,
    secret,
    server_name,
    server_version,
    size,
    text,
)

ENVIRONMENT_PREFIX = "REPLTAP_"
FSYNC_POLICIES = ("always", "everysec", "no")
LEVELS = ("debug", "info", "warning", "error")
VERIFIES = ("yes", "ca", "no")
AUTH_CLIENTS = ("yes", "optional", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: how it is called in all three places, how it is read, what it is for.

    Attributes:
        section, name: Its place in the TOML file.
        parse: From text (flag, environment) or a TOML value; ValueError says what it wanted.
        help, metavar: For people.
        default: As shown to people; the dataclasses hold the value.
        short: The flag's name where it is not section-name.
        secret: Never shown, and never taken from the command line.
    """

    section: str
    name: str
    parse: Callable[[object], object]
    help: str
    metavar: str
    default: str = ""
    short: str = ""
    secret: bool = False

    @property
    def key(self) -> str:
        """The flag's name with underscores: what `load` looks up in `flags`."""
        return self.short or f"{self.section}_{self.name}"

    @property
    def flag(self) -> str:
        """As on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """As in the environment."""
        return ENVIRONMENT_PREFIX + self.key.upper()


_UP, _LISTEN, _STORE, _SNAPSHOT = "upstream", "listen", "store", "snapshot"
_PORT = integer(1, 65535)
_PERIOD = seconds(0.001, 86400)
_AGE = seconds(1, 10 * 365 * 86400)
# The slowest still moves a gigabyte within a day or so; less would never end.
_RATE = size(10_000)
_Row = tuple[str, str, Callable[[object], object], str, str, str]


def _tls_rows(section: str, peers: str, *, client: bool = False) -> tuple[_Row, ...]:
    """The files of TLS, by Redis's names."""
    own = f"Certificate shown to {peers}, PEM." if client else "Certificate of this relay, PEM."
    return (
        (section, "tls_cert_file", path, "FILE", "", own),
        (section, "tls_key_file", path, "FILE", "", "Its key, PEM."),
        (section, "tls_key_file_pass", secret, "TEXT", "", "Passphrase of this key."),
        (section, "tls_key_file_pass_file", path, "FILE", "", "File with this passphrase."),
        (section, "tls_ca_cert_file", path, "FILE", "", f"CAs that sign for {peers}, PEM."),
        (section, "tls_ca_cert_dir", path, "DIR", "", f"Directory of CAs that sign for {peers}."),
    )


# section, name, how it is read, what it is called in help, default as shown, help
_ROWS: tuple[_Row, ...] = (
    (
        _UP,
        "url",
        parse_upstream,
        "URL",
        "",
        "The master: redis[s]://[user@]host[:port], unix:///path, redis[s]-sentinel://host,host/name.",
    ),
    (_UP, "name", text, "NAME", "", "What sinks and metrics call the master, not host:port."),
    (_UP, "username", text, "NAME", "", "ACL user at the master."),
    (_UP, "password", secret, "TEXT", "", "Password at the master."),
    (_UP, "password_file", path, "FILE", "", "File with the password at the master."),
    (_UP, "sentinel_username", text, "NAME", "", "ACL user at the sentinels."),
    (_UP, "sentinel_password", secret, "TEXT", "", "Password at the sentinels."),
    (_UP, "sentinel_password_file", path, "FILE", "", "File with the password at the sentinels."),
    (_UP, "sentinel_tls", boolean, "YES|NO", "", "TLS to the sentinels, not as the URL says."),
    (_UP, "announce_ip", text, "IP", "", "Address that the master shows for this relay."),
    (_UP, "announce_port", _PORT, "PORT", "listen", "Port that the master shows."),
    (
        _UP,
        "announce_version",
        server_version,
        "VERSION",
        "9.1.2",
        "Version told to Valkey, or none.",
    ),
    (
        _UP,
        "ack_policy",
        ack_policy,
        "POLICY",
        "received",
        "What is acknowledged to the master: received, durable or quorum:N.",
    ),
    (_UP, "timeout_seconds", _PERIOD, "SECONDS", "60", "Silence that ends the link."),
    (_UP, "transfer_timeout_seconds", _PERIOD, "SECONDS", "180", "The same in a transfer."),
    (_UP, "connect_timeout_seconds", _PERIOD, "SECONDS", "5", "Time for a TCP connection."),
    (_UP, "backoff_min_seconds", _PERIOD, "SECONDS", "0.1", "First wait between attempts."),
    (_UP, "backoff_max_seconds", _PERIOD, "SECONDS", "5", "Longest wait between attempts."),
    (_UP, "poll_seconds", seconds(0, 60), "SECONDS", "1", "Asks its offset, for lag; 0 is off."),
    (_UP, "tls", boolean, "BOOL", "", "Use TLS to the master, as rediss:// does."),
    *_tls_rows(_UP, "the master", client=True),
    (_UP, "tls_sni", server_name, "NAME", "", "Name the master is asked for by TLS, not its host."),
    (
        _UP,
        "tls_verify",
        choice(VERIFIES),
        "WORD",
        "yes",
        "What is checked of the master's certificate: yes, ca (all but its name) or no.",
    ),
    (
        _LISTEN,
        "address",
        endpoint_or_off,
        "HOST:PORT",
        "127.0.0.1:6380",
        "Where to listen without TLS, or off.",
    ),
    (_LISTEN, "tls_address", endpoint, "HOST:PORT", "off", "Where to listen with TLS."),
    *_tls_rows(_LISTEN, "clients"),
    (
        _LISTEN,
        "tls_auth_clients",
        choice(AUTH_CLIENTS),
        "WORD",
        "yes",
        "Whether clients must show a certificate: yes, no, or optional.",
    ),
    (_LISTEN, "password", secret, "TEXT", "", "Password that clients must give."),
    (_LISTEN, "password_file", path, "FILE", "", "File with the password that clients must give."),
    (
        _LISTEN,
        "protected_mode",
        boolean,
        "YES|NO",
        "yes",
        "Without a password and users, serve clients on this machine only.",
    ),
    (_LISTEN, "max_clients", integer(1, 100_000), "N", "1024", "Connections at once."),
    (_LISTEN, "timeout_seconds", _PERIOD, "SECONDS", "60", "Silence that ends a replica."),
    (_LISTEN, "max_lag_seconds", _AGE, "SECONDS", "none", "Lag in time that ends a replica."),
    (_LISTEN, "max_transfers", integer(1, 10_000), "N", "16", "Full syncs sent at once."),
    (_LISTEN, "transfer_rate_bytes", _RATE, "SIZE", "none", "Bytes a second for one full sync."),
    (_LISTEN, "total_rate_bytes", _RATE, "SIZE", "none", "Bytes a second for all full syncs."),
    ("http", "address", endpoint, "HOST:PORT", "off", "Where the status page listens."),
    ("http", "token", secret, "TEXT", "", "Token that HTTP clients must give."),
    ("http", "token_file", path, "FILE", "", "File with the token that HTTP clients must give."),
    (
        "http",
        "ready",
        readiness,
        "LIST",
        "serve",
        "What makes /readyz say 200: serve, snapshot, link, lag:30s.",
    ),
    *_tls_rows("http", "clients"),
    (
        "http",
        "tls_auth_clients",
        choice(AUTH_CLIENTS),
        "WORD",
        "no",
        "The same for HTTP; with a certificate of its own it is https.",
    ),
    (_STORE, "data_dir", path, "DIR", "", "Where journal and snapshots are kept."),
    (_STORE, "retain_bytes", size(0), "SIZE", "1gb", "Journal kept for returning replicas."),
    (_STORE, "retain_seconds", _AGE, "SECONDS", "none", "Age at which journal is let go."),
    (_STORE, "pin_limit_bytes", size(0), "SIZE", "4gb", "Journal a slow replica may hold."),
    # The bounds: a segment below 4 KiB is mostly directory; one above 1 GiB makes the check
    # of the last segment at start take seconds, and retention coarse.
    (_STORE, "segment_bytes", size(4096, 1 << 30), "SIZE", "64mb", "Size of a journal file."),
    (_STORE, "quota_bytes", size(1 << 20), "SIZE", "none", "Hard limit on all that is kept."),
    (_STORE, "min_free_bytes", size(0), "SIZE", "64mb", "Room always left on the disk."),
    (
        _STORE,
        "fsync",
        choice(FSYNC_POLICIES),
        "POLICY",
        "everysec",
        "When the journal is forced to the disk: always, everysec or no.",
    ),
    (
        _STORE,
        "check_bytes_per_second",
        size(0),
        "SIZE",
        "32mb",
        "Speed of the check of what was stored before the start; 0 is off.",
    ),
    (_SNAPSHOT, "max_tail_bytes", size(0), "SIZE", "1gb", "Journal after a snapshot that is sent."),
    (_SNAPSHOT, "max_age_seconds", _AGE, "SECONDS", "none", "Age of a snapshot that is sent."),
    (_SNAPSHOT, "refresh_seconds", _AGE, "SECONDS", "none", "Fetch a new snapshot this often."),
    ("log", "level", choice(LEVELS), "LEVEL", "info", ", ".join(LEVELS) + "."),
    ("log", "json", boolean, "BOOL", "no", "One JSON object a line."),
)
_SHORT = {
    (_UP, "url"): "upstream",
    (_LISTEN, "address"): "listen",
    ("http", "address"): "http",
    (_STORE, "data_dir"): "data_dir",
}


def _or_none(parse: Callable[[object], object]) -> Callable[[object], object]:
    """Let `none` be said too, to take back what a file or a variable says."""

    def read(raw: object) -> object:
        return None if raw == "none" else parse(raw)

    return read


def _options() -> tuple[Option, ...]:
    return tuple(
        Option(
            section=section,
            name=name,
            parse=_or_none(parse) if default == "none" else parse,
            metavar=metavar,
            default=default,
            help=help_text,
            short=_SHORT.get((section, name), ""),
            secret=parse is secret,
        )
        for section, name, parse, metavar, default, help_text in _ROWS
    )


OPTIONS = _options()
SECTIONS = tuple(dict.fromkeys(option.section for option in OPTIONS))
