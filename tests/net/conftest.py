"""What many tests of the network share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from repltap.net import downstream, refresh, role, setbacks, upstream
from tests.net.peers import FakeMaster
from tests.stored import HANG_SECONDS


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """A machine that stands still for some seconds proves nothing of anybody.

    Its own patches: a test that undoes what it has patched leaves these.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(refresh, "_LAPSE_SECONDS", 2 * HANG_SECONDS)
        patched.setattr(role, "_ANSWER_SECONDS", HANG_SECONDS)
        patched.setattr(upstream, "_PROVEN_SECONDS", 2 * HANG_SECONDS)
        yield


@pytest.fixture
async def master() -> AsyncIterator[FakeMaster]:
    async with FakeMaster() as made:
        yield made


@pytest.fixture
def quick_refresher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed refreshes are tried again at once."""
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (0.001, 0.002, 0.003))
    monkeypatch.setattr(refresh, "_POLL_SECONDS", 0.01)


@pytest.fixture
def fast_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port looks after its sessions all the time."""
    monkeypatch.setattr(downstream, "_TICK_SECONDS", 0.005)


@pytest.fixture
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port does nothing of its own accord: no keepalive and no second look comes between."""
    monkeypatch.setattr(downstream, "_TICK_SECONDS", 2 * HANG_SECONDS)
