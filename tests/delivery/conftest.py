"""What holds for the tests of delivery: they leave no store open."""

from collections.abc import Iterator

import pytest

from tests.delivery.stored import close_all


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    yield
    close_all()
