"""The settings of the redis sink."""

from __future__ import annotations

from repltap.sink import Option, choice, integer, path, seconds, secret, size, text
from sinks._redis.url import parse_target

OPTIONS: tuple[Option, ...] = (
    Option(
        name="url",
        parse=parse_target,
        help="The target: redis://[user@]host[:port], or rediss:// for TLS.",
        required=True,
    ),
    Option(name="username", parse=text, help="Its ACL user."),
    Option(name="password", parse=secret, help="Its password.", secret=True),
    Option(name="tls_ca_cert_file", parse=path, help="CAs that sign for the target, PEM."),
    Option(name="tls_ca_cert_dir", parse=path, help="Directory of CAs that sign for the target."),
    Option(name="tls_cert_file", parse=path, help="Certificate shown to the target, PEM."),
    Option(name="tls_key_file", parse=path, help="Its key, PEM."),
    Option(name="tls_key_file_pass", parse=secret, help="Passphrase of this key.", secret=True),
    Option(name="tls_sni", parse=text, help="Name the target is asked for by TLS, not its host."),
    Option(
        name="tls_verify",
        parse=choice(("yes", "ca", "no")),
        help="What is checked of the target's certificate: yes, ca (all but its name) or no.",
        default="yes",
    ),
    Option(
        name="flush",
        parse=choice(("auto", "yes", "no")),
        help="Empty the target for a snapshot; auto: if all in it is from this sink.",
        default="auto",
    ),
    Option(
        name="on_error",
        parse=choice(("stop", "log")),
        help="Where the target refuses what the master has executed: stop, or log it and go on.",
        default="stop",
    ),
    Option(
        name="import_mode",
        parse=choice(("auto", "yes", "no")),
        help="Let a Valkey leave expiring to the master; auto: where its import-mode is on.",
        default="auto",
    ),
    Option(
        name="checkpoint_key",
        parse=text,
        help="The key in the target with the place, if not repltap:checkpoint:NAME.",
    ),
    Option(
        name="checkpoint_db",
        parse=integer(0, 2**31 - 1),
        help="The database of that key.",
        default=0,
    ),
    Option(
        name="pipeline_commands",
        parse=integer(1, 1_000_000),
        help="How many commands may be unanswered.",
        default=10_000,
    ),
    Option(
        name="pipeline_bytes",
        parse=size(1 << 10, 1 << 30),
        help="How many bytes of commands may be unanswered.",
        default=4 << 20,
    ),
    Option(
        name="connect_timeout_seconds",
        parse=seconds(0.1, 600),
        help="How long connecting may take.",
        default=5.0,
    ),
    Option(
        name="timeout_seconds",
        parse=seconds(0.1, 3600),
        help="How long the target may say nothing to what it was sent.",
        default=60.0,
    ),
)
