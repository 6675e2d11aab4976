"""Which master is followed when sentinels say this and that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from repltap.config import SentinelConfig, UpstreamConfig
from repltap.errors import ConfigError, UpstreamError
from repltap.net import discovery as module
from repltap.net import sentinel_link
from repltap.net.discovery import Discovery, Link, run_discovery
from repltap.protocol.sentinel import Address
from repltap.sentinel_url import MAX_SENTINELS
from repltap.status.link import LinkState
from repltap.status.sentinel import SentinelState
from tests.net.admin.fakes import upstream
from tests.sentinels import GREETING, SUBSCRIBED, FakeSentinel, answers
from tests.stored import HANG_SECONDS, until

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
IDS = ("a" * 40, "b" * 40, "c" * 40)


class FakeLink:
    """A link that notes whom it follows."""

    def __init__(self) -> None:
        self.config = UpstreamConfig(host="", port=0)
        self.state = LinkState.CONNECTED
        self.on_down: Callable[[], None] = lambda: None
        self.followed: list[Address] = []

    def repoint(self, host: str, port: int, why: str) -> bool:
        self.config = UpstreamConfig(host=host, port=port)
        self.followed.append((host, port))
        return True


class Roles:
    """What the servers say that they are; an error for one that can't be reached."""

    def __init__(self) -> None:
        self.of: dict[Address, bool | UpstreamError | None] = {}
        self.asked: list[Address] = []

    async def __call__(self, config: UpstreamConfig, address: Address) -> bool | None:
        self.asked.append(address)
        verdict = self.of.get(address, True)
        if isinstance(verdict, UpstreamError):
            raise verdict
        return verdict


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel_link, "_BACKOFF_SECONDS", (0.001,))
    monkeypatch.setattr(module, "_DOUBT_SECONDS", 0.001)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    # A machine that stands still for some seconds makes none of them late.
    monkeypatch.setattr(module, "_SETTLE_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(sentinel_link, "_CONNECT_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(sentinel_link, "_ANSWER_SECONDS", HANG_SECONDS)


class Memory:
    """What was followed last."""

    def __init__(self) -> None:
        self.last_known: Address | None = None

    def keep(self, link: Link) -> None:
        self.last_known = (link.config.host, link.config.port)


class Scene:
    """Three sentinels and what follows from what they say."""

    def __init__(self, fakes: list[FakeSentinel]) -> None:
        self.fakes = fakes
        self.link = FakeLink()
        self.roles = Roles()
        config = SentinelConfig(
            addresses=tuple(fake.address for fake in fakes), master_name="mymaster"
        )
        self.memory = Memory()
        self._config = config

    def begin(self) -> Discovery:
        """Make what is looked at."""
        self.discovery = Discovery(self._config, self.link, self.roles, self.memory)
        return self.discovery

    def say(self, index: int, master: Address | None, epoch: int) -> None:
        """Let one sentinel answer this from now on."""
        others = [(IDS[n], *fake.address) for n, fake in enumerate(self.fakes) if n != index]
        self.fakes[index].answer = answers(master, epoch, others, IDS[index])

    async def follows(self, master: Address) -> None:
        await until(f"{master}", lambda: self.link.followed[-1:] == [master])


@asynccontextmanager
async def scene(
    *said: tuple[Address | None, int], prepare: Callable[[Scene], None] = lambda _: None
) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeSentinel(None)) for _ in said]
        made = Scene(fakes)
        for index, (master, epoch) in enumerate(said):
            made.say(index, master, epoch)
        prepare(made)
        task = asyncio.get_running_loop().create_task(run_discovery(made.begin()))
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


async def test_the_master_is_found_and_a_switch_followed() -> None:
    async with scene((OLD, 0), (OLD, 0), (OLD, 0)) as it:
        await it.follows(OLD)
        for index in range(3):
            it.say(index, NEW, 1)
        it.link.on_down()  # the link broke: all are asked
        await it.follows(NEW)
        await until("all", lambda: {s.epoch for s in it.discovery.status().sentinels} == {1})
        status = it.discovery.status()
        assert (status.epoch, status.switches, status.objection) == (1, 1, "")
        assert status.answering == 3
        assert status.followed_since is not None
        assert it.link.followed == [OLD, NEW]
        assert it.discovery.shown(upstream()).sentinel == status


