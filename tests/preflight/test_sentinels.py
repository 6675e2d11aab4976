"""What `repltap check` says of sentinels."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.config import SentinelConfig, UpstreamConfig
from repltap.errors import UpstreamError
from repltap.preflight import sentinels as module
from repltap.preflight.finding import Finding, Level
from repltap.preflight.sentinels import find_master, with_master
from tests.sentinels import GREETING, FakeSentinel, answers
from tests.tls_files import authority, client

MASTER = ("10.0.0.1", 6379)


def config(*addresses: tuple[str, int]) -> UpstreamConfig:
    sentinel = SentinelConfig(addresses=addresses, master_name="mymaster")
    return UpstreamConfig(host="", port=0, sentinel=sentinel)


async def look(
    *addresses: tuple[str, int],
) -> tuple[list[Finding], UpstreamConfig | None]:
    return await asyncio.to_thread(find_master, config(*addresses))


async def test_all_is_well_and_others_are_asked() -> None:
    other_id = "b" * 40
    async with FakeSentinel(answers(MASTER, 3, (), other_id)) as other:
        told = answers(MASTER, 3, [(other_id, *other.address)])
        async with FakeSentinel(told) as first:
            findings, found = await look(first.address)
            assert [each.level for each in findings] == [Level.OK, Level.OK]
            assert findings[0].found == f"127.0.0.1:{first.address[1]} names 10.0.0.1:6379, epoch 3"
            assert found is not None
            assert (found.host, found.port) == MASTER
            assert (await asyncio.to_thread(with_master, config(first.address))) == found
            assert (first.asked, other.asked) == (2, 2)


async def test_those_that_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    async with (
        FakeSentinel(None) as silent,
        FakeSentinel(b"") as stranger,
        FakeSentinel(answers(None, 0)) as other_name,
    ):
        stranger.greeting = b"-NOAUTH Authentication required.\r\n"
        findings, found = await look(
            silent.address, stranger.address, other_name.address, ("127.0.0.1", 1)
        )
        assert found is None
        said = [(each.level, each.found.partition(" ")[2]) for each in findings[:4]]
        assert said == [
            (Level.WARN, "no answer"),
            (Level.FAIL, "the sentinel wants a password: see --upstream-sentinel-password-file"),
            (Level.FAIL, "watches no master 'mymaster'"),
            (Level.WARN, "Connection refused"),
        ]
        assert findings[4].found == "no sentinel names a master"
        with pytest.raises(UpstreamError, match="no sentinel names a master"):
            await asyncio.to_thread(with_master, config(other_name.address))


async def test_they_disagree_and_the_newer_one_counts() -> None:
    new = ("10.0.0.2", 6379)
    async with (
        FakeSentinel(answers(MASTER, 3)) as behind,
        FakeSentinel(answers(new, 4, (), "b" * 40)) as ahead,
    ):
        findings, found = await look(behind.address, ahead.address)
        assert found is not None
        assert (found.host, found.port) == new
        assert findings[-1].level is Level.WARN
        assert findings[-1].found == ("they name different masters: 10.0.0.1:6379, 10.0.0.2:6379")


async def test_rights_that_are_missing() -> None:
    async with FakeSentinel(answers(MASTER, 3)) as fake:
        fake.greeting = GREETING + b"-NOPERM no\r\n"
        findings, _ = await look(fake.address)
        assert findings[0].level is Level.WARN
        assert "SUBSCRIBE" in findings[0].found
        assert "+subscribe" in findings[0].advice


async def test_tls_with_one_that_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    tls = client(authority(tmp_path).ca_file)
    async with FakeSentinel(None) as fake, FakeSentinel(None) as silent:
        silent.greeting = b""
        asked = config(fake.address, silent.address)
        assert asked.sentinel is not None
        asked = replace(asked, sentinel=replace(asked.sentinel, tls=tls))
        findings, _ = await asyncio.to_thread(find_master, asked)
    assert [each.level for each in findings[:2]] == [Level.FAIL, Level.WARN]
    assert "the sentinel does not speak TLS there" in findings[0].found
    assert findings[1].found.endswith("no answer")
    assert "tls-port" in findings[1].advice


def test_without_sentinels_nothing_is_asked() -> None:
    plain = UpstreamConfig(host="10.0.0.1", port=6379)
    assert with_master(plain) is plain
