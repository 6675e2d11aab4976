"""How values are shown to people."""

import pytest

from repltap.quoting import quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"", '""'),
        (b"plain ~", '"plain ~"'),
        (b'a"b\\c', '"a\\"b\\\\c"'),
        (b"\r\n\t\a\b", '"\\r\\n\\t\\a\\b"'),
        (b"\0\x1b\x7f\xff", '"\\x00\\x1b\\x7f\\xff"'),
        ("ä".encode(), '"\\xc3\\xa4"'),
    ],
)
def test_quoted_as_redis_cli_does(value: bytes, shown: str) -> None:
    assert quoted(value) == shown
