"""What holds for all tests: helpers' assertions say what they compared; nobody prints a secret.

No test depends on luck: what is drawn is the same in each run, unless `REPLTAP_SEED` is set.

At the end of a run the tables of compatibility are printed, from the reports of all processes.
"""

import logging
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.effort import SEED
from tests.servers.matrix import seen_tables
from tests.servers.secrets import judged

pytest.register_assert_rewrite("tests.sinks.contract", "tests.sinks.driver")

# How long an example takes, and to make it, says how busy the machine is. A hang ends by pytest's
# own time limit.
settings.register_profile(
    "repltap",
    deadline=None,
    derandomize=SEED is None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repltap")

# What is printed depends on the terminal; that of a CI run is any or none.
os.environ["TERM"] = "xterm-256color"
for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# asyncio's debug mode tells of each callback that took 0.1 s: on a busy machine that could be any,
# and tests compare what is logged.
logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing "))

# A shell's background job ignores SIGINT, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say how to get the same again."""
    return "REPLTAP_SEED: " + ("not set, each run draws the same" if SEED is None else SEED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has printed or logged a secret; what it captured itself it looks at."""
    return judged((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was seen of servers and clients."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if isinstance(report, pytest.TestReport)
    ]
    lines = seen_tables(pair for report in reports for pair in report.user_properties)
    if lines:
        terminalreporter.section("compatibility, as seen in this run")
        for line in lines:
            terminalreporter.write_line(line)
