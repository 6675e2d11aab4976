"""What a certificate says of itself: until when it is valid, and whose it is.

The standard library shows this of a peer's verified certificate alone, not of one's own. So the
few fields that are needed are read from the DER form (X.690; RFC 5280, 4.1: `Certificate`), and
nothing is trusted because of it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _CONTEXT_0, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_COMMON_NAME = bytes.fromhex("0603550403")  # the object identifier 2.5.4.3
_MAX_NAME = 100  # characters of a name that are shown
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The fields that people look at.

    Attributes:
        name: Its subject's common name, "" where it has none.
        not_after: Unix seconds; it is not valid any more after that.
    """

    name: str
    not_after: float


def first_in_pem(text: str) -> Certificate:
    """Read the first certificate of a PEM file: the one that is shown to peers.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    begin = text.find(_BEGIN)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        raise ValueError("no certificate in it")
    return parse_der(ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)]))


def parse_der(data: bytes) -> Certificate:
    """Read a certificate.

    Args:
        data: Its DER form, as `getpeercert(binary_form=True)` gives it.

    Raises:
        ValueError: It is none.
    """
    try:
        tag, certificate, _ = _element(data)
        _, signed, _ = _element(certificate)
        kind, _, rest = _element(signed)
        if tag != _SEQUENCE:
            raise ValueError("not a certificate")
        if kind == _CONTEXT_0:  # the version, which may be absent; the serial number follows
            _, _, rest = _element(rest)
        _, _, rest = _element(rest)  # signature algorithm
        _, _, rest = _element(rest)  # issuer
        _, validity, rest = _element(rest)
        _, subject, _ = _element(rest)
        _, _, after = _element(validity)  # not before
        kind, moment, _ = _element(after)
        return Certificate(_common_name(subject), _time(kind, moment))
    except IndexError:
        raise ValueError("the certificate is cut off") from None


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Split off the first element: its tag, its content, and what follows it."""
    tag, length, at = data[0], data[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(data[2:at], "big")
    if at + length > len(data):
        raise IndexError
    return tag, data[at : at + length], data[at + length :]


def _common_name(subject: bytes) -> str:
    at = subject.find(_COMMON_NAME)
    if at < 0:
        return ""
    _, name, _ = _element(subject[at + len(_COMMON_NAME) :])
    text = name.decode("utf-8", "replace")[:_MAX_NAME]
    return "".join(c if c.isprintable() else "?" for c in text)


def _time(kind: int, text: bytes) -> float:
    """Read a time: RFC 5280 has two digits of the year until 2049, four from then on, and Z."""
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(kind)
    if form is None:
        raise ValueError("not a certificate")
    found = datetime.strptime(text.decode("ascii", "replace"), form).replace(tzinfo=UTC)
    if kind == _UTC_TIME and found.year >= 2050:  # strptime's pivot is another: 69
        found = found.replace(year=found.year - 100)
    return found.timestamp()
