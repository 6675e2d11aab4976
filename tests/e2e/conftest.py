"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.servers.find import table
from tests.servers.lab import MIDDLE, Lab, laboratory
from tests.servers.paste import Terminal


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of this directory."""
    config.addinivalue_line("markers", "relay_only: a chained server can't do this")


def pytest_report_header() -> list[str]:
    """Say which servers the run has, so that an absent one is seen."""
    return [f"end-to-end tests with a {MIDDLE} in the middle", *table().splitlines()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, with a chained server in the middle, what only the relay promises."""
    if MIDDLE == "relay":
        return
    for item in items:
        if item.get_closest_marker("relay_only"):
            item.add_marker(pytest.mark.skip(reason="only the relay promises this"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give the test a lab of its own."""
    with laboratory() as made:
        yield made


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    """Give the test of a document a shell in an empty directory."""
    directory = lab.directory / "clone"  # what is started there ends with the lab
    directory.mkdir()
    made = Terminal(directory)
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the logs of the test's nodes to its failure."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and report.when == "call" and isinstance(lab, Lab):
        report.sections += lab.logs()
    return report