async def test_at_the_start_the_newest_wins_and_not_the_first() -> None:
    async with scene((OLD, 3), (NEW, 4), (OLD, 3)) as it:
        await until("a master", lambda: it.link.followed)
        assert it.link.followed == [NEW]


async def test_one_that_was_cut_off_does_not_lead_back() -> None:
    async with scene((NEW, 4), (NEW, 4), (OLD, 3)) as it:
        await it.follows(NEW)
        for fake in it.fakes[:2]:
            fake.greeting = b"-ERR away\r\n"
            fake.hang_up()
        await until("one left", lambda: it.discovery.status().answering == 1)
        asked = it.fakes[2].asked
        it.discovery.nudge()
        await until("it was asked", lambda: it.fakes[2].asked > asked)
        await asyncio.sleep(0)
        assert it.link.followed == [NEW]


async def test_a_master_that_says_it_is_a_replica_is_not_followed_yet() -> None:
    async with scene((OLD, 0), (OLD, 0), (OLD, 0)) as it:
        await it.follows(OLD)
        it.roles.of[NEW] = False
        it.say(0, NEW, 1)
        it.discovery.nudge()
        await until("doubts", lambda: it.roles.asked.count(NEW) > 3)
        assert it.discovery.status().objection == "it says that it is a replica"
        assert it.link.followed == [OLD]
        it.roles.of[NEW] = True
        await it.follows(NEW)
        assert it.discovery.status().objection == ""


async def test_a_master_that_can_not_be_reached_is_not_moved_to() -> None:
    async with scene((OLD, 0), (OLD, 0), (OLD, 0)) as it:
        await it.follows(OLD)
        it.roles.of[NEW] = UpstreamError("can't connect: no route")
        it.say(0, NEW, 1)
        it.discovery.nudge()
        await until("doubts", lambda: it.discovery.status().objection)
        # The sentinels think better of it.
        it.say(0, OLD, 2)
        await until("no doubt", lambda: not it.discovery.status().objection)
        assert it.link.followed == [OLD]


async def test_at_the_start_it_is_followed_all_the_same() -> None:
    """The link itself then tries, and tells."""

    def unreachable(it: Scene) -> None:
        it.roles.of[OLD] = UpstreamError("can't connect")

    async with scene((OLD, 0), prepare=unreachable) as it:
        await it.follows(OLD)


async def test_a_server_that_does_not_tell_its_role_is_believed() -> None:
    async with scene((OLD, 0), prepare=lambda it: it.roles.of.update({OLD: None})) as it:
        await it.follows(OLD)


async def test_when_all_are_away_the_link_stays(caplog: pytest.LogCaptureFixture) -> None:
    async with scene((OLD, 0), (OLD, 0)) as it:
        await it.follows(OLD)
        for fake in it.fakes:
            fake.greeting = b"-ERR away\r\n"
            fake.hang_up()
        await until("nobody", lambda: it.discovery.status().answering == 0)
        for fake in it.fakes:
            tries = fake.connections
            await until("more tries", lambda fake=fake, n=tries: fake.connections > n + 2)
        # Once, not with each try.
        assert caplog.text.count("no sentinel answers; 10.0.0.1:6379 stays followed") == 1
        assert it.link.followed == [OLD]
        assert {s.state for s in it.discovery.status().sentinels} == {SentinelState.AWAY}


def last_was_old(it: Scene) -> None:
    """Start where all are away, after a life in which OLD was followed."""
    it.memory.last_known = OLD
    for fake in it.fakes:
        fake.greeting = b"-ERR away\r\n"


async def test_at_a_start_without_them_the_last_known_master_is_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene((NEW, 1), (NEW, 1), prepare=last_was_old) as it:
        await it.follows(OLD)
        assert "10.0.0.1:6379, the last known master, is asked" in caplog.text
        status = it.discovery.status()
        assert (status.last_known, status.told_by, status.switches) == ("10.0.0.1:6379", (), 0)
        assert status.followed_since is not None
        it.fakes[0].greeting = GREETING + SUBSCRIBED
        await it.follows(NEW)
        status = it.discovery.status()
        assert (status.last_known, status.switches) == ("", 1)
        assert status.told_by
        assert it.memory.last_known == NEW


