"""Getting an RDB file, from a master or out of the store: verified, with progress, whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from repltap.addresses import host_port
from repltap.cli.output import Meter, progress
from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import UpstreamError
from repltap.rdb.header import MAX_HEADER_BYTES, parse_header
from repltap.store.newfile import NewFile
from repltap.store.reader import HistoryReader
from repltap.store.snapshot import Snapshot

Document = dict[str, object]


def fetch_from_master(config: UpstreamConfig, output: Path) -> Document:
    """Ask a master, or a relay, for its dataset.

    Args:
        config: Whom, and how.
        output: The file to write.

    Returns:
        What came.

    Raises:
        UpstreamError: It can't be reached, refused or hung up.
        RemoteProtocolError: What came is damaged.
        StoreError: The file can't be written.
    """
    from repltap.net.fetch import SnapshotFetch  # half a second of imports

    peer = host_port(config.host, config.port)
    with NewFile(output) as new, progress("waiting for the master", None) as meter:
        sink = _Sink(new, meter)
        try:
            fetched = asyncio.run(SnapshotFetch(config, sink.write, sink.begin).run())
        except UpstreamError as exc:
            # A relay would try again; this does not.
            hint = "" if exc.reason is FailureReason.CONNECT_FAILED else exc.hint
            raise UpstreamError(f"{peer}: {exc.message}", hint=hint, reason=exc.reason) from exc
        header = parse_header(bytes(sink.head))
        new.publish()
    return {
        "file": str(output),
        "size_bytes": fetched.size_bytes,
        "format": header.format,
        "replid": fetched.replid,
        "offset": fetched.offset,
        "has_checksum": fetched.has_checksum,
        "aux": header.aux,
    }


def fetch_stored(found: tuple[HistoryReader, Snapshot], output: Path) -> Document:
    """Copy a stored snapshot, comparing it with its checksum.

    Args:
        found: Which.
        output: The file to write.

    Returns:
        What it is.

    Raises:
        CorruptStoreError: It is damaged; no file is written.
        NotRetainedError: It has just been removed.
        StoreError: The file can't be written.
    """
    history, snapshot = found
    with NewFile(output) as new, progress("copying", snapshot.size_bytes) as meter:
        snapshot.verify(_Sink(new, meter).write)
        new.publish()
    return {
        "file": str(output),
        "size_bytes": snapshot.size_bytes,
        "format": snapshot.format,
        "replid": history.metadata.history.replid,
        "offset": snapshot.offset,
        "aux": dict(snapshot.aux),
    }


class _Sink:
    """Where the bytes go: the file, the progress, and the beginning for a look at it."""

    def __init__(self, new: NewFile, meter: Meter) -> None:
        self.head = bytearray()
        self._new = new
        self._meter = meter

    def begin(self, size_bytes: int | None) -> None:
        self._meter.begin("fetching", size_bytes)

    def write(self, data: bytes | memoryview) -> None:
        self._new.write(data)
        self._meter.advance(len(data))
        if len(self.head) < MAX_HEADER_BYTES:
            self.head += data[: MAX_HEADER_BYTES - len(self.head)]
