"""Whether a server is a master, before it is followed because somebody says so."""

from __future__ import annotations

from dataclasses import replace

from repltap.config import UpstreamConfig
from repltap.errors import RemoteProtocolError, UpstreamError
from repltap.net.info_connection import open_info
from repltap.protocol.master_offset import MasterOffset

_ANSWER_SECONDS = 3.0


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
    try:
        async with open_info(config, "it") as connection:
            found = await connection.ask(_ANSWER_SECONDS)
    except RemoteProtocolError as failure:
        raise UpstreamError(str(failure)) from failure
    return found.is_master if isinstance(found, MasterOffset) else None
