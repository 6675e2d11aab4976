"""Which options of TLS go together, and what they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import load, load_upstream
from repltap.errors import ConfigError
from repltap.options import AUTH_CLIENTS, VERIFIES
from repltap.tls import AuthClients, Trust, Verify
from tests.servers.secrets import secret

BASE: dict[str, object] = {"upstream": "redis://m", "data_dir": "d"}
PAIR = {"tls_cert_file": "c", "tls_key_file": "k"}


def of(section: str, **options: str) -> dict[str, object]:
    return {f"{section}_{name}": value for name, value in options.items()}


def refusal(**flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load({**BASE, **flags}, {}, None)
    return str(caught.value)


def test_words_are_those_of_the_options() -> None:
    assert [one.value for one in Verify] == list(VERIFIES)
    assert [one.value for one in AuthClients] == list(AUTH_CLIENTS)


def test_off_by_default() -> None:
    made = load(BASE, {}, None)
    assert (made.upstream.tls, made.listen.tls) == (None, None)


@pytest.mark.parametrize(
    "flags", [{"upstream": "rediss://m"}, {"upstream": "valkeys://m"}, {"upstream_tls": "yes"}]
)
def test_on(flags: dict[str, object]) -> None:
    made = load_upstream({**BASE, **flags}, {}, None)
    assert (made.host, made.port) == ("m", 6379)
    assert made.tls is not None
    config = made.tls.config
    assert (config.verify, config.credentials, config.trust) == (Verify.YES, None, Trust())
    assert made.tls.name("m") == "m"


@pytest.mark.parametrize(
    ("scheme", "flags", "to_master", "to_sentinels"),
    [
        ("redis", {}, False, False),
        ("redis", {"upstream_tls": "yes"}, True, False),
        ("redis", {"upstream_sentinel_tls": "yes"}, False, True),
        ("rediss", {}, True, True),
        ("rediss", {"upstream_tls": "no"}, False, True),
        ("rediss", {"upstream_sentinel_tls": "no"}, True, False),
        ("rediss", {"upstream_tls": "no", "upstream_sentinel_tls": "no"}, False, False),
    ],
)
def test_with_sentinels(
    scheme: str, flags: dict[str, object], to_master: bool, to_sentinels: bool
) -> None:
    """One object for both, so that a reload is one for both."""
    files = of("upstream", tls_ca_cert_file="ca") if to_master or to_sentinels else {}
    made = load_upstream({"upstream": f"{scheme}-sentinel://s/m", **flags, **files}, {}, None)
    assert made.sentinel is not None
    assert (made.tls is not None, made.sentinel.tls is not None) == (to_master, to_sentinels)
    assert (made.client_tls is not None) == (to_master or to_sentinels)
    if to_master and to_sentinels:
        assert made.tls is made.sentinel.tls


def test_all_of_the_master(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text(secret("key") + "\n")
    flags = of("upstream", **PAIR, tls_key_file_pass_file=str(word), tls_ca_cert_file="ca")
    flags |= of("upstream", tls_ca_cert_dir="cas", tls_sni="name", tls_verify="ca", tls="yes")
    made = load({**BASE, **flags}, {}, None).upstream
    assert made.tls is not None
    config = made.tls.config
    assert config.trust == Trust(ca_cert_file=Path("ca"), ca_cert_dir=Path("cas"))
    assert config.verify is Verify.CA
    assert made.tls.name("m") == "name"
    assert config.credentials is not None
    assert config.credentials.key_file_pass == secret("key")
    assert secret("key") not in repr(made)


def test_a_passphrase_is_no_flag_and_comes_once() -> None:
    flags = {**BASE, **of("upstream", **PAIR, tls="yes")}
    environ = {"REPLTAP_UPSTREAM_TLS_KEY_FILE_PASS": secret()}
    made = load(flags, environ, None).upstream.tls
    assert made is not None
    assert made.config.credentials is not None
    assert made.config.credentials.key_file_pass == secret()
    environ["REPLTAP_UPSTREAM_TLS_KEY_FILE_PASS_FILE"] = "f"
    with pytest.raises(ConfigError, match="tls_key_file_pass is given more than once"):
        load(flags, environ, None)


def test_what_does_not_go_together_at_the_master() -> None:
    assert "tls_ca_cert_file is set, but TLS is off" in refusal(upstream_tls_ca_cert_file="ca")
    assert "tls_key_file is missing" in refusal(
        upstream_tls="yes", **of("upstream", tls_cert_file="c")
    )
    assert "no TLS over a unix socket" in refusal(upstream="unix:///s", upstream_tls="yes")


def test_the_port() -> None:
    assert "tls_cert_file is set, but TLS is off" in refusal(**of("listen", **PAIR))
    at = of("listen", tls_address="127.0.0.1:7000")
    assert "needs a certificate" in refusal(**at)
    assert "tls_auth_clients yes needs tls_ca_cert_file" in refusal(**at, **of("listen", **PAIR))
    assert "there is no tls_address" in refusal(listen="off")
    ca = of("listen", tls_ca_cert_file="ca")
    both = load({**BASE, **at, **of("listen", **PAIR), **ca}, {}, None).listen
    assert both.tls is not None
    assert both.tls_address is not None
    assert (both.plain, both.port, both.tls_address.port) == (True, 6380, 7000)
    assert both.tls.config.auth_clients is AuthClients.YES
    no = of("listen", tls_auth_clients="no")
    alone = load({**BASE, "listen": "off", **at, **of("listen", **PAIR), **no}, {}, None).listen
    assert (alone.plain, alone.port) == (False, 7000)


def test_http() -> None:
    made = load({**BASE, "http": "127.0.0.1:0", **of("http", **PAIR)}, {}, None).http
    assert made is not None
    assert made.tls is not None
    assert made.tls.config.auth_clients is AuthClients.NO
    ca = refusal(http="127.0.0.1:0", http_tls_ca_cert_file="ca")
    assert "TLS is off (set tls_cert_file)" in ca
