"""Options that several commands share, made from the table that `repltap run` uses."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from repltap.config_sources import read_sources
from repltap.errors import ConfigError
from repltap.options import OPTIONS, Option
from repltap.secret_files import check_tokens, read_passwords
from repltap.sink_config import VARIABLE as SINK_VARIABLE
from repltap.tls import ClientTls, ClientTlsConfig, Credentials, Trust, Verify
from repltap.values import DEFAULT_REDIS_PORT

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: click's own callback type

config_file = click.option(
    "--config",
    "file",
    metavar="FILE",
    envvar="REPLTAP_CONFIG",
    type=click.Path(path_type=Path),
    help="A TOML file with the options of `repltap run`.",
)

sink_flag = click.option(
    "--sink",
    "sink",
    metavar="SPEC",
    multiple=True,
    help="A sink: TYPE[:TARGET][,name=value...]; sink=NAME names it. Can be repeated.  "
    f"[env: {SINK_VARIABLE}, with spaces between]",
)

http_option = click.option(
    "--http",
    "address",
    metavar="URL|HOST:PORT",
    default="127.0.0.1:8380",
    show_default=True,
    envvar="REPLTAP_HTTP",
    help="Where the relay's HTTP side listens.",
)

token_file_option = click.option(
    "--token-file",
    metavar="FILE",
    envvar="REPLTAP_HTTP_TOKEN_FILE",
    type=click.Path(path_type=Path),
    help="File with the relay's HTTP token, if it asks for one; or the token itself in "
    "REPLTAP_HTTP_TOKEN.",
)


def http_token(file: Path | None) -> str:
    """Give the token for the HTTP side of a relay, "" for none.

    Args:
        file: From `token_file_option`; of several tokens in it the first is used.

    Raises:
        ConfigError: It can't be read, or sent.
    """
    if file is not None:
        token, where = read_passwords(file, "--token-file")[0], f"--token-file {file}"
    else:
        token, where = os.environ.get("REPLTAP_HTTP_TOKEN", ""), "REPLTAP_HTTP_TOKEN"
    check_tokens([token], where)  # http.client would refuse it, and show it
    return token


def https_flags(command: _F) -> _F:
    """Give a command what it needs to ask a relay by https; `https_context` reads them."""
    for made in (
        click.option("--insecure", is_flag=True, help="Ask by https, whoever answers."),
        click.option("--key", metavar="FILE", type=click.Path(path_type=Path),
                     help="Its key."),
        click.option("--cert", metavar="FILE", type=click.Path(path_type=Path),
                     help="Certificate to show, if the relay asks for one."),
        click.option("--cacert", metavar="FILE", type=click.Path(path_type=Path),
                     help="CA that has signed the relay's certificate: ask by https.  "
                     "[default: those of the system]"),
    ):  # fmt: skip
        command = made(command)
    return command


def https_context(
    cacert: Path | None, cert: Path | None, key: Path | None, *, insecure: bool
) -> ssl.SSLContext | None:
    """Make what a relay is asked with by https, None where nothing is said of it.

    Raises:
        ConfigError: A file can't be used.
        click.UsageError: A certificate comes without its key, or the other way round.
    """
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    if cacert is None and cert is None and not insecure:
        return None
    credentials = Credentials(cert_file=cert, key_file=key) if cert and key else None
    verify = Verify.NO if insecure else Verify.YES
    trust = Trust(ca_cert_file=cacert)
    config = ClientTlsConfig(section="https", trust=trust, credentials=credentials, verify=verify)
    return ClientTls(config).context


json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


REDISCLI_AUTH = "REDISCLI_AUTH"

_VISIBLE = "a password on the command line is visible in the process list"


def _no_password(_ctx: click.Context, param: click.Parameter, given: str | None) -> None:
    if given is not None:
        raise ConfigError(
            f"{param.opts[0]}: {_VISIBLE}",
            hint="use REPLTAP_UPSTREAM_PASSWORD, --upstream-password-file, or REDISCLI_AUTH",
        )


def redis_cli_flags(command: _F) -> _F:
    """Give a command redis-cli's names for whom it talks to; `from_redis_cli` reads them."""
    for made in (
        click.option("-a", "--pass", metavar="-", callback=_no_password, expose_value=False,
                     help="Refused: others could read it. Use REDISCLI_AUTH, as with redis-cli."),
        click.option("--insecure", is_flag=True, help="As --upstream-tls-verify no."),
        click.option("--sni", metavar="NAME", help="As --upstream-tls-sni."),
        click.option("--key", metavar="FILE", help="As --upstream-tls-key-file."),
        click.option("--cert", metavar="FILE", help="As --upstream-tls-cert-file."),
        click.option("--cacertdir", metavar="DIR", help="As --upstream-tls-ca-cert-dir."),
        click.option("--cacert", metavar="FILE", help="As --upstream-tls-ca-cert-file."),
        click.option("--tls", is_flag=True, help="As --upstream-tls."),
        click.option("--user", metavar="NAME", help="As --upstream-username."),
        click.option("-p", "port", type=click.IntRange(1, 65535), metavar="PORT",
                     help="As the port in --upstream.  [default: 6379]"),
        click.option("-h", "host", metavar="HOST", help="As the host in --upstream."),
    ):  # fmt: skip
        command = made(command)
    return command


