"""Each failure of a handshake, made by real TLS, and the sentence that it becomes."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from repltap.tls import AuthClients, ClientTls, ServerTls, Verify
from repltap.tls_faults import tls_fault
from tests.tls_files import authority, client, server

HOST = "127.0.0.1"


def shake(ours: ClientTls, theirs: ServerTls) -> ssl.SSLObject:
    """Shake hands in memory, until the client has read what the server says after it."""
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = ours.context.wrap_bio(a, b, server_hostname=ours.name(HOST))
    other = theirs.context.wrap_bio(b, a, server_side=True)
    refused = False
    for _ in range(4):
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            pass
        try:
            if not refused:
                other.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            refused = True  # its alert is in the buffer
    try:
        one.read(1)
    except ssl.SSLWantReadError:
        pass
    return one


def told(ours: ClientTls, theirs: ServerTls) -> str:
    with pytest.raises(ssl.SSLError) as caught:
        shake(ours, theirs)
    fault = ours.fault(caught.value, "the master", HOST)
    return f"{fault.message} ({fault.hint})"


def test_all_is_well(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    assert shake(client(ca.ca_file, ca.issue()), server(ca.issue(), AuthClients.YES)).version()


def test_of_the_server(tmp_path: Path) -> None:
    ca, other = authority(tmp_path), authority(tmp_path, "other")
    good = server(ca.issue())
    assert "not signed by a CA that" in told(client(other.ca_file), good)
    assert str(other.ca_file) in told(client(other.ca_file), good)
    assert "has expired" in told(client(ca.ca_file), server(ca.issue(days=-1)))
    elsewhere = server(ca.issue("elsewhere.example"))
    assert "not for 127.0.0.1 (set tls_sni" in told(client(ca.ca_file), elsewhere)
    assert "not for no.example" in told(client(ca.ca_file, sni="no.example"), elsewhere)
    # What each word of tls_verify lets pass, and what it does not.
    shake(client(ca.ca_file, sni="elsewhere.example"), elsewhere)
    shake(client(ca.ca_file, verify=Verify.CA), elsewhere)
    shake(client(other.ca_file, verify=Verify.NO), elsewhere)
    assert "not signed" in told(client(other.ca_file, verify=Verify.CA), elsewhere)


def test_of_our_certificate(tmp_path: Path) -> None:
    ca, other = authority(tmp_path), authority(tmp_path, "other")
    strict = server(ca.issue(), AuthClients.YES)
    assert "asks for a client certificate" in told(client(ca.ca_file), strict)
    assert "does not know the CA" in told(client(ca.ca_file, other.issue()), strict)
    assert "it has expired" in told(client(ca.ca_file, ca.issue(days=-1)), strict)
    shake(client(ca.ca_file), server(ca.issue(), AuthClients.OPTIONAL))


@pytest.mark.parametrize("answer", [b"-ERR Protocol error\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"])
def test_a_server_without_tls(tmp_path: Path, answer: bytes) -> None:
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client(authority(tmp_path).ca_file)
    one = ours.context.wrap_bio(a, b, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        one.do_handshake()
    a.write(answer)
    with pytest.raises(ssl.SSLError) as caught:
        one.do_handshake()
    assert "does not speak TLS there" in ours.fault(caught.value, "the master", HOST).message


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (ConnectionResetError(104, "x"), "ended the connection (Connection reset by peer)"),
        (ssl.SSLEOFError(8, "EOF"), "closed the connection"),
        (RuntimeError("?"), "TLS with the master failed"),
    ],
    ids=["reset", "eof", "other"],
)
def test_others(failure: Exception, wanted: str) -> None:
    assert wanted in tls_fault(failure, "the master", name="m", trusted="t").message
