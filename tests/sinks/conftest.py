"""What holds for the tests of sinks: brokers that a busy machine holds up are waited for."""

from collections.abc import Iterator

import pytest

from sinks._kafka import topics
from tests.servers.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _brokers_may_take_their_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "_FIRST_SECONDS", PATIENCE_SECONDS)
        yield
