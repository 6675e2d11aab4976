"""Following the master that Sentinel names.

Every sentinel that is known is kept a connection to; each answer, and each piece of news, leads to
a choice (`protocol.sentinel_view`), and the link is re-pointed once the chosen server itself says
that it is a master. When no sentinel answers, or none that is to be believed, the present link
stays as it is: a stream that runs needs no Sentinel. At a start without them the master that was
followed last is, if it says that it is one, until a sentinel answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from repltap.addresses import host_port
from repltap.config import SentinelConfig, UpstreamConfig
from repltap.errors import ConfigError, UpstreamError
from repltap.logs import PeerLogger
from repltap.net.sentinel_link import SentinelLink
from repltap.protocol.sentinel import Address, MasterTold
from repltap.protocol.sentinel_view import Choice, SentinelView
from repltap.sentinel_url import MAX_SENTINELS
from repltap.status.link import LinkState, UpstreamStatus
from repltap.status.sentinel import SentinelStatus
from repltap.tasks import wait_at_most

_SETTLE_SECONDS = 2.0
"""Before the first choice every configured sentinel has this long to answer: the first to do so may
be the one that was cut off."""

_DOUBT_SECONDS = 0.5
"""A master that is not one yet, or no more, is asked again after this long."""

_LOOK_SECONDS = 2.0
"""How often the last known master is asked, while no sentinel can be."""


class Link(Protocol):
    """The link to the master, as far as this looks at it."""

    config: UpstreamConfig
    state: LinkState
    on_down: Callable[[], None]

    def repoint(self, host: str, port: int, why: str) -> bool:
        """Follow another master."""


class Memory(Protocol):
    """The master that was followed last, over restarts."""

    @property
    def last_known(self) -> Address | None:
        """Where it was at the start, None where nothing is known."""

    def keep(self, link: Link) -> None:
        """Remember the master of this link."""


RoleCheck = Callable[[UpstreamConfig, Address], Awaitable[bool | None]]
"""Whether a server is a master; None where it does not say. Raises UpstreamError."""


async def run_discovery(discovery: Discovery | None) -> None:
    """Follow until cancelled, where there are sentinels."""
    if discovery is not None:
        await discovery.run()


class Discovery:
    """Finds the master and follows it.

    Args:
        config: The sentinels.
        link: Re-pointed.
        is_master: Asks a server.
        memory: Told of each master that the sentinels name, asked at a start without them.
    """

    def __init__(
        self, config: SentinelConfig, link: Link, is_master: RoleCheck, memory: Memory
    ) -> None:
        self._config = config
        self._link = link
        self._is_master = is_master
        self._memory = memory
        self._last_known = memory.last_known  # None as soon as a sentinel has named one
        self._look_at = float("-inf")
        self._view = SentinelView()
        self._links: dict[Address, SentinelLink] = {}
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._changed = asyncio.Event()
        self._choice: Choice | None = None
        self._since: float | None = None
        self._switches = 0
        self._objection = ""
        self._away_told = False
        self._log = PeerLogger("upstream", peer=config.master_name)
        link.on_down = self.nudge

    def status(self) -> SentinelStatus:
        """Show who says what."""
        seen = sorted(self._links.values(), key=lambda link: (not link.configured, link.name))
        choice = self._choice
        return SentinelStatus(
            master_name=self._config.master_name,
            sentinels=tuple(link.seen() for link in seen),
            epoch=choice.epoch if choice and choice.epoch >= 0 else None,
            told_by=tuple(self._links[at].name for at in choice.told_by if at in self._links)
            if choice
            else (),
            followed_since=self._since,
            switches=self._switches,
            objection=self._objection,
            last_known=host_port(*self._last_known) if self._last_known else "",
        )

    def shown(self, status: UpstreamStatus) -> UpstreamStatus:
        """Add who says what to the status of the link."""
        return replace(status, sentinel=self.status())

    def asked_for(self, master: Address) -> None:
        """REPLICAOF has come: from Sentinel, a moment before it tells its clients, or from others.

        Raises:
            ConfigError: It is another master than the one that is followed.
        """
        if master != (self._link.config.host, self._link.config.port):
            self.nudge()
            raise ConfigError(
                "this relay follows the master that Sentinel names; it asks again now",
                hint="SENTINEL FAILOVER moves it, or another --upstream",
            )

    def nudge(self) -> None:
        """Ask all sentinels now: the link broke, or somebody says that the master has moved."""
        for link in self._links.values():
            link.nudge()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for address in self._config.addresses:
                self._watch(address, configured=True)
            await self._settle()
            while True:
                self._changed.clear()
                again = await self._consider()
                if again is None:
                    await self._changed.wait()
                elif not await wait_at_most(self._changed, again):
                    self.nudge()

    def take_credentials(self, username: str | None, password: str | None) -> bool:
        """Log in with these at the next connections; the present ones stay.

        Returns:
            False if nothing changed.
        """
        if (username, password) == (self._config.username, self._config.password):
            return False
        self._config = replace(self._config, username=username, password=password)
        for link in self._links.values():
            link.take_credentials(self._config)
        return True

    # -- inside ----------------------------------------------------------------------------------

    def _watch(self, address: Address, *, configured: bool) -> None:
        assert self._group is not None
        link = SentinelLink(
            address,
            self._config,
            configured=configured,
            on_told=self._told,
            urgent=lambda: self._link.state is not LinkState.CONNECTED,
        )
        self._links[address] = link
        self._tasks[address] = self._group.create_task(link.run(), name=f"sentinel {link.name}")

    def _told(self, link: SentinelLink, told: MasterTold | None) -> None:
        if told is None:
            self._view.lost(link.address)
            if not self._any_answers() and not self._away_told:
                self._away_told = True
                self._log.error("no sentinel answers; %s", self._without())
        else:
            self._away_told = False
            self._view.heard(link.address, told)
            self._learn()
        self._changed.set()

    def _without(self) -> str:
        if (config := self._link.config).host:
            return f"{host_port(config.host, config.port)} stays followed"
        if self._last_known is not None:
            return f"{host_port(*self._last_known)}, the last known master, is asked"
        return "nobody is followed until one does"

    def _learn(self) -> None:
        """Watch the sentinels that are told of, and forget who is told of no more and away."""
        told = [self._view.answer_of(address) for address in self._links]
        ids = {each.sentinel_id for each in told if each is not None and each.sentinel_id}
        others = {
            other.address: other.sentinel_id
            for each in told
            if each is not None
            for other in each.others
        }
        for address, link in list(self._links.items()):
            if not link.configured and not link.answering and link.tried and address not in others:
                del self._links[address]
                self._tasks.pop(address).cancel()
        if not all(link.tried for link in self._links.values()):
            return  # one of those may be known here by another address
        for address, sentinel_id in sorted(others.items()):
            if len(self._links) >= MAX_SENTINELS:
                return
            if address not in self._links and sentinel_id not in ids:
                self._watch(address, configured=False)

    async def _settle(self) -> None:
        deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while not all(link.tried for link in self._links.values()):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._changed.clear()
            await wait_at_most(self._changed, left)

    async def _consider(self) -> float | None:
        """Follow who is to be followed now.

        Returns:
            After how many seconds to ask again; None for when something changes.
        """
        choice = self._chosen()
        if choice is None:
            return await self._do_without()
        current = (self._link.config.host, self._link.config.port)
        if choice.master == current:
            self._accept(choice)
            return None
        objection = await self._objection_to(choice)
        if (now := self._chosen()) is None or now.master != choice.master:
            return 0.001  # they have changed their minds meanwhile
        if objection:
            if objection != self._objection:
                self._log.warning(
                    "%s is not followed yet: %s", host_port(*choice.master), objection
                )
            self._objection = objection
            return _DOUBT_SECONDS
        self._follow(now)
        return None

    async def _do_without(self) -> float | None:
        """Follow the last known master, if nobody is followed and no sentinel answers.

        Returns:
            As `_consider`.
        """
        known = self._last_known
        if known is None or self._link.config.host or self._any_answers():
            return None
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return self._look_at - now
        self._look_at = now + _LOOK_SECONDS
        try:
            # Nobody else says so: a server that does not tell its role is not enough.
            if await self._is_master(self._link.config, known):
                objection = ""
            else:
                objection = "it does not say that it is a master"
        except UpstreamError as failure:
            objection = str(failure)
        if self._any_answers():
            return 0.001
        if objection:
            if objection != self._objection:
                self._log.warning("%s, the last known master: %s", host_port(*known), objection)
            self._objection = objection
            return _LOOK_SECONDS
        self._objection = ""
        self._since = time.time()
        self._link.repoint(*known, "no sentinel answers; it was the master that was followed last")
        return None

    def _any_answers(self) -> bool:
        return any(link.answering for link in self._links.values())

    def _chosen(self) -> Choice | None:
        return self._view.choose(asyncio.get_running_loop().time())

    async def _objection_to(self, choice: Choice) -> str:
        try:
            verdict = await self._is_master(self._link.config, choice.master)
        except UpstreamError as failure:
            # With nobody to follow, the link itself may as well try, and tell.
            return str(failure) if self._link.config.host else ""
        return "it says that it is a replica" if verdict is False else ""

    def _follow(self, choice: Choice) -> None:
        host, port = choice.master
        epoch = "" if choice.epoch < 0 else f", configuration epoch {choice.epoch}"
        why = f"{len(choice.told_by)} of {len(self._links)} sentinels name it{epoch}"
        if self._link.config.host:
            self._switches += 1
        self._since = time.time()
        self._accept(choice)
        self._link.repoint(host, port, why)
        self._memory.keep(self._link)

    def _accept(self, choice: Choice) -> None:
        self._view.followed(choice)
        self._choice = choice
        self._objection = ""
        self._last_known = None
