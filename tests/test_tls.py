"""Files that can't be used, each with its sentence; reading again, all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repltap.errors import ConfigError
from repltap.tls import ClientTls, ClientTlsConfig, ServerTls, ServerTlsConfig, Trust
from tests.servers.certificates import Authority, Pair
from tests.servers.secrets import secret
from tests.tls_files import authority, client, credentials, server


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


def refusal(pair: Pair, passphrase: str | None = None) -> str:
    config = ClientTlsConfig(section="upstream", credentials=credentials(pair, passphrase))
    with pytest.raises(ConfigError) as caught:
        ClientTls(config).load()
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return str(caught.value)


def test_files_that_are_not_there_or_something_else(ca: Authority, tmp_path: Path) -> None:
    pair, other = ca.issue(), ca.issue()
    absent = tmp_path / "absent"
    text = tmp_path / "text"
    text.write_text("hello")
    assert f"upstream: tls_cert_file {absent} can't be read: No such file" in refusal(
        Pair(absent, pair.key_file, pair.ca_file)
    )
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "tls_key_file" in (said := refusal(Pair(pair.cert_file, fifo, pair.ca_file)))
    assert "is a pipe" in said
    assert "tls_cert_file" in refusal(Pair(text, pair.key_file, pair.ca_file))
    assert "can't be used" in refusal(Pair(pair.cert_file, text, pair.ca_file))
    assert f"tls_key_file {other.key_file} is not the key of tls_cert_file" in refusal(
        Pair(pair.cert_file, other.key_file, pair.ca_file)
    )
    for wrong, said in ((absent, "No such file"), (text, "no certificate that can be read")):
        with pytest.raises(ConfigError, match=f"tls_ca_cert_file.*{said}"):
            client(wrong).load()
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(8 << 20)
    assert "no PEM file" in refusal(Pair(endless, pair.key_file, pair.ca_file))


def test_an_encrypted_key(ca: Authority) -> None:
    word = secret("key")
    pair = ca.issue(passphrase=word)
    assert "is encrypted (set tls_key_file_pass" in refusal(pair)
    said = refusal(pair, secret("wrong"))
    assert "can't be decrypted" in said
    assert word not in said
    config = ServerTlsConfig(
        section="http", credentials=credentials(pair, word), trust=Trust(ca_cert_file=pair.ca_file)
    )
    ServerTls(config).load()
    assert word not in repr(config)


def test_a_directory_of_cas(ca: Authority, tmp_path: Path) -> None:
    config = ClientTlsConfig(section="upstream", trust=Trust(ca_cert_dir=tmp_path))
    ClientTls(config).load()
    assert config.trust.shown == str(tmp_path)
    wrong = ClientTlsConfig(section="upstream", trust=Trust(ca_cert_dir=tmp_path / "absent"))
    with pytest.raises(ConfigError, match="is no directory"):
        ClientTls(wrong).load()


def test_the_system_is_trusted_where_nothing_is_named() -> None:
    made = client(None)
    made.load()
    assert made.config.trust.shown == "this system"


def test_reading_again(ca: Authority) -> None:
    pair = ca.issue("old.example")
    made = server(pair)
    first = made.context
    ca.issue("new.example", into=pair)
    take = made.read(made.config)
    assert made.context is first  # in use until it is taken
    assert "new connections" in take()
    second = made.context
    assert second is not first
    pair.key_file.write_text("damage")
    with pytest.raises(ConfigError):
        made.read(made.config)
    assert made.context is second
    assert made.certificate is not None
    assert made.certificate.name == "new.example"
