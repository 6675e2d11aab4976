"""Records of every kind as commands."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import hiredis
import pytest

from repltap.delivery.resp_output import RespOutput, SnapshotOrigin, Surroundings, Window
from repltap.delivery.stream import StreamLimits
from repltap.rdb.entries import Fields, Members, ModuleValue, Scores
from repltap.rdb.target import Target
from repltap.sink import AnyRecord, Kind, Notice, SinkError, SinkErrorKind
from tests.delivery.snapshots import OFFSET, key, library
from tests.delivery.wire import EXEC, MULTI, TIME_MS, records_of, stream
from tests.stored import REPLID, SET, command

SELECT_0 = [b"SELECT", b"0"]


class Output:
    """An output, and what is around it."""

    def __init__(
        self, emptied: Sequence[int] | None = None, target: str | None = None, vendor: str = "redis"
    ) -> None:
        self.origin = SnapshotOrigin()
        if vendor:
            self.origin.learn(f"{vendor}0011".upper(), {f"{vendor}-ver": "7.2.4"})
        self.window = Window()
        self.discarded = 0
        around = Surroundings(
            window=self.window,
            origin=self.origin,
            emptied=emptied,
            discarded=self.count,
            log=logging.getLogger("repltap.sink.test"),
        )
        self.form = RespOutput(around, target and Target.parse(target))

    def count(self, count: int) -> None:
        self.discarded += count

    def __call__(self, *records: AnyRecord) -> list[list[bytes]]:
        reader = hiredis.Reader()
        reader.feed(self.form.write(records))
        found: list[Any] = list(iter(reader.gets, False))
        return found


def notice(kind: Kind) -> Notice:
    return Notice(kind, "an id", "master", REPLID, OFFSET, OFFSET, TIME_MS, {})


BEGIN, END = notice(Kind.SNAPSHOT_BEGIN), notice(Kind.SNAPSHOT_END)


def test_what_a_snapshot_empties() -> None:
    assert Output()(BEGIN) == [[b"FLUSHALL"], [b"FUNCTION", b"FLUSH"]]
    assert Output(target="redis-6.2")(BEGIN) == [[b"FLUSHALL"]]
    assert Output(vendor="")(BEGIN) == [[b"FLUSHALL"]]
    assert Output(())(BEGIN) == []
    assert Output([0, 3])(BEGIN) == [SELECT_0, [b"FLUSHDB"], [b"SELECT", b"3"], [b"FLUSHDB"]]


def test_values_are_restored_and_strings_set() -> None:
    made = Output()(
        key(b"v", name=b"s"),
        key(Members([b"a"]), "list", name=b"l", payload=b"\x12..."),
        key(b"w", name=b"t", expire_at_ms=7),
        key(Members([b"a"]), "set", name=b"x", payload=b"\x02...", expire_at_ms=-5),
    )
    assert made[:2] == [SELECT_0, [b"SET", b"s", b"v"]]
    assert made[2][:3] == [b"RESTORE", b"l", b"0"]
    assert made[2][3].startswith(b"\x12...\x0a\x00")
    assert made[2][4:] == [b"REPLACE", b"ABSTTL"]
    assert made[3:5] == [[b"SET", b"t", b"w"], [b"PEXPIREAT", b"t", b"7"]]
    assert made[5][:3] == [b"RESTORE", b"x", b"1"]  # long ago


@pytest.mark.parametrize(
    ("target", "payload", "restored"),
    [
        (None, b"\x12", True),
        ("redis-7.0", b"\x12", True),
        ("valkey-8.1", b"\x12", False),
        ("redis-6.2", b"\x12", False),
        ("redis-6.2", b"\x01", True),
    ],
)
def test_what_the_target_can_not_restore_is_built(
    target: str | None, payload: bytes, restored: bool
) -> None:
    made = Output(target=target)(key(Members([b"a"]), "list", payload=payload))
    expected = [b"RESTORE"] if restored else [b"DEL", b"RPUSH"]
    assert [words[0] for words in made[1:]] == expected


def test_who_wrote_it_is_not_known() -> None:
    made = Output(vendor="")(key(Members([b"a"]), "list", payload=b"\x12"))
    assert [words[0] for words in made[1:]] == [b"DEL", b"RPUSH"]


def test_parts_are_put_together_or_built() -> None:
    parts = [
        key(Members([b"a"]), "list", last=False),
        key(Members([b"b"]), "list", part=1, payload=b"\x12"),
    ]
    assert [words[0] for words in Output()(*parts)] == [b"SELECT", b"RESTORE"]
    built = [[b"DEL", b"k"], [b"RPUSH", b"k", b"a"], [b"RPUSH", b"k", b"b"]]
    out = Output()
    assert out(parts[0]) + out(parts[1]) == [SELECT_0, *built]
    # Delivery goes on in the middle, in another output.
    assert Output()(parts[1]) == [SELECT_0, built[2]]
    too_large = [parts[0], parts[1]._replace(entry=parts[1].entry._replace(payload=None))]  # type: ignore[attr-defined]
    assert Output()(*too_large, key(b"v")) == [SELECT_0, *built, [b"SET", b"k", b"v"]]


def test_a_string_in_parts() -> None:
    made = Output()(key(b"a", last=False), key(b"b", part=1, expire_at_ms=9))
    assert made == [
        SELECT_0,
        [b"SET", b"k", b"a"],
        [b"APPEND", b"k", b"b"],
        [b"PEXPIREAT", b"k", b"9"],
    ]


def test_what_was_changed_is_built() -> None:
    made = Output()(
        key(Scores([(b"hash:1", 0.0)]), "zset"), key(Fields([(b"f", b"v", None)]), "hash", db=3)
    )
    assert made == [
        SELECT_0,
        [b"DEL", b"k"],
        [b"ZADD", b"k", b"0.0", b"hash:1"],
        [b"SELECT", b"3"],
        [b"DEL", b"k"],
        [b"HSET", b"k", b"f", b"v"],
    ]


def test_what_nothing_is_left_of_is_counted() -> None:
    out = Output()
    assert out(key(None)._replace(entry=()), key(b"v")) == [SELECT_0, [b"SET", b"k", b"v"]]
    assert out.discarded == 1


def test_libraries() -> None:
    assert Output()(library(b"code")) == [[b"FUNCTION", b"LOAD", b"REPLACE", b"code"]]
    with pytest.raises(SinkError) as caught:
        Output(target="redis-6.2")(library(b"code"))
    assert caught.value.kind is SinkErrorKind.UNSUPPORTED
    assert not caught.value.passes


def test_modules() -> None:
    value = ModuleValue("ReJSON-RL", 3, 9)
    made = Output(target="redis-7.2")(key(value, "module", payload=b"\x07..."))
    assert made[1][:2] == [b"RESTORE", b"k"]
    with pytest.raises(SinkError, match="too large"):
        Output()(key(value, "module"))


def test_what_the_target_lacks(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SinkError, match="redis-6.2 does not know fields of hashes that expire"):
        Output(target="redis-6.2")(key(Fields([(b"f", b"v", 9)]), "hash"))
    out = Output()
    out(key(Members([b"a"]), "list", metadata=1))
    assert out(END) == []
    assert "metadata of modules on keys (1 times)" in caplog.text
    caplog.clear()
    out(END)
    assert not caplog.text


def test_the_stream_behind_a_snapshot() -> None:
    """Databases are the same connection's, whatever selected them."""
    out = Output()
    out(BEGIN)
    out(key(b"v", db=3))
    out(END)
    raw = command(b"SELECT", b"3") + SET + command(b"SELECT", b"0") + SET
    made = out(*records_of(raw))
    assert made == [[b"SET", b"key", b"value"], SELECT_0, [b"SET", b"key", b"value"]]
    assert out(key(b"v")) == [[b"SET", b"k", b"v"]]


