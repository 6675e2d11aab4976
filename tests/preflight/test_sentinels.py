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
from tests.stored import HANG_SECONDS
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


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", HANG_SECONDS)


async def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    async with FakeSentinel(None) as silent:
        findings, found = await look(silent.address)
        assert found is None
        assert findings[0].level is Level.WARN
        assert findings[0].found.endswith(" no answer")


async def test_those_that_do_not_help() -> None:
    async with FakeSentinel(b"") as stranger, FakeSentinel(answers(None, 0)) as other_name:
        stranger.greeting = b"-NOAUTH Authentication required.\r\n"
        findings, found = await look(stranger.address, other_name.address, ("127.0.0.1", 1))
        assert found is None
        said = [(each.level, each.found.partition(" ")[2]) for each in findings[:3]]
        assert said == [
            (Level.FAIL, "the sentinel wants a password: see --upstream-sentinel-password-file"),
            (Level.FAIL, "watches no master 'mymaster'"),
            (Level.WARN, "Connection refused"),
        ]
        assert findings[3].found == "no sentinel names a master"
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
    tls = client(authority(tmp_path).ca_file)

    async def found_of(fake: FakeSentinel) -> Finding:
        asked = config(fake.address)
        assert asked.sentinel is not None
        asked = replace(asked, sentinel=replace(asked.sentinel, tls=tls))
        findings, _ = await asyncio.to_thread(find_master, asked)
        return findings[0]

    async with FakeSentinel(None) as fake:
        found = await found_of(fake)
        assert found.level is Level.FAIL
        assert "the sentinel does not speak TLS there" in found.found
    async with FakeSentinel(None) as silent:
        silent.greeting = b""
        monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
        found = await found_of(silent)
        assert found.level is Level.WARN
        assert found.found.endswith("no answer")
        assert "tls-port" in found.advice


def test_without_sentinels_nothing_is_asked() -> None:
    plain = UpstreamConfig(host="10.0.0.1", port=6379)
    assert with_master(plain) is plain
