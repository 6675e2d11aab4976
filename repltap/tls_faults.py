"""Why TLS failed, in words that say what to do: OpenSSL's own name the symptom."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from repltap.reasons import os_reason


@dataclass(frozen=True, slots=True)
class TlsFault:
    """What happened, and what can be done about it ("" for nothing in particular)."""

    message: str
    hint: str = ""


_NO_TLS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST",
           "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE"}  # fmt: skip
"""What the bytes of a peer without TLS look like to OpenSSL, 1.1 to 3.x."""

_NO_TLS_FAULT = TlsFault(
    "{who} does not speak TLS there",
    "use the port that is its tls-port, or redis:// if the connection is to be without TLS",
)
_WANTS_CERTIFICATE = TlsFault(
    "{who} asks for a client certificate, and was given none",
    "set tls_cert_file and tls_key_file (its tls-auth-clients is yes)",
)
_REFUSES_OURS = "{who} refuses our certificate: "
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _WANTS_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": TlsFault(
        _REFUSES_OURS + "it does not know the CA that signed it",
        "tls_cert_file has to be signed by a CA in its tls-ca-cert-file",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": TlsFault(
        _REFUSES_OURS + "it has expired", "renew tls_cert_file; or is a clock wrong?"
    ),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": TlsFault(_REFUSES_OURS + "it is revoked"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": TlsFault(
        _REFUSES_OURS + "it may not be used for this",
        "its extended key usage must allow client authentication",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": TlsFault(_REFUSES_OURS + "bad certificate"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": TlsFault(_REFUSES_OURS + "certificate unknown"),
    "TLSV1_ALERT_PROTOCOL_VERSION": TlsFault(
        "{who} and we have no TLS version in common", "1.2 and 1.3 are spoken here"
    ),
    "UNSUPPORTED_PROTOCOL": TlsFault(
        "{who} and we have no TLS version in common", "1.2 and 1.3 are spoken here"
    ),
    "TLSV1_UNRECOGNIZED_NAME": TlsFault(
        "{who} has no certificate for the name it was asked for", "set tls_sni to a name it knows"
    ),
}
# TLS 1.2 has no alert of its own for a missing certificate.
_MAYBE_CERTIFICATE = TlsFault(
    "{who} refused the TLS handshake",
    "does it ask for a client certificate (tls-auth-clients)? Its log may say why",
)

_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64
_UNTRUSTED = {2, 18, 19, 20, 21, 27}  # no issuer, self-signed, not trusted
_PURPOSE = {26, 79}


def tls_fault(failure: BaseException, who: str, *, name: str, trusted: str) -> TlsFault:
    """Say why a TLS connection that we opened failed.

    Args:
        failure: From the handshake, or from a read after it: in TLS 1.3 a server judges a client's
            certificate after the client takes the handshake for complete.
        who: The peer, at the beginning of a sentence: `the master`.
        name: Which the peer's certificate was compared with.
        trusted: Whose signature was wanted: a file, or the system.
    """
    found = _fault(failure, trusted)
    return TlsFault(found.message.format(who=who, name=name), found.hint)


def _fault(failure: BaseException, trusted: str) -> TlsFault:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return _unverified(failure, trusted)
    if isinstance(failure, ssl.SSLError):
        reason = reason_of(failure)
        if reason in _NO_TLS:
            return _NO_TLS_FAULT
        if reason in ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_ACCESS_DENIED"):
            return _MAYBE_CERTIFICATE
        if isinstance(failure, ssl.SSLEOFError) or not reason:
            return _hung_up("closed the connection")
        return _ALERTS.get(reason) or TlsFault(f"TLS with {{who}} failed: {words(reason)}")
    if isinstance(failure, OSError):
        return _hung_up(f"ended the connection ({os_reason(failure)})")
    return TlsFault("TLS with {who} failed")


def _hung_up(how: str) -> TlsFault:
    return TlsFault(
        f"{{who}} {how} in the TLS handshake",
        "is this its tls-port, and does it ask for a client certificate? Its log may say why",
    )


def _unverified(failure: ssl.SSLCertVerificationError, trusted: str) -> TlsFault:
    code = failure.verify_code
    if code == _EXPIRED:
        return TlsFault(
            "the certificate of {who} has expired", "renew it there; or is our clock wrong?"
        )
    if code == _NOT_YET:
        return TlsFault("the certificate of {who} is not valid yet", "is our clock right?")
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        return TlsFault(
            "the certificate of {who} is not for {name}",
            "set tls_sni to a name that it is for; tls_verify ca checks who signed it and no "
            "name, as Redis's own replicas do",
        )
    if code in _UNTRUSTED:
        return TlsFault(
            f"the certificate of {{who}} is not signed by a CA that {trusted} holds",
            "set tls_ca_cert_file to the certificate of the CA that signed it",
        )
    if code in _PURPOSE:
        return TlsFault(
            "the certificate of {who} may not be used by a server",
            "its extended key usage must allow server authentication",
        )
    return TlsFault(f"the certificate of {{who}} is refused: {failure.verify_message}")


def reason_of(failure: OSError) -> str:
    """Give OpenSSL's name of a failure, "" where it has none."""
    return str(getattr(failure, "reason", None) or "")


def words(reason: str) -> str:
    """Turn OpenSSL's `TLSV1_ALERT_INTERNAL_ERROR` into words."""
    return reason.removeprefix("TLSV1_").removeprefix("SSLV3_").replace("_", " ").lower()
