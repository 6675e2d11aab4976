"""Wrong filters, with the errors of redis-server 7.0 (MAXAGE: Valkey 9.1)."""

import pytest

from tests.net.admin.fakes import FakeClient, FakeContext, ask


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ("ID x", b"-ERR client-id should be greater than 0\r\n"),
        ("ID 0", b"-ERR client-id should be greater than 0\r\n"),
        ("MAXAGE x", b"-ERR maxage is not an integer or out of range\r\n"),
        ("MAXAGE 0", b"-ERR maxage should be greater than 0\r\n"),
        ("TYPE foo", b"-ERR Unknown client type 'foo'\r\n"),
        ("USER foo", b"-ERR No such user 'foo'\r\n"),
        ("SKIPME maybe", b"-ERR syntax error\r\n"),
        ("ADDR a LADDR", b"-ERR syntax error\r\n"),
        ("FOO x", b"-ERR syntax error\r\n"),
        ("ID 8 TYPE foo", b"-ERR Unknown client type 'foo'\r\n"),
    ],
)
def test_a_wrong_filter_closes_nobody(options: str, wire: bytes) -> None:
    client = FakeClient()
    context = FakeContext(connected=[client, FakeClient(id=8)])
    assert ask(f"CLIENT KILL {options}", client, context) == wire
    assert context.killed == []
