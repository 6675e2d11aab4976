"""Large journals in no time: their bytes are holes of sparse files, their indexes are right."""

from __future__ import annotations

import os
from pathlib import Path

from repltap.position import Offset
from repltap.store.format import (
    MARK_NAME,
    crc32c,
    index_path,
    pack_mark,
    pack_record,
    segment_path,
)
from repltap.store.history import JOURNAL_NAME
from repltap.store.store import Store, StoreOptions
from tests.stored import hold

START = Offset(100)


def sparse_store(
    path: Path,
    *,
    segments: int,
    segment_bytes: int,
    record_bytes: int = 64 << 10,
    last_record_bytes: int | None = None,
) -> Path:
    """Make a data directory whose newest history has a snapshot and a journal of zeros.

    Args:
        path: Where.
        segments: How many full segments.
        segment_bytes: Their size.
        record_bytes: What an index record covers.
        last_record_bytes: The same for the last segment; a quiet master gives small ones.

    Returns:
        The directory of the journal, which is durable up to its end.
    """
    store = Store.open(path, StoreOptions(segment_bytes=segment_bytes))
    history = hold(store)
    store.close()
    journal = history.path / JOURNAL_NAME
    for number in range(segments):
        start = START + number * segment_bytes
        last = number == segments - 1
        size = (last_record_bytes if last else None) or record_bytes
        segment_path(journal, start).touch()
        os.truncate(segment_path(journal, start), segment_bytes)
        index_path(journal, start).write_bytes(_index(start, segment_bytes, size))
    (journal / MARK_NAME).write_bytes(pack_mark(START + segments * segment_bytes))
    return journal


def _index(start: int, segment_bytes: int, record_bytes: int) -> bytes:
    whole, rest = divmod(segment_bytes, record_bytes)
    crc = crc32c(bytes(record_bytes))
    records = [
        pack_record(start + (number + 1) * record_bytes, number, crc) for number in range(whole)
    ]
    if rest:
        records.append(pack_record(start + segment_bytes, whole, crc32c(bytes(rest))))
    return b"".join(records)
