"""How a connection to a master is opened, by TCP and TLS, and what the handshake says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import UpstreamError
from repltap.net.conversation import Conversation
from repltap.net.names import open_socket
from repltap.protocol.upstream import UpstreamSettings
from repltap.reasons import os_reason
from repltap.tls import ClientTls
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
        password_place=config.password_place,
        ip_address=config.announce_ip,
        announce_version=announce_version,
        rdb_only=rdb_only,
        claim_granted=config.ack_policy.kind is AckKind.RECEIVED,
        timeout_seconds=config.timeout_seconds,
        transfer_timeout_seconds=config.transfer_timeout_seconds,
    )


async def connect(conversation: Conversation, config: UpstreamConfig) -> None:
    """Open the connection of a conversation, through the TLS handshake where there is one.

    Raises:
        UpstreamError: The master can't be reached, or TLS with it fails.
        ConfigError: A file of TLS can't be used.
    """
    if config.tls is not None:
        # In TLS 1.3 a certificate that is missing is told after the handshake.
        conversation.explain = partial(_tls_failure, config, config.tls)
    await open_stream(lambda: conversation, config)


async def open_stream(
    make: Callable[[], asyncio.BaseProtocol], config: UpstreamConfig
) -> asyncio.Transport:
    """Open a connection to the master, as `loop.create_connection`.

    Args:
        make: Called when there is a TCP connection; what it gives is connected when TLS is up.
        config: The master, and how to talk to it.

    Raises:
        UpstreamError, ConfigError: As `connect`.
    """
    reached = False

    def reach() -> asyncio.BaseProtocol:
        nonlocal reached
        reached = True
        return make()

    try:
        async with asyncio.timeout(config.connect_timeout_seconds):
            return await _open(reach, config)
    except UnicodeError as failure:
        raise UpstreamError(
            f"{config.host[:80]!r} is not a host name", reason=FailureReason.CONNECT_FAILED
        ) from failure
    except OSError as failure:  # a TimeoutError is one
        if reached and config.tls is not None:
            raise _no_handshake(failure, config, config.tls) from failure
        raise _unreachable(failure, config) from failure


async def _open(
    make: Callable[[], asyncio.BaseProtocol], config: UpstreamConfig
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    tls = config.tls
    if config.socket_path is not None:
        transport, _ = await loop.create_unix_connection(make, config.socket_path)
        return transport
    sock = await open_socket(config.host, config.port)
    if tls is None:
        transport, _ = await loop.create_connection(make, sock=sock)
    else:
        transport, _ = await loop.create_connection(
            make,
            sock=sock,
            ssl=tls.context,
            server_hostname=tls.name(config.host),
            # Ours ends it before.
            ssl_handshake_timeout=2 * config.connect_timeout_seconds,
        )
    return transport


def _unreachable(failure: OSError, config: UpstreamConfig) -> UpstreamError:
    if isinstance(failure, TimeoutError):
        return UpstreamError(
            f"no connection within {config.connect_timeout_seconds:g} s",
            hint="is it up, and not behind a firewall?",
            reason=FailureReason.CONNECT_FAILED,
        )
    unknown = isinstance(failure, socket.gaierror)
    return UpstreamError(
        f"can't connect: {os_reason(failure)}",
        hint="is the name right?" if unknown else "is the master up? It is tried again",
        reason=FailureReason.CONNECT_FAILED,
    )


def _no_handshake(failure: OSError, config: UpstreamConfig, tls: ClientTls) -> UpstreamError:
    if isinstance(failure, TimeoutError):
        # A server without TLS waits for the end of the line that the handshake seems to begin.
        return UpstreamError(
            f"no answer to the TLS handshake within {config.connect_timeout_seconds:g} s",
            hint="is this the master's tls-port? A port without TLS says nothing",
            reason=FailureReason.TLS,
        )
    return _tls_failure(config, tls, failure)


def _tls_failure(config: UpstreamConfig, tls: ClientTls, failure: Exception) -> UpstreamError:
    fault = tls.fault(failure, "the master", config.host)
    return UpstreamError(fault.message, hint=fault.hint, reason=FailureReason.TLS)
