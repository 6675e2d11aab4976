"""What holds for all tests: helpers' assertions say what they compared; nobody prints a secret."""

from collections.abc import Generator

import pytest

from tests.servers.secrets import judged

pytest.register_assert_rewrite("tests.sinks.contract", "tests.sinks.driver")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has printed or logged a secret; what it captured itself it looks at."""
    return judged((yield))
