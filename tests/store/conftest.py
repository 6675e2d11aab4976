"""Small segments, so that a few hundred bytes exercise rolls; and ways to damage files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.position import Offset
from repltap.store.audit import audit_journal
from repltap.store.budget import Budget
from repltap.store.journal import Journal
from repltap.store.options import StoreOptions
from repltap.store.reader import Damage

OPTIONS = StoreOptions(segment_bytes=1000, index_interval_bytes=100, index_interval_seconds=1000.0)

MakeJournal = Callable[..., Journal]


@pytest.fixture
def make_journal(tmp_path: Path) -> MakeJournal:
    """Create a journal at offset 5000 under the test's directory."""

    def make(start: int = 5000, options: StoreOptions = OPTIONS) -> Journal:
        return Journal.create(
            tmp_path / "journal", Offset(start), options, Budget(options.quota_bytes)
        )

    return make


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[..., Journal]:
    """Open that journal again, as after a crash when it was not closed."""

    def open_again(options: StoreOptions = OPTIONS) -> Journal:
        return Journal.open(tmp_path / "journal", options, Budget(options.quota_bytes))

    return open_again


def damages(path: Path) -> list[Damage]:
    """List what an audit of a journal finds, offline."""
    return audit_journal(path, lambda _: None).damages
