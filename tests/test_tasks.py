"""Owned tasks: each awaited, none failing unseen."""

import asyncio

from repltap.tasks import OwnedTasks, wait_at_most


async def test_a_failure_is_reported_once() -> None:
    seen: list[BaseException] = []
    tasks = OwnedTasks(seen.append)
    failure = ValueError("broken")

    async def fail() -> None:
        raise failure

    async def succeed() -> None:
        pass

    tasks.spawn("fails", fail())
    tasks.spawn("succeeds", succeed())
    await tasks.join()
    await asyncio.sleep(0)  # the callbacks of tasks that have ended
    assert seen == [failure]


async def test_a_task_has_its_name_and_is_given_back() -> None:
    tasks = OwnedTasks(_unexpected)
    names = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    task = tasks.spawn("publish", work())
    await task
    assert names == ["publish"]


async def test_join_waits_for_what_tasks_start() -> None:
    tasks = OwnedTasks(_unexpected)
    done = []

    async def second() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.spawn("second", second())
        done.append("first")

    tasks.spawn("first", first())
    await tasks.join()
    assert done == ["first", "second"]


async def test_cancelling_is_no_failure_and_waits_for_the_end() -> None:
    tasks = OwnedTasks(_unexpected)
    ended = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    tasks.spawn("waits", work())
    await begun.wait()
    await tasks.cancel()
    assert ended == [1]


async def test_join_with_nothing_to_wait_for() -> None:
    await OwnedTasks(_unexpected).join()


def _unexpected(failure: BaseException) -> None:
    raise AssertionError(f"reported: {failure!r}")


async def test_waiting_for_an_event_at_most() -> None:
    event = asyncio.Event()
    assert not await wait_at_most(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_at_most(event, 60.0)
    assert await wait_at_most(event, 60.0)  # it stays set
