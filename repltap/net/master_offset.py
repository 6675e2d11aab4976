"""The master's own offset, asked for each second over a light connection of its own.

The link can't tell how far behind it is: what it has not received, it does not know of. This must
never cost the link anything: it asks only while the link has something to compare with, one
question at a time, and what goes wrong here is told in the status and nowhere else matters.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from repltap.addresses import host_port
from repltap.config import UpstreamConfig
from repltap.errors import RemoteProtocolError, ReplTapError, UpstreamError
from repltap.feed import Feed
from repltap.logs import PeerLogger
from repltap.net.info_connection import InfoConnection, open_info
from repltap.protocol.master_offset import Unanswered
from repltap.sightings import Sightings
from repltap.status.link import LinkState, UpstreamStatus

_ANSWER_SECONDS = 5.0
"""A master that takes longer for one INFO is busy with something that blocks it."""

_MIN_INTERVAL_SECONDS = 0.1
_KNOWN_SECONDS = 5.0
"""What the master had longer ago than this, and than three intervals, is not known any more."""

_BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)
_REFUSED_SECONDS = 300.0
"""A refusal stays until somebody changes the ACL, and may be written to the master's ACL log."""

_ASKING = (LinkState.CONNECTED, LinkState.PAUSED)
"""Paused for want of room is when one wants to know what is being missed. Without a link its own
reconnects come first."""


class Followed(Protocol):
    """The link, as far as it is looked at."""

    config: UpstreamConfig
    state: LinkState
    streaming_since: float | None


class _RefusedError(UpstreamError):
    """Asking again won't help before somebody changes something."""


class MasterPoll:
    """Asks the master that is followed.

    Args:
        feed: What has been received.
        link: The main link, and its master.
    """

    def __init__(self, feed: Feed, link: Followed) -> None:
        self._feed = feed
        self._link = link
        self._log = PeerLogger("upstream", replid=feed.arriving_replid)
        self._interval = link.config.poll_seconds
        if self._interval:
            self._interval = max(_MIN_INTERVAL_SECONDS, self._interval)
        self._sightings = Sightings(max(_KNOWN_SECONDS, 3 * self._interval))
        self._not_before = 0.0  # on the event loop's clock, for `_refuser` alone
        self._refuser: UpstreamConfig | None = None
        self._error = ""
        self._logged = ""
        self._failures = 0

    def shown(self, status: UpstreamStatus) -> UpstreamStatus:
        """Add what is known of the master to the status of the link."""
        history = self._feed.history
        now = asyncio.get_running_loop().time()
        lag = (
            None
            if history is None
            else self._sightings.lag(history.history.replid, history.journal.end, now)
        )
        if lag is None:
            return replace(status, master_offset_error=self._error)
        return replace(
            status, master_offset=lag.offset, lag_bytes=lag.bytes, lag_seconds=lag.seconds
        )

    async def run(self) -> None:
        """Ask until cancelled."""
        if not self._interval:
            self._error = "upstream.poll_seconds is 0: the master is not asked"
            return
        while True:
            await asyncio.sleep(self._interval)
            config = self._link.config
            if not self._wanted or self._left_alone(config):
                continue
            try:
                await self._converse(config)
            except ReplTapError as failure:
                self._failed(config, failure)

    @property
    def _wanted(self) -> bool:
        return self._feed.history is not None and self._link.state in _ASKING

    def _left_alone(self, config: UpstreamConfig) -> bool:
        """It has failed lately; another master is asked at once."""
        return config is self._refuser and asyncio.get_running_loop().time() < self._not_before

    async def _converse(self, config: UpstreamConfig) -> None:
        """Ask over one connection for as long as the link keeps its own.

        A link that is connected again may have found another server behind the same name.

        Raises:
            UpstreamError: It can't be reached, fell silent, or refused.
            RemoteProtocolError: Its answer is none.
        """
        since = self._link.streaming_since
        async with open_info(config, "the master") as connection:
            while (self._link.config, self._link.streaming_since) == (config, since):
                if not self._wanted:
                    return
                await self._ask(connection)
                await asyncio.sleep(self._interval)

    async def _ask(self, connection: InfoConnection) -> None:
        found = await connection.ask(_ANSWER_SECONDS)
        if isinstance(found, Unanswered):
            raise (_RefusedError if found.lasting else UpstreamError)(found.message)
        self._failures = 0
        self._error = ""
        history = self._feed.history
        if history is not None:
            now = asyncio.get_running_loop().time()
            self._sightings.note(found.replid, found.offset, history.journal.end, now)

    def _failed(self, config: UpstreamConfig, failure: ReplTapError) -> None:
        """Leave it alone for a while. Log what lasts, once: the rest the link itself tells."""
        refused = isinstance(failure, _RefusedError)
        step = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)]
        delay = _REFUSED_SECONDS if refused else step
        self._not_before = asyncio.get_running_loop().time() + delay
        self._refuser = config
        self._failures += 1
        self._error = str(failure)
        lasting = refused or isinstance(failure, RemoteProtocolError)
        if lasting and self._error != self._logged:
            self._logged = self._error
            self._log.peer = host_port(config.host, config.port)
            self._log.warning("lag behind the master is not known: %s", failure)
