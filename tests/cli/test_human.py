"""Numbers as people read them, and what must not steer their terminal."""

import pytest

from repltap.cli.human import human_age, human_size, printable


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (100 << 10, "100 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (123_456_789, "118 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 50, "3072 TiB"),
    ],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert human_size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (-3, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (200, "3m 20s"),
        (7500, "2h 5m"),
        (90_000, "1d 1h"),
    ],
)
def test_ages(seconds: float | None, shown: str) -> None:
    assert human_age(seconds) == shown


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[2J\u202eb é") == "a?[2J?b é"
