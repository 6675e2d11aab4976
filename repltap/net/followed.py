"""Whom the relay follows at its start: what is kept of a re-point, and of what Sentinel said."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from repltap.addresses import host_port
from repltap.config import UpstreamConfig
from repltap.errors import StoreError
from repltap.status.link import UpstreamStatus
from repltap.store.followed import Followed, load_followed, save_followed

log = logging.getLogger("repltap.upstream")


class _Link(Protocol):
    config: UpstreamConfig


class FollowedMaster:
    """The master of the configuration, and the one that took its place.

    Args:
        data_dir: Where it is kept.
        configured: As the process was started.
    """

    def __init__(self, data_dir: Path, configured: UpstreamConfig) -> None:
        self._data_dir = data_dir
        self._configured = configured
        self._kept: Followed | None = None  # what is in the file
        self._wanted: Followed | None = None  # what should be
        self._asked = asyncio.Event()

    @property
    def last_known(self) -> tuple[str, int] | None:
        """The master that Sentinel named last; for a start without it."""
        return None if self._wanted is None else (self._wanted.host, self._wanted.port)

    def start(self) -> UpstreamConfig:
        """Say whom to follow; blocking, but for one small file.

        Raises:
            StoreError: What is kept can't be read.
        """
        config = self._configured
        kept = load_followed(self._data_dir)
        if kept is None:
            return config
        self._kept = self._wanted = kept
        if kept.configured != _named(config):
            log.warning(
                "%s, followed until now, gives way to %s: the configuration has changed",
                host_port(kept.host, kept.port),
                _shown(config),
            )
            self._want(None)
            return config
        if config.sentinel is not None:
            return config  # Sentinel says so anew at each start, if it can be asked
        log.warning(
            "%s is followed instead of %s: a re-point was kept at %s; REPLICAOF %s %d and CONFIG "
            "REWRITE take it back",
            host_port(kept.host, kept.port),
            _shown(config),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(kept.at)) + " UTC",
            config.host,
            config.port,
        )
        return replace(config, host=kept.host, port=kept.port)

    def keep(self, link: _Link) -> None:
        """Follow the link's master after a restart too; written soon."""
        now = link.config
        if (now.host, now.port) == (self._configured.host, self._configured.port):
            self._want(None)
        elif self._wanted is None or (self._wanted.host, self._wanted.port) != (now.host, now.port):
            self._want(Followed(_named(self._configured), now.host, now.port, time.time()))
        else:
            self._want(self._wanted)  # once more, where it could not be written

    def shown(self, status: UpstreamStatus) -> UpstreamStatus:
        """Add to the link's status what was configured, where that is another master."""
        configured = self._configured
        if configured.sentinel or (status.host, status.port) == (configured.host, configured.port):
            return status
        kept = self._kept is not None and (self._kept.host, self._kept.port) == (
            status.host,
            status.port,
        )
        return replace(status, configured=_shown(self._configured), kept=kept)

    async def run(self) -> None:
        """Write what is wanted until cancelled. A failure is told, and costs nothing but this."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted = self._wanted
            if wanted == self._kept:
                continue
            try:
                await asyncio.to_thread(save_followed, self._data_dir, wanted)
            except StoreError as failure:
                log.error("the next start will not know whom to follow: %s", failure)
            else:
                self._kept = wanted
                if wanted is not None and self._configured.sentinel is None:
                    where = host_port(wanted.host, wanted.port)
                    log.info("%s is followed after a restart too", where)

    def _want(self, wanted: Followed | None) -> None:
        self._wanted = wanted
        self._asked.set()


def _named(config: UpstreamConfig) -> str:
    """Say whom the configuration names, for the file: a changed one counts more than what is kept.

    Never to be written in another way: it is compared with what an older version wrote.
    """
    if (sentinel := config.sentinel) is not None:
        named = ",".join(sorted(f"{host}:{port}" for host, port in sentinel.addresses))
        return f"{named}/{sentinel.master_name}"
    return f"{config.host}:{config.port}"


def _shown(config: UpstreamConfig) -> str:
    """Say the same to people."""
    if (sentinel := config.sentinel) is not None:
        named = ",".join(sorted(host_port(*address) for address in sentinel.addresses))
        return f"{named}/{sentinel.master_name}"
    return config.socket_path or host_port(config.host, config.port)