@pytest.mark.parametrize("kind", [Kind.HISTORY, Kind.GAP, Kind.SNAPSHOT_BEGIN])
def test_a_notice_ends_an_open_transaction(kind: Kind) -> None:
    out = Output(())
    tap = stream(limits=StreamLimits(hold_bytes=1))
    assert out(*tap.feed(MULTI + SET + SET, REPLID, 0))[0] == [b"MULTI"]
    assert out(notice(Kind.HEARTBEAT)) == []
    assert out(notice(kind)) == [[b"DISCARD"]]
    assert out(notice(kind)) == []
    assert out(*records_of(SET)) == [SELECT_0, [b"SET", b"key", b"value"]]


def test_commands_are_copied_from_their_window() -> None:
    """And from no window of another history, whose offsets may be the same."""
    raw = MULTI + SET + EXEC + SET
    tap = stream()
    records = tap.feed(raw, REPLID, 0)
    plain = Output()(*records)
    data, start = tap.window
    for replid, copied in ((REPLID, True), ("f" * 40, False)):
        out = Output()
        out.window.replid = replid
        out.window.data, out.window.start = data.replace(b"value", b"VALUE"), start
        assert out(*records) == (
            [[w.replace(b"value", b"VALUE") for w in c] for c in plain] if copied else plain
        )


def test_who_wrote_a_snapshot() -> None:
    origin = SnapshotOrigin()
    origin.learn("VALKEY080", {"valkey-ver": "9.1.0"})
    assert (origin.vendor, str(origin.target)) == ("valkey", "valkey-9.1")
    origin.learn("REDIS0011", {"valkey-ver": "8.1.1"})
    assert (origin.vendor, str(origin.target)) == ("redis", "valkey-8.1")
    origin.learn("REDIS0011", {"redis-ver": "255.255.255-dev"})
    assert (origin.vendor, origin.target) == ("redis", None)
