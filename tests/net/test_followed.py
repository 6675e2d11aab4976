"""Whom the relay follows at its start, and what is kept of a re-point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from repltap.config import SentinelConfig, UpstreamConfig
from repltap.errors import DataDirError
from repltap.net import followed as module
from repltap.net.followed import FollowedMaster
from repltap.store.followed import Followed, load_followed, save_followed
from tests.net.admin.fakes import upstream
from tests.stored import until

CONFIGURED = UpstreamConfig(host="10.0.0.1", port=6379)
OTHER = replace(CONFIGURED, host="10.0.0.2", port=6380)


@dataclass
class FakeLink:
    config: UpstreamConfig


@asynccontextmanager
async def running(master: FollowedMaster) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(master.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_re_point_that_is_kept(tmp_path: Path) -> None:
    master = FollowedMaster(tmp_path, CONFIGURED)
    assert master.start() == CONFIGURED
    shown = upstream(host=OTHER.host, port=OTHER.port)
    async with running(master):
        assert master.shown(shown).configured == "10.0.0.1:6379"
        assert not master.shown(shown).kept
        master.keep(FakeLink(OTHER))
        await until("the file", lambda: master.shown(shown).kept)
        again = FollowedMaster(tmp_path, CONFIGURED)
        assert again.start() == OTHER
        assert again.shown(shown).kept
        # The configured one again: nothing is kept of it.
        master.keep(FakeLink(CONFIGURED))
        await until("no file", lambda: load_followed(tmp_path) is None)
        back = upstream(host=CONFIGURED.host, port=CONFIGURED.port)
        assert master.shown(back) == back
    assert FollowedMaster(tmp_path, CONFIGURED).start() == CONFIGURED


async def test_what_sentinels_said_last_is_for_a_start_without_them(tmp_path: Path) -> None:
    sentinel = SentinelConfig(addresses=(("b", 2), ("a", 1)), master_name="m")
    config = UpstreamConfig(host="", port=0, sentinel=sentinel)
    master = FollowedMaster(tmp_path, config)
    assert (master.start(), master.last_known) == (config, None)
    async with running(master):
        master.keep(FakeLink(replace(config, host="10.0.0.2", port=6380)))
        await until("the file", lambda: load_followed(tmp_path) is not None)
    other_order = replace(sentinel, addresses=(("a", 1), ("b", 2)))
    again = FollowedMaster(tmp_path, replace(config, sentinel=other_order))
    assert again.start().host == ""
    assert again.last_known == ("10.0.0.2", 6380)
    for changed in (
        replace(config, sentinel=replace(sentinel, master_name="n")),
        replace(config, sentinel=replace(sentinel, addresses=(("c", 3),))),
        CONFIGURED,
    ):
        another = FollowedMaster(tmp_path, changed)
        assert (another.start(), another.last_known) == (changed, None)


@pytest.mark.parametrize(
    ("configured", "kept_as", "shown", "command"),
    [
        (CONFIGURED, "10.0.0.1:6379", "10.0.0.1:6379", "REPLICAOF 10.0.0.1 6379"),
        (replace(CONFIGURED, host="::1"), "::1:6379", "[::1]:6379", "REPLICAOF ::1 6379"),
        (
            replace(CONFIGURED, host="/r.sock", port=0),
            "/r.sock:0",
            "/r.sock",
            "REPLICAOF /r.sock 0",
        ),
    ],
    ids=["ipv4", "ipv6", "unix"],
)
def test_how_to_take_it_back_is_told(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    configured: UpstreamConfig,
    kept_as: str,
    shown: str,
    command: str,
) -> None:
    save_followed(tmp_path, Followed(kept_as, "fd00::2", 6380, 1.0))
    master = FollowedMaster(tmp_path, configured)
    assert (master.start().host, master.start().port) == ("fd00::2", 6380)
    assert f"[fd00::2]:6380 is followed instead of {shown}:" in caplog.text
    assert f"; {command} and CONFIG REWRITE" in caplog.text
    assert master.shown(upstream(host="fd00::2", port=6380)).configured == shown


async def test_a_changed_configuration_has_the_last_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_followed(tmp_path, Followed("10.0.0.1:6379", "10.0.0.2", 6380, 1.0))
    changed = replace(CONFIGURED, host="10.0.0.3")
    master = FollowedMaster(tmp_path, changed)
    assert master.start() == changed
    assert "the configuration has changed" in caplog.text
    async with running(master):
        await until("no file", lambda: load_followed(tmp_path) is None)


async def keep_in_vain(
    master: FollowedMaster,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Let it keep another master, on a disk that fails once."""

    def fails(data_dir: Path, wanted: Followed | None) -> None:
        raise DataDirError(error, path=data_dir)

    with monkeypatch.context() as patched:
        patched.setattr(module, "save_followed", fails)
        master.keep(FakeLink(OTHER))
        await until("the log", lambda: "will not know whom to follow" in caplog.text)


async def test_a_disk_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    master = FollowedMaster(tmp_path, CONFIGURED)
    async with running(master):
        await keep_in_vain(master, "input/output error", monkeypatch, caplog)
        assert not master.shown(upstream(host=OTHER.host, port=OTHER.port)).kept


async def test_asked_again_after_a_failure_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It once was taken for done: CONFIG REWRITE said OK, and the next start followed another."""
    master = FollowedMaster(tmp_path, CONFIGURED)
    async with running(master):
        await keep_in_vain(master, "no space left", monkeypatch, caplog)
        master.keep(FakeLink(OTHER))
        await until("the file", lambda: load_followed(tmp_path) is not None)
    assert FollowedMaster(tmp_path, CONFIGURED).start() == OTHER


async def test_what_was_kept_before_sentinels_were_asked_is_forgotten(tmp_path: Path) -> None:
    """Back at `redis://`, a master of long ago must not be followed."""
    save_followed(tmp_path, Followed("10.0.0.1:6379", "10.0.0.2", 6380, 1.0))
    asking = UpstreamConfig(
        host="", port=0, sentinel=SentinelConfig(addresses=(("s", 1),), master_name="m")
    )
    master = FollowedMaster(tmp_path, asking)
    assert master.start() == asking
    async with running(master):
        await until("no file", lambda: load_followed(tmp_path) is None)
    assert FollowedMaster(tmp_path, CONFIGURED).start() == CONFIGURED
