"""How many files and connections the process may have open."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger("repltap.app")

RESERVED_FILES = 128
"""For the journal, snapshots, the HTTP port, name look-ups: what is not a connection."""

FILES_A_CLIENT = 2
"""A replica has its socket and, while it is sent a snapshot, that file."""


def reserve_files(max_clients: int) -> int:
    """Raise the limit of open files to what this many clients need, as far as it goes.

    As Redis does (`adjustOpenFilesLimit`): rather fewer clients than a journal that can't be
    continued because an idle connection took the last file descriptor.

    Args:
        max_clients: Connections that are to be possible at once.

    Returns:
        Connections that are possible, at most `max_clients`, at least one.
    """
    wanted = FILES_A_CLIENT * max_clients + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return max_clients
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    if limit >= wanted:
        return max_clients
    possible = max(1, (limit - RESERVED_FILES) // FILES_A_CLIENT)
    log.warning(
        "%d clients need a limit of %d open files, which can be raised to %d only: no more than "
        "%d clients are served; raise it with ulimit -n or LimitNOFILE=",
        max_clients,
        wanted,
        limit,
        possible,
    )
    return possible
