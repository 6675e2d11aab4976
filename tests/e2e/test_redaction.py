"""What is redacted is nowhere in what a sink is given, however it is written."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from repltap.config import SinkConfig
from repltap.delivery.worker import deliver
from repltap.sink import (
    AnyRecord,
    Kind,
    Notice,
    Record,
    Sink,
    SinkContext,
    SnapshotMode,
    SnapshotRecord,
)
from tests.e2e.test_forms import QuietBell, follow
from tests.servers.client import Argument, Client
from tests.servers.find import Feature, Flavour
from tests.servers.lab import Lab
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

CANARY = b"Canary-7f3a\xc3\xa9-9d"
"""In every value; UTF-8, so that it is written as text."""

BINARY = b"\xff" + CANARY


class FormSink(Sink):
    """Keeps every form of what it is given."""

    snapshots = SnapshotMode.INITIAL
    written: ClassVar[list[bytes]] = []
    records: ClassVar[list[AnyRecord]] = []

    def open(self, context: SinkContext) -> str | None:
        self._context = context
        self._form = context.resp_form()
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        self.records.extend(records)
        self.written.append(self._context.json_lines(records))
        self.written.append(self._form.write(records))
        # And what a sink may look at itself.
        self.written.append(repr(records).encode())

    def commit(self, place: str) -> Mapping[str, Any] | None:
        return None

    def close(self) -> None:
        pass


def values(flavour: Flavour, canary: bytes, tag: str) -> Iterator[tuple[Argument, ...]]:
    """Give commands that put a value into every type, small and large."""
    many = [canary + b"%d" % number for number in range(600)]
    yield ("SET", f"string:{tag}", canary)
    yield ("SET", f"string:expires:{tag}", canary, "EX", 10_000)
    yield ("SET", f"string:large:{tag}", b"x" * (5 << 19) + canary + b"y" * (1 << 20) + canary)
    yield ("SET", f"string:packed:{tag}", canary * 100)
    yield ("APPEND", f"string:{tag}", canary)
    yield ("RPUSH", f"list:{tag}", canary)
    yield ("RPUSH", f"list:large:{tag}", *many)
    yield ("SADD", f"set:{tag}", canary)
    yield ("SADD", f"set:large:{tag}", *many)
    yield ("ZADD", f"zset:{tag}", 1.5, canary)
    yield ("ZADD", f"zset:large:{tag}", *(word for one in many for word in (1, one)))
    yield ("HSET", f"hash:{tag}", canary, 1, "f", canary)
    yield ("HSET", f"hash:large:{tag}", *(word for one in many for word in (one, one)))
    yield ("XADD", f"stream:{tag}", "1-1", canary, "v", "f", canary)
    yield ("XADD", f"stream:{tag}", "1-2", canary, "v", "f", canary)
    yield ("XGROUP", "CREATE", f"stream:{tag}", canary, "0")
    yield ("XREADGROUP", "GROUP", canary, canary, "STREAMS", f"stream:{tag}", ">")
    yield ("PFADD", f"hll:{tag}", canary)
    yield ("PUBLISH", canary, canary)
    yield ("MULTI",)
    yield ("MSET", f"a:{tag}", canary, f"b:{tag}", canary)
    yield ("LPUSH", f"list:{tag}", canary)
    yield ("EXEC",)
    yield ("EVAL", "return redis.call('set', KEYS[1], ARGV[1])", 1, f"script:{tag}", canary)
    if Feature.HASH_TTL in flavour.features:
        yield ("HSET", f"hash:expiring:{tag}", canary, canary)
        yield ("HEXPIRE", f"hash:expiring:{tag}", 10_000, "FIELDS", 1, canary)
    if Feature.FUNCTIONS in flavour.features and canary == CANARY:
        code = (
            b"#!lua name=x\nredis.register_function('f', function() return '" + canary + b"' end)"
        )
        yield ("FUNCTION", "LOAD", "REPLACE", code)


def write(client: Client, flavour: Flavour, tag: str) -> None:
    for canary, kind in ((CANARY, "text"), (BINARY, "binary")):
        for reply in client.pipeline(values(flavour, canary, f"{kind}-{tag}")):
            if isinstance(reply, Exception):
                raise reply


def traces(secret: bytes) -> list[bytes]:
    """Give what shows a secret: itself, as JSON and Python escape it, and within base64."""
    escaped = secret.decode().encode("ascii", "backslashreplace")
    found = [secret, escaped, repr(secret)[2:-1].encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret)
        found.append(encoded[4 if shift else 0 : -4])
    return found


@pytest.mark.parametrize("program", ["redis-6.2", "redis-8.2", "valkey-9.1"])
def test_no_value_is_left_anywhere(lab: Lab, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repltap.delivery.worker.find_sink", lambda kind, origin: FormSink)
    master = lab.master(program)
    with master.client() as client:
        write(client, master.flavour, "before")
        relay = follow(lab, master)
        write(client, master.flavour, "after")
        wait_for("the relay has it all", lambda: relay.offset == master.offset)

    def out(name: str, **settings: object) -> bytes:
        monkeypatch.setattr(FormSink, "written", [])
        monkeypatch.setattr(FormSink, "records", [])
        deliver(
            SinkConfig(name=name, type="form", settings=settings, origin="a test"),
            data_dir=relay.data_dir,
            source="m",
            bell=QuietBell(),
            environ={},
            until_end=True,
        )
        return b"".join(FormSink.written)

    plain = out("plain")
    kinds = {record.type for record in FormSink.records if isinstance(record, SnapshotRecord)}
    assert {"string", "list", "set", "zset", "hash", "stream"} <= kinds
    assert b"RESTORE" in plain
    as_is, _, shown, *encoded = (trace in plain for trace in traces(CANARY))
    assert (as_is, shown, any(encoded)) == (True, True, True)  # the test sees what is there
    count = sum(isinstance(record, Record) for record in FormSink.records)
    for redact, more in (
        ("hash", {}),
        ("hash", {"redact_secret": "key", "redact_hash_keys": True}),
        ("cut", {}),
        ("cut", {"redact_keep_bytes": 5, "max_value_bytes": 3}),
        ("remove", {}),
        ("remove", {"redact_hash_keys": True}),
    ):
        name = "-".join((redact, *more))
        written = out(name, redact=redact, **more)
        for trace in traces(CANARY):
            assert trace not in written, (name, trace)
        assert b"RESTORE" not in written
        # It was given all the same: every command, every key.
        assert sum(isinstance(record, Record) for record in FormSink.records) == count
        notices = [record.kind for record in FormSink.records if isinstance(record, Notice)]
        assert notices == [Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END]
        assert (b"string:expires:text-before" in written) is ("redact_hash_keys" not in more)
