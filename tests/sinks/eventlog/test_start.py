"""Where a reader begins."""

from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from sinks.eventlog.reader import LogReader
from sinks.eventlog.start import Start, parse_start
from tests.sinks.eventlog.logs import make_log


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", Start(word="earliest")),
        ("latest", Start(word="latest")),
        ("17", Start(offset=17)),
        ("@1738324800", Start(ts_ms=1738324800000)),
        ("@1738324800.5", Start(ts_ms=1738324800500)),
        ("@1.0239", Start(ts_ms=1023)),
        ("2025-01-31T12:00:00Z", Start(ts_ms=1738324800000)),
    ],
)
def test_places(text: str, start: Start) -> None:
    assert parse_start(None, None, text) == start


def test_a_time_without_a_zone_is_local() -> None:
    local = datetime.fromtimestamp(1738324800, UTC).astimezone().replace(tzinfo=None).isoformat()
    assert parse_start(None, None, local) == Start(ts_ms=1738324800000)


@pytest.mark.parametrize("text", ["", "first", "-1", "@", "@x", "2025-13-01", "9" * 30])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither earliest nor latest"):
        parse_start(None, None, text)


def test_they_are_found(tmp_path: Path) -> None:
    make_log(tmp_path / "log", 30)  # record n is of 1000 + n ms
    with LogReader(tmp_path / "log").partition(0) as reader:
        found = [
            parse_start(None, None, text).resolve(reader)
            for text in ("earliest", "latest", "7", "@1.023")
        ]
    assert found == [0, 30, 7, 23]
