"""The secrets of all tests carry one mark, and whatever the processes show is searched for it.

A lab refuses passwords without the mark, so what a new test gives a relay is covered by itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping

import pytest

MARK = "hunter2"
"""In each secret. It occurs in no text of ours, and in no name, key or value of a test."""

_SECRET_OPTIONS = ("password", "token", "secret", "requirepass", "masterauth", "_pass")
_EXCERPT = 60

Place = tuple[str, bytes]
"""What was looked at, for people, and what was there."""


def secret(name: str = "") -> str:
    """Make a password or token.

    Args:
        name: Makes it another one than the others of the test; may hold any character.
    """
    return f"{MARK}-{name}" if name else MARK


def traces() -> list[bytes]:
    """Give what shows a secret: its mark, also within base64 and as hexadecimal digits."""
    mark = MARK.encode()
    found = [mark, mark.hex().encode(), mark.hex().upper().encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + mark + b"\0\0")
        # A character is six bits; those at the edges depend on what stands around it, too.
        found.append(encoded[-(-8 * shift // 6) : 8 * (shift + len(mark)) // 6])
    return found


def leaks(places: Iterable[Place]) -> list[str]:
    """Search for secrets.

    Returns:
        A sentence for each place that shows one.
    """
    return [
        f"{place} shows a secret: {found[max(0, at - _EXCERPT) : at + _EXCERPT]!r}"
        for place, found in places
        for trace in traces()
        if (at := found.find(trace)) >= 0
    ]


def assert_no_secret(*places: Place) -> None:
    """Fail where one of them shows a secret."""
    found = leaks(places)
    assert not found, "\n".join(found)


def judged(report: pytest.TestReport) -> pytest.TestReport:
    """Make the report of a test a failure if what was captured shows a secret."""
    found = leaks((title.lower(), text.encode()) for title, text in report.sections)
    if report.passed and found:
        report.outcome = "failed"
        report.longrepr = "\n".join(found)
    return report


def unmarked(options: Mapping[str, object]) -> Iterator[str]:
    """Name the options that hold a secret without the mark: the search would not find it."""
    for name, value in options.items():
        words = str(value).strip("'\"")
        if words and name.endswith(_SECRET_OPTIONS) and MARK not in words:
            yield name
