"""The adapter against rdbtools' own parser, through rdbtools' own callbacks."""

import io
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import rdbtools
from rdbtools.encodehelpers import STRING_ESCAPE_RAW
from rdbtools.memprofiler import PrintAllKeys, PrintJustKeys

from repltap.rdb._hot.source import Limits
from repltap.rdb.callbacks import PAYLOADS, drive
from repltap.rdb.reader import RdbReader
from tests.rdb.build import items, key, listpack, lp_text, rdb, reading, string, strings, ziplist

pytestmark = [
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning"),
]

DATA = Path(__file__).parent / "data"
SIXTH = (DATA / "full-r62.rdb").read_bytes()

OLD = rdb(
    b"\xfa" + strings(b"redis-ver", b"3.2.1") + b"\xfe\x00\xfb\x05\x01"
    + b"\xfc" + (1_700_000_000_123).to_bytes(8, "little") + key(0, b"expires", string(b"v"))
    + key(0, b"text \xff", string(b"\x00\xfe value")) + key(0, b"number", b"\xc1\x39\x30")
    + key(1, b"list", b"\x02" + strings(b"a", b"b")) + key(2, b"set", b"\x02" + strings(b"a", b"b"))
    + key(4, b"hash", b"\x02\x01a\xc0\x01\x01b\xc0\x02")
    + key(9, b"zipmap", string(b"\x02\x01a\x02\x00bb\x01c\x01\x00d\xff"))
    + key(3, b"scores", b"\x04\x01m\x130.10000000000000001\x01q\x010\x01n\xfe\x01o\x0217")
    + key(2, b"numbers", b"\x03" + b"\xc0\x07\xc2\xff\xff\xff\x7f" + string(b"99999999999"))
    + b"\xfe\x02"
    + key(10, b"ziplist", string(ziplist([b"\x01a", b"\xf3"])))
    + key(11, b"intset", string(b"\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\xff\xff"))
    + key(12, b"zset", string(ziplist([b"\x01m", b"\xf3", b"\x01n", b"\x031.5"])))
    + key(13, b"hash ziplist", string(ziplist([b"\x01a", b"\xfe\x85"])))
    + key(14, b"quicklist", b"\x02" + string(ziplist([b"\x01a"])) + string(ziplist([b"\x01b"]))),
    b"REDIS0007",
)  # fmt: skip

Callback = Callable[[io.BytesIO], Any]  # Any: rdbtools has no types

CALLBACKS: dict[str, Callback] = {
    "json": rdbtools.JSONCallback,
    "diff": rdbtools.DiffCallback,
    "keys": rdbtools.KeysOnlyCallback,
    "keyvals": rdbtools.KeyValsOnlyCallback,
    "protocol": lambda out: rdbtools.ProtocolCallback(out, string_escape=STRING_ESCAPE_RAW),
    "memory": lambda out: _memory(PrintAllKeys(out, None, None)),
    "names": lambda out: _memory(PrintJustKeys(out)),
}


def _memory(stream: Any) -> Any:  # Any: rdbtools has no types
    random.seed(1)  # it makes up how high the nodes of a skiplist are
    return rdbtools.MemoryCallback(stream, 64)


def ours(data: bytes, callback: Callback, **options: Any) -> bytes:
    out = io.BytesIO()
    drive(callback(out), items(data, payloads=PAYLOADS, **options))
    return out.getvalue()


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("data", [OLD, SIXTH], ids=["old", "6.2"])
def test_it_is_what_rdbtools_says(data: bytes, name: str) -> None:
    callback = CALLBACKS[name]
    out = io.BytesIO()
    rdbtools.RdbParser(callback(out)).parse_fd(io.BytesIO(data))
    expected = out.getvalue()
    assert expected
    assert ours(data, callback) == expected
    assert ours(data, callback, limits=Limits(part_items=1, part_bytes=2)) == expected


@pytest.mark.parametrize("path", sorted(DATA.glob("full-*.rdb")), ids=lambda path: path.stem)
@pytest.mark.parametrize("name", CALLBACKS)
def test_files_that_rdbtools_refuses(path: Path, name: str) -> None:
    said = ours(path.read_bytes(), CALLBACKS[name])
    assert (b"ss" if name in ("keys", "names", "memory") else b"xxxxxxx") in said


class Recorder(rdbtools.RdbCallback):  # type: ignore[misc]
    """Keeps what streams and modules give, which the callbacks that ship leave out."""

    def __init__(self) -> None:
        super().__init__(None)
        self.calls: list[tuple[object, ...]] = []

    def start_stream(self, *args: object, **named: object) -> None:
        self.calls.append((*args, *named.values()))

    stream_listpack = end_stream = start_stream

    def start_module(self, *args: object, **named: object) -> bool:
        self.start_stream(*args, **named)
        return True

    def end_module(self, key: bytes | None, buffer_size: int, buffer: bytes | None = None) -> None:
        self.calls.append((key, buffer_size, buffer))


def test_streams() -> None:
    theirs, mine = Recorder(), Recorder()
    rdbtools.RdbParser(theirs).parse_fd(io.BytesIO(SIXTH))
    drive(mine, RdbReader(reading(SIXTH)))
    assert mine.calls == theirs.calls
    assert mine.calls[0][:2] == (b"st", 1)


def test_modules() -> None:
    raw = b"\x81" + (5 << 10).to_bytes(8, "big") + b"\x05\x01x\x00"
    aux = b"\xf7\x81" + (5 << 10).to_bytes(8, "big") + b"\x02\x01\x00"
    data = rdb(aux + b"\xfe\x00" + key(7, b"m", raw))
    recorder = Recorder()
    drive(recorder, RdbReader(reading(data), payloads=PAYLOADS))
    assert recorder.calls[0][:3] == (None, "AAAAAAAAF", None)
    assert recorder.calls[2][:3] == (b"m", "AAAAAAAAF", None)
    assert recorder.calls[3] == (b"m", len(raw), b"\x07" + raw)


def test_times_beyond_what_a_datetime_holds() -> None:
    seen: list[object] = []

    class Expiries(rdbtools.RdbCallback):  # type: ignore[misc]
        def set(self, key: bytes, value: bytes, expiry: datetime, info: object) -> None:
            seen.append(expiry)

    body = b"\xfe\x00\xfc" + (1 << 62).to_bytes(8, "little") + key(0, b"k", string(b"v"))
    drive(Expiries(None), items(rdb(body)))
    assert isinstance(seen[0], datetime)
    assert seen[0].year == 9002


def test_a_listpack_has_a_size() -> None:
    infos: list[dict[str, object]] = []

    class Infos(rdbtools.RdbCallback):  # type: ignore[misc]
        def start_hash(
            self, key: bytes, length: int, expiry: None, info: dict[str, object]
        ) -> None:
            infos.append({"length": length} | info)

    packed = listpack(map(lp_text, [b"a", b"b"]))
    drive(Infos(None), items(rdb(b"\xf9\x07" + key(16, b"h", string(packed)))))
    assert infos == [
        {"length": 1, "encoding": "listpack", "idle": None, "freq": 7, "sizeof_value": len(packed)}
    ]
