"""How sizes are written in findings."""

import pytest

from repltap.preflight.finding import redis_size
from repltap.values import size


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (0.2, "1"),
        (5000, "5000"),
        (1024, "1kb"),
        (1 << 20, "1mb"),
        ((1 << 20) + 1, "1025kb"),
        (117 << 20, "117mb"),
        ((117 << 20) + 1, "118mb"),
        (256 << 20, "256mb"),
        (9 << 30, "9gb"),
        ((9 << 30) + 1, "9217mb"),
        ((12 << 30) + 5, "13gb"),
    ],
)
def test_sizes(count: float, shown: str) -> None:
    assert redis_size(count) == shown
    assert size(0)(shown) >= count
