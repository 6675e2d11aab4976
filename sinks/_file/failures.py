"""What a failed system call means to whoever runs the sink."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repltap.sink import SinkError, SinkErrorKind

_FULL = {errno.ENOSPC, errno.EDQUOT}
_AWAY = {errno.ENOENT, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}
_HINTS = {
    errno.ENOSPC: "it goes on when there is room",
    errno.EDQUOT: "it goes on when there is room in the quota",
    errno.EFBIG: "a limit on the size of files: set rotate_bytes below it",
    errno.ENOENT: "is the directory there, or its file system mounted?",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EROFS: "mount it read-write",
    errno.EIO: "the disk, or what it is behind, has failed",
    errno.ENAMETOOLONG: "choose a shorter path",
}


def sink_error(exc: OSError, path: Path) -> SinkError:
    """Say what a failure is to a sink.

    Args:
        exc: From a call about a file.
        path: That file.
    """
    code = exc.errno or 0
    if code in _FULL or code == errno.EFBIG:
        kind = SinkErrorKind.FULL
    elif code in _AWAY:
        kind = SinkErrorKind.AWAY
    elif code in _REFUSED:
        kind = SinkErrorKind.REFUSED
    else:
        kind = SinkErrorKind.OTHER
    reason = os.strerror(code) if code > 0 else str(exc)
    passes = kind is not SinkErrorKind.REFUSED and code not in (errno.EFBIG, errno.ENAMETOOLONG)
    return SinkError(f"{path}: {reason}", hint=_HINTS.get(code, ""), kind=kind, passes=passes)


@contextmanager
def failures_of(path: Path) -> Iterator[None]:
    """Turn the failures of calls about a file into what a sink raises.

    Raises:
        SinkError: A call has failed.
    """
    try:
        yield
    except OSError as exc:
        raise sink_error(exc, path) from exc
