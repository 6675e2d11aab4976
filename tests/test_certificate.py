"""What is read from certificates, compared with what made them and with the library's reading."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from repltap.certificate import first_in_pem, parse_der
from tests.servers.certificates import Pair
from tests.tls_files import authority


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return authority(tmp_path).issue("relay.example", days=30)


def _der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert_file.read_text().split("-----END")[0] + _END)


_END = "-----END CERTIFICATE-----\n"


def test_name_and_end(pair: Pair) -> None:
    found = first_in_pem("a comment\n" + pair.cert_file.read_text())
    assert found.name == "relay.example"
    assert abs(found.not_after - time.time() - 30 * 86400) < 3600


@pytest.mark.parametrize("days", [-400, 1, 40 * 365], ids=["past", "near", "after 2050"])
def test_times_in_both_forms(tmp_path: Path, days: int) -> None:
    made = authority(tmp_path).issue(days=days)
    found = first_in_pem(made.cert_file.read_text())
    assert abs(found.not_after - time.time() - days * 86400) < 3600


def test_the_library_reads_the_same(pair: Pair) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pair.ca_file)
    (ca,) = context.get_ca_certs()
    wanted = ssl.cert_time_to_seconds(str(ca["notAfter"]))
    assert first_in_pem(pair.ca_file.read_text()).not_after == wanted


def test_damage_is_a_value_error(pair: Pair) -> None:
    """Cut or changed anywhere it is read or refused, and nothing else happens."""
    der = _der(pair)
    for size in range(0, len(der), 7):
        with pytest.raises(ValueError):
            parse_der(der[:size])
    for at in range(len(der)):
        try:
            parse_der(der[:at] + bytes([der[at] ^ 0xFF]) + der[at + 1 :])
        except ValueError:
            continue


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", f"x{_END}"])
def test_no_certificate(text: str) -> None:
    with pytest.raises(ValueError):
        first_in_pem(text)
