import struct

import pytest

from repltap.rdb._hot.intset import HEADER_BYTES, begin, read
from repltap.rdb.fault import FaultError


@pytest.mark.parametrize(("width", "form"), [(2, "h"), (4, "i"), (8, "q")])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_every_width(width: int, form: str, limit: int) -> None:
    top = 1 << 8 * width - 1
    numbers = [-top, -1, 0, 1, top - 1]
    data = struct.pack(f"<II5{form}", width, 5, *numbers)
    assert begin(data) == 5
    found: list[bytes] = []
    position = HEADER_BYTES
    while position < len(data):
        position = read(data, position, limit, found)
    assert found == [b"%d" % number for number in numbers]


@pytest.mark.parametrize("head", [b"", struct.pack("<II", 3, 0), struct.pack("<II", 2, 2**32 - 1)])
def test_damage(head: bytes) -> None:
    with pytest.raises(FaultError):
        begin(head)
