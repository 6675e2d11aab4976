"""Whether a server is a master, before it is followed because somebody says so."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from repltap.config import UpstreamConfig
from repltap.errors import RemoteProtocolError, UpstreamError
from repltap.net.connect import settings_of
from repltap.net.master_offset import open_control
from repltap.protocol.master_offset import MasterOffset, MasterOffsetQuery
from repltap.reasons import os_reason

_ANSWER_SECONDS = 3.0
_READ_BYTES = 1 << 16


async def is_master(config: UpstreamConfig, address: tuple[str, int]) -> bool | None:
    """Ask a server for its role, by INFO: what the user for the relay is allowed anyway.

    Args:
        config: How to log in.
        address: Whom to ask.

    Returns:
        None where it does not say, because the user lacks `+info`.

    Raises:
        UpstreamError: It can't be reached, or does not answer.
    """
    config = replace(config, host=address[0], port=address[1])
    query = MasterOffsetQuery(settings_of(config, 0, announce_version=None))
    reader, writer = await open_control(config)
    found = None
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            writer.write(query.ask())
            while found is None:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise UpstreamError("it closed the connection")
                found = query.receive_data(data)
    except TimeoutError as failure:
        raise UpstreamError(f"it did not answer within {_ANSWER_SECONDS:g} s") from failure
    except OSError as failure:
        raise UpstreamError(f"connection lost: {os_reason(failure)}") from failure
    except RemoteProtocolError as failure:
        raise UpstreamError(str(failure)) from failure
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return found.is_master if isinstance(found, MasterOffset) else None
