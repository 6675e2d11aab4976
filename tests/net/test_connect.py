"""Opening the connection to a master: what can go wrong, and what it says of itself."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from repltap.errors import UpstreamError
from repltap.net import connect as connect_module
from repltap.net.connect import settings_of
from repltap.values import AckKind, AckPolicy
from tests.net.relay import upstream_config
from tests.servers.ports import silent_port


async def connect(port: int, **changes: object) -> None:
    await connect_module.connect(None, upstream_config(port, **changes))  # type: ignore[arg-type]


async def test_nobody_listens() -> None:
    refused = r"Connection refused \(is the master up\? It is tried"
    with silent_port() as port, pytest.raises(UpstreamError, match=refused):
        await connect(port)


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UpstreamError, match="is the name right?"):
        await connect(6379, host="no-such-host.invalid")


async def test_what_is_no_name() -> None:
    with pytest.raises(UpstreamError, match="is not a host name"):
        await connect(6379, host="a" * 70 + ".example")


async def test_a_master_that_does_not_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_args: object, **_kwargs: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(UpstreamError, match=r"no connection within 0\.01 s"):
        await connect(1, connect_timeout_seconds=0.01)


def test_what_the_handshake_says() -> None:
    config = upstream_config(1, username="relay", password="sesame", announce_ip="10.0.0.2")
    settings = settings_of(config, 6380, announce_version="7.0.15", rdb_only=True)
    assert settings.listening_port == 6380
    assert (settings.username, settings.password) == ("relay", "sesame")
    assert settings.ip_address == "10.0.0.2"
    assert settings.announce_version == "7.0.15"
    assert settings.rdb_only
    assert settings.claim_granted


@pytest.mark.parametrize("policy", [AckPolicy(AckKind.DURABLE), AckPolicy(AckKind.QUORUM, 2)])
def test_only_received_claims_what_is_granted(policy: AckPolicy) -> None:
    config = upstream_config(1, ack_policy=policy)
    assert not settings_of(config, 6380, announce_version=None).claim_granted


async def test_a_unix_socket_where_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="No such file or directory"):
        await connect(0, host=str(tmp_path / "none.sock"))