_TLS_FLAGS = {
    "tls": "upstream_tls",
    "cacert": "upstream_tls_ca_cert_file",
    "cacertdir": "upstream_tls_ca_cert_dir",
    "cert": "upstream_tls_cert_file",
    "key": "upstream_tls_key_file",
    "sni": "upstream_tls_sni",
    "insecure": "upstream_tls_verify",
}


def from_redis_cli(flags: dict[str, object]) -> dict[str, object]:
    """Turn redis-cli's flags into those of the table.

    Args:
        flags: As click gives them, with `host`, `port`, `user` and those of TLS.

    Returns:
        The same without these.

    Raises:
        click.UsageError: The same is said in both ways.
    """
    left = dict(flags)
    host, port, user = left.pop("host", None), left.pop("port", None), left.pop("user", None)
    if host is not None or port is not None:
        if left.get("upstream") is not None:
            raise click.UsageError("-h and -p go without --upstream")
        name = str(host or "127.0.0.1")
        shown = f"[{name}]" if ":" in name else name
        left["upstream"] = f"redis://{shown}:{port or DEFAULT_REDIS_PORT}"
    if user is not None:
        if left.get("upstream_username") is not None:
            raise click.UsageError("--user and --upstream-username are the same")
        left["upstream_username"] = user
    return _tls_from_redis_cli(left)


def _tls_from_redis_cli(flags: dict[str, object]) -> dict[str, object]:
    left = dict(flags)
    left["tls"] = "yes" if left.get("tls") else None
    left["insecure"] = "no" if left.get("insecure") else None
    for ours, theirs in _TLS_FLAGS.items():
        value = left.pop(ours, None)
        if value is None:
            continue
        if left.get(theirs) is not None:
            raise click.UsageError(f"--{ours} and --{theirs.replace('_', '-')} are the same")
        left[theirs] = value
    return left


def redis_cli_environment(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> Mapping[str, str]:
    """Let redis-cli's own variable for the password count with redis-cli's own flags.

    Not otherwise: `repltap run` does not read it, as who follows a master for months should not
    depend on what a shell has for a moment.

    Args:
        flags: As click gives them, before `from_redis_cli`.
        environ: The environment.
        file: The configuration file.

    Returns:
        The environment, with REPLTAP_UPSTREAM_PASSWORD where only REDISCLI_AUTH gives a password.
    """
    word = environ.get(REDISCLI_AUTH, "")
    if not word or (flags.get("host") is None and flags.get("port") is None):
        return environ
    given = read_sources(from_redis_cli(dict(flags)), environ, file)
    if given.password("upstream") is not None:
        return environ
    return {**environ, "REPLTAP_UPSTREAM_PASSWORD": word}


def flag(option: Option) -> click.Option:
    """Make the flag of an option in the table."""
    shown = f"{option.help}  [default: {option.default}]" if option.default else option.help
    if option.metavar == "BOOL":
        return click.Option([option.flag], help=shown, is_flag=True, flag_value="yes", default=None)
    return click.Option([option.flag], help=shown, metavar=option.metavar)


UPSTREAM_TLS = tuple(
    option.key for option in OPTIONS if option.key.startswith("upstream_tls") and not option.secret
)
"""For commands that connect to a server."""


def table_options(*keys: str) -> Callable[[_F], _F]:
    """Give a command options of the table, by `Option.key`, and `--config`.

    Their variables are read with the rest of the environment, by `repltap.config`.
    """
    chosen = [option for option in OPTIONS if option.key in keys]

    def decorate(command: _F) -> _F:
        command = config_file(command)
        for option in reversed(chosen):
            shown = f"{option.help}  [env: {option.variable}]"
            if option.metavar == "BOOL":
                made = click.option(
                    option.flag,
                    option.key,
                    is_flag=True,
                    flag_value="yes",
                    default=None,
                    help=shown,
                )
            else:
                made = click.option(option.flag, option.key, metavar=option.metavar, help=shown)
            command = made(command)
        return command

    return decorate
