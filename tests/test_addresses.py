"""How an address is shown."""

import pytest

from repltap.addresses import host_port
from repltap.values import endpoint


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:6380"),
        ("db.example", "db.example:6380"),
        ("", ":6380"),
        ("::1", "[::1]:6380"),
        ("fe80::1%eth0", "[fe80::1%eth0]:6380"),
        ("/run/a:b.sock", "/run/a:b.sock:6380"),
    ],
)
def test_an_ipv6_address_goes_in_brackets(host: str, shown: str) -> None:
    assert host_port(host, 6380) == shown


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_shown_can_be_given_as_an_option(host: str) -> None:
    read = endpoint(host_port(host, 6380))
    assert (read.host, read.port) == (host, 6380)
