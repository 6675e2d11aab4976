"""When the journal is forced to the disk: policies, group commit, a disk that fails or is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap import syncing
from repltap.config import FsyncPolicy
from repltap.errors import DataDirError, DiskFullError, OpenFilesError, StoreError
from repltap.store.journal import Journal
from repltap.store.sync import SyncJob
from repltap.syncing import JournalSync
from tests.stored import HANG_SECONDS, SET, START, closed_gate, hold, open_store, until


@asynccontextmanager
async def journal_and_sync(
    path: Path, policy: FsyncPolicy
) -> AsyncIterator[tuple[Journal, JournalSync]]:
    store = open_store(path)
    journal = hold(store).journal
    sync = JournalSync(policy, lambda: journal)
    task = asyncio.get_running_loop().create_task(sync.run())
    try:
        yield journal, sync
    finally:
        task.cancel()
        await asyncio.wait([task])
        store.close()
    if not task.cancelled() and (failure := task.exception()):
        raise failure


def append(journal: Journal, sync: JournalSync) -> None:
    journal.append(SET, 1)
    sync.appended()


@pytest.mark.parametrize("policy", [FsyncPolicy.ALWAYS, FsyncPolicy.EVERYSEC])
async def test_what_is_appended_becomes_durable(tmp_path: Path, policy: FsyncPolicy) -> None:
    async with journal_and_sync(tmp_path, policy) as (journal, sync):
        append(journal, sync)
        assert journal.durable_end == START
        await until("fsync", lambda: journal.durable_end == journal.end)
        assert sync.count == 1
        assert sync.seconds > 0


async def test_no_fsync_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "SYNC_SECONDS", 0.001)
    async with journal_and_sync(tmp_path, FsyncPolicy.NO) as (journal, sync):
        append(journal, sync)
        sync.request()
        await asyncio.sleep(0.05)  # many times the period of the other policies
        assert journal.durable_end == START
        await sync.sync()
        assert journal.durable_end == journal.end


async def test_a_request_does_not_wait_for_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC_SECONDS", 3600.0)
    heard = 0

    def listen() -> None:
        nonlocal heard
        heard += 1

    async with journal_and_sync(tmp_path, FsyncPolicy.EVERYSEC) as (journal, sync):
        sync.listen(listen)
        append(journal, sync)
        sync.request()
        await until("fsync", lambda: journal.durable_end == journal.end)
        assert heard == sync.count == 1


async def test_what_comes_during_an_fsync_shares_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SyncJob.run
    with closed_gate() as gate:

        def held_up(job: SyncJob) -> None:
            assert gate.wait(HANG_SECONDS)
            run(job)

        monkeypatch.setattr(SyncJob, "run", held_up)
        async with journal_and_sync(tmp_path, FsyncPolicy.ALWAYS) as (journal, sync):
            append(journal, sync)
            await until("a round", lambda: not sync._asked.is_set())
            for _ in range(50):
                append(journal, sync)
            assert journal.durable_end == START
            gate.set()
            await until("fsync", lambda: journal.durable_end == journal.end)
            assert sync.count == 2


async def test_a_disk_that_fails_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: SyncJob) -> None:
        job.close()
        raise DataDirError("input/output error", path=tmp_path)

    monkeypatch.setattr(SyncJob, "run", broken)
    store = open_store(tmp_path)
    journal = hold(store).journal
    sync = JournalSync(FsyncPolicy.ALWAYS, lambda: journal)
    task = asyncio.get_running_loop().create_task(sync.run())
    append(journal, sync)
    with pytest.raises(DataDirError, match="input/output error"):
        await asyncio.wait_for(task, HANG_SECONDS)
    assert journal.durable_end == START
    monkeypatch.undo()
    store.close()


@pytest.mark.parametrize("failure", [DiskFullError, OpenFilesError])
async def test_a_sync_that_can_not_begin_is_put_off(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: type[StoreError],
) -> None:
    """Found in review: one EMFILE at the start of an fsync ended the process."""
    async with journal_and_sync(tmp_path, FsyncPolicy.NO) as (journal, sync):

        def full() -> None:
            raise failure("no room, or no descriptor", path=tmp_path)

        append(journal, sync)
        with monkeypatch.context() as patched:
            patched.setattr(journal, "prepare_sync", full)
            assert not await sync.sync()
        assert "not synced" in caplog.text
        assert journal.durable_end == START
        assert await sync.sync()
        assert journal.durable_end == journal.end
