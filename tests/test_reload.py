"""A reload: each part is read anew or stays as it was, and none keeps the others waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from repltap import reload as reload_module
from repltap.errors import ConfigError
from repltap.reload import UNCHANGED, Reloads, Take
from tests.stored import HANG_SECONDS, until


class Value:
    """Something that can be read again."""

    def __init__(self) -> None:
        self.source: str | Exception = "new"
        self.used = "old"
        self.reads: list[threading.Thread] = []

    def read(self) -> Take:
        self.reads.append(threading.current_thread())
        if isinstance(self.source, Exception):
            raise self.source
        found = self.source

        def take() -> str:
            assert threading.current_thread() is threading.main_thread()
            self.used = found
            return "changed"

        return take


@asynccontextmanager
async def running(**parts: Callable[[], Take]) -> AsyncIterator[Reloads]:
    said: list[str] = []
    reloads = Reloads(lambda: said.append("begun"), lambda: said.append("ended"))
    for name, read in parts.items():
        reloads.add(name, read)
    task = asyncio.get_running_loop().create_task(reloads.run())
    yield reloads
    task.cancel()
    await asyncio.wait([task])
    # The last may have been cancelled before its end.
    assert said == (["begun", "ended"] * len(said))[: len(said)]


async def reloaded(reloads: Reloads) -> list[tuple[str, str, str]]:
    """Ask, wait for the end, and give part, result and error."""
    before = reloads.latest
    reloads.ask()
    await until("the reload", lambda: len(reloads.latest) and reloads.latest != before)
    await asyncio.sleep(0)
    return [(each.part, each.result, each.error) for each in reloads.latest]


async def test_files_are_read_in_a_thread_and_used_on_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    value = Value()
    async with running(password=value.read) as reloads:
        assert reloads.latest == ()
        assert await reloaded(reloads) == [("password", "changed", "")]
    assert value.used == "new"
    assert value.reads[0] is not threading.main_thread()
    assert caplog.messages == ["password: reloaded: changed"]


async def test_a_part_that_fails_stays_as_it_was_and_the_others_are_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, broken, good = Value(), Value(), Value()
    bad.source = ConfigError("/etc/pw: password file can't be read: No such file or directory")
    broken.source = ZeroDivisionError("ours")
    async with running(bad=bad.read, broken=broken.read, good=good.read) as reloads:
        reloads.ask()
        await until("all of them", lambda: len(reloads.latest) == 3)
        assert [(each.part, each.result) for each in reloads.latest] == [
            ("bad", ""),
            ("broken", ""),
            ("good", "changed"),
        ]
        assert "/etc/pw" in reloads.latest[0].error
        assert reloads.latest[1].error == "internal error"
    assert (bad.used, broken.used, good.used) == ("old", "old", "new")
    assert "bad: not reloaded, the old one stays in use: /etc/pw" in caplog.text

    bad.source = "mended"
    async with running(bad=bad.read) as reloads:
        assert await reloaded(reloads) == [("bad", "changed", "")]


async def test_a_file_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "_READ_SECONDS", 0.01)
    gate = threading.Event()
    value, other, hung = Value(), Value(), Value()

    def hang() -> Take:
        gate.wait(HANG_SECONDS)
        return hung.read()

    async with running(hung=hang, other=other.read) as reloads:
        reloads.ask()
        await until("both", lambda: len(reloads.latest) == 2)
        assert "can't be read within" in reloads.latest[0].error
        monkeypatch.undo()
        # Not before: a busy machine may not have begun to read it in so short a time, and what is
        # still being read is not begun again.
        reloads.add("value", value.read)
        reloads.ask()
        await until("again", lambda: "still being read" in reloads.latest[0].error)
        await until("the other", lambda: value.used == "new")
        gate.set()
        await until("the thread", lambda: hung.reads)
        assert hung.used == "old"  # too late


async def test_asked_for_twice_at_once_it_is_done_once() -> None:
    value = Value()
    async with running(value=value.read) as reloads:
        reloads.ask()
        reloads.ask()
        await until("the reload", lambda: reloads.latest)
        assert len(value.reads) == 1


async def test_what_was_refused_is_looked_at_again_and_told_only_if_it_is_new(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    value = Value()
    said: list[str] = []

    def read() -> Take:
        take = value.read()
        return lambda: UNCHANGED if value.used == value.source else take()

    async def doubted(reloads: Reloads) -> None:
        count = len(value.reads)
        reloads.doubt("password")
        reloads.doubt("unknown")
        await until("a look", lambda: len(value.reads) > count and not reloads._busy)
        await asyncio.sleep(0)

    async with running(password=read, other=lambda: lambda: said.append("other") or "x") as reloads:
        value.source = value.used
        await doubted(reloads)
        assert (reloads.latest, caplog.messages) == ((), [])
        value.source = "new"
        await doubted(reloads)
        await until("it is told", lambda: caplog.messages == ["password: reloaded: changed"])
        value.source = ConfigError("/f: can't be read")
        for _ in range(3):
            await doubted(reloads)
        await until("the error", lambda: len(caplog.messages) == 2)
        assert reloads.latest[0].error == "/f: can't be read"
    assert said == []  # nothing else is read for it