async def test_the_last_known_master_is_named_again() -> None:
    async with scene((OLD, 1), prepare=last_was_old) as it:
        await it.follows(OLD)
        it.fakes[0].greeting = GREETING + SUBSCRIBED
        await until("its word", lambda: not it.discovery.status().last_known)
        assert it.link.followed == [OLD]


@pytest.mark.parametrize("verdict", [False, None, UpstreamError("can't connect")])
async def test_a_last_known_one_that_does_not_say_it_is_a_master(
    verdict: bool | UpstreamError | None,
) -> None:
    def prepare(it: Scene) -> None:
        last_was_old(it)
        it.roles.of[OLD] = verdict

    async with scene((NEW, 1), prepare=prepare) as it:
        await until("questions", lambda: len(it.roles.asked) > 3)
        assert it.link.followed == []
        assert it.discovery.status().objection
        it.fakes[0].greeting = GREETING + SUBSCRIBED
        await it.follows(NEW)
        assert it.link.followed == [NEW]


async def test_sentinels_that_know_no_master_are_not_away() -> None:
    def prepare(it: Scene) -> None:
        it.memory.last_known = OLD

    async with scene((None, 0), prepare=prepare) as it:
        await until("an answer", lambda: it.discovery.status().answering == 1)
        asked = it.fakes[0].asked
        it.discovery.nudge()
        await until("another", lambda: it.fakes[0].asked > asked)
        assert (it.roles.asked, it.link.followed) == ([], [])


async def test_a_name_that_nobody_knows() -> None:
    async with scene((None, 0), (None, 0)) as it:
        await until("answers", lambda: it.discovery.status().answering == 2)
        assert it.link.followed == []


async def test_sentinels_are_learnt_within_bounds_and_forgotten() -> None:
    async with scene((OLD, 0)) as it, FakeSentinel(answers(OLD, 0, (), IDS[1])) as learnt:
        many = [(f"{n:040d}", "127.0.0.1", n) for n in range(1, 40)]
        it.fakes[0].answer = answers(OLD, 0, [(IDS[1], *learnt.address), *many], IDS[0])
        it.discovery.nudge()
        await until("many", lambda: len(it.discovery.status().sentinels) == MAX_SENTINELS)
        it.fakes[0].answer = answers(OLD, 0, [(IDS[1], *learnt.address)], IDS[0])
        await until("tried", lambda: it.discovery.status().answering >= 1)

        def asked_and_forgotten() -> bool:
            it.discovery.nudge()
            return len(it.discovery.status().sentinels) == 2

        await until("two", asked_and_forgotten)
        await until("both", lambda: it.discovery.status().answering == 2)
        seen = it.discovery.status().sentinels
        assert [each.configured for each in seen] == [True, False]
        assert it.link.followed == [OLD]


async def test_the_same_sentinel_is_not_watched_twice() -> None:
    async with scene((OLD, 0), (OLD, 0)) as it:
        others = [(IDS[1], "10.9.9.9", 26379)]  # announced by another address
        it.fakes[0].answer = answers(OLD, 0, others, IDS[0])
        await it.follows(OLD)
        assert len(it.discovery.status().sentinels) == 2


async def test_what_replicaof_asks_for_is_asked_of_the_sentinels() -> None:
    async with scene((OLD, 0)) as it:
        await it.follows(OLD)
        it.discovery.asked_for(OLD)
        asked = it.fakes[0].asked
        it.say(0, NEW, 1)
        with pytest.raises(ConfigError, match="master that Sentinel names"):
            it.discovery.asked_for(NEW)
        await it.follows(NEW)
        assert it.fakes[0].asked > asked


async def test_without_sentinels_there_is_nothing_to_do() -> None:
    await run_discovery(None)


async def test_another_password_is_for_all_sentinels() -> None:
    async with scene((OLD, 0), (OLD, 0)) as it:
        await it.follows(OLD)
        assert it.discovery.take_credentials("tap", "hunter2")
        assert not it.discovery.take_credentials("tap", "hunter2")
        for fake in it.fakes:
            fake.greeting = b"+OK\r\n" + fake.greeting
            fake.hang_up()
        await until("both", lambda: all(b"hunter2" in fake.heard for fake in it.fakes))
