"""What the ends of the link are counted as."""

from pathlib import Path

import pytest

from repltap.endings import FailureReason
from repltap.errors import (
    DiskFullError,
    LocalProtocolError,
    OpenFilesError,
    RemoteProtocolError,
    ReplTapError,
    UpstreamError,
)
from repltap.net.linkcounts import LinkCounters, reason_of


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (UpstreamError("no", reason=FailureReason.AUTH), FailureReason.AUTH),
        (UpstreamError("no"), FailureReason.OTHER),
        (DiskFullError("no", path=Path("/d")), FailureReason.DISK_FULL),
        (OpenFilesError("no", path=Path("/d")), FailureReason.OPEN_FILES),
        (RemoteProtocolError("no"), FailureReason.PROTOCOL),
        (LocalProtocolError("no"), FailureReason.OTHER),
    ],
)
def test_every_failure_has_a_reason(failure: ReplTapError, reason: FailureReason) -> None:
    assert reason_of(failure) is reason


def test_ends_are_counted() -> None:
    counters = LinkCounters()
    counters.ended(RemoteProtocolError("no"))
    counters.ended(UpstreamError("no", reason=FailureReason.PROTOCOL))
    assert counters.ends == {FailureReason.PROTOCOL: 2}
