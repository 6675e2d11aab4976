"""Why a call failed, without what asyncio adds."""

import errno
import socket

import pytest

from repltap.reasons import os_reason
from tests.servers.ports import silent_port


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
            "Connection refused",
        ),
        (OSError(errno.EMFILE, "anything"), "Too many open files"),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Name or service not known",
        ),
        (OSError("the snapshot file is short"), "the snapshot file is short"),
    ],
)
def test_reason(failure: OSError, reason: str) -> None:
    assert os_reason(failure) == reason


def test_what_asyncio_says_of_a_refused_connection() -> None:
    """A real one: its own text names the address, which the log line has already."""
    with silent_port() as port, pytest.raises(OSError) as caught:
        socket.create_connection(("127.0.0.1", port))
    assert os_reason(caught.value) == "Connection refused"
