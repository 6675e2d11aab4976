"""What a failed call means."""

import errno
from pathlib import Path

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._file.failures import failures_of, sink_error

PATH = Path("/var/log/audit.jsonl")


@pytest.mark.parametrize(
    ("code", "kind", "passes"),
    [
        (errno.ENOSPC, SinkErrorKind.FULL, True),
        (errno.EDQUOT, SinkErrorKind.FULL, True),
        (errno.EFBIG, SinkErrorKind.FULL, False),
        (errno.EROFS, SinkErrorKind.REFUSED, False),
        (errno.EACCES, SinkErrorKind.REFUSED, False),
        (errno.EISDIR, SinkErrorKind.REFUSED, False),
        (errno.ENOENT, SinkErrorKind.AWAY, True),
        (errno.EIO, SinkErrorKind.OTHER, True),
        (errno.EMFILE, SinkErrorKind.OTHER, True),
    ],
)
def test_kinds(code: int, kind: SinkErrorKind, passes: bool) -> None:
    found = sink_error(OSError(code, "text"), PATH)
    assert (found.kind, found.passes) == (kind, passes)
    assert str(found).startswith("/var/log/audit.jsonl: ")


def test_what_is_no_failure_of_a_call_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), failures_of(PATH):
        raise ZeroDivisionError
    with pytest.raises(SinkError, match="No space left on device") as raised, failures_of(PATH):
        raise OSError(errno.ENOSPC, "x")
    assert isinstance(raised.value.__cause__, OSError)
