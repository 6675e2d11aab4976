"""Why a system call failed, in the system's own words."""

from __future__ import annotations

import os


def os_reason(failure: OSError) -> str:
    """Say why a call failed, without the address that asyncio puts into its texts.

    Args:
        failure: From a socket or file call, or a name look-up.

    Returns:
        Such as `Connection refused`.
    """
    if failure.errno is not None and failure.errno > 0:
        return os.strerror(failure.errno)
    return failure.strerror or str(failure)
