"""How a connection to a master is opened: what the handshake says, and the TCP connection."""

from __future__ import annotations

import asyncio
import socket

from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import UpstreamError
from repltap.net.conversation import Conversation
from repltap.protocol.upstream import UpstreamSettings
from repltap.reasons import os_reason
from repltap.values import AckKind


def settings_of(
    config: UpstreamConfig,
    listening_port: int,
    *,
    announce_version: str | None,
    rdb_only: bool = False,
) -> UpstreamSettings:
    """Say what the handshake says, from the configuration."""
    return UpstreamSettings(
        listening_port=listening_port,
        username=config.username,
        password=config.password,
        ip_address=config.announce_ip,
        announce_version=announce_version,
        rdb_only=rdb_only,
        claim_granted=config.ack_policy.kind is AckKind.RECEIVED,
        timeout_seconds=config.timeout_seconds,
        transfer_timeout_seconds=config.transfer_timeout_seconds,
    )


async def connect(conversation: Conversation, config: UpstreamConfig) -> None:
    """Open the connection of a conversation.

    Raises:
        UpstreamError: The master can't be reached.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(config.connect_timeout_seconds):
            if config.socket_path is not None:
                await loop.create_unix_connection(lambda: conversation, config.socket_path)
            else:
                await loop.create_connection(lambda: conversation, config.host, config.port)
    except TimeoutError as failure:
        raise UpstreamError(
            f"no connection within {config.connect_timeout_seconds:g} s",
            hint="is it up, and not behind a firewall?",
            reason=FailureReason.CONNECT_FAILED,
        ) from failure
    except UnicodeError as failure:
        raise UpstreamError(
            f"{config.host[:80]!r} is not a host name", reason=FailureReason.CONNECT_FAILED
        ) from failure
    except OSError as failure:
        unknown = isinstance(failure, socket.gaierror)
        raise UpstreamError(
            f"can't connect: {os_reason(failure)}",
            hint="is the name right?" if unknown else "is the master up? It is tried again",
            reason=FailureReason.CONNECT_FAILED,
        ) from failure
