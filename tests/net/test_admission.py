"""Who may connect: the limit, and protected mode."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from repltap.access import Users
from repltap.config import ListenConfig
from repltap.net.admission import Admission, is_local
from tests.net.relay import port
from tests.servers.ports import own_address
from tests.stored import SET, held

NEEDS_ADDRESS = pytest.mark.skipif(not own_address(), reason="only a loopback address here")


class Peer:
    """A socket whose peer is somewhere else."""

    def __init__(self, host: str, family: int = socket.AF_INET) -> None:
        self.family = family
        self.host = host
        self.told = b""

    def getpeername(self) -> tuple[str, int]:
        if not self.host:
            raise OSError("gone")
        return self.host, 40000

    def send(self, data: bytes) -> int:
        self.told += data
        return len(data)


def admits(admission: Admission, peer: Peer, now: float = 0.0, *, closed: bool = False) -> bool:
    return admission.admits(peer, 0, closed=closed, now=now)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "family", "local"),
    [
        ("127.0.0.1", socket.AF_INET, True),
        ("127.9.9.9", socket.AF_INET, True),
        ("::1", socket.AF_INET6, True),
        ("::ffff:127.0.0.1", socket.AF_INET6, True),
        ("::ffff:10.0.0.1", socket.AF_INET6, False),
        ("10.127.0.1", socket.AF_INET, False),
        ("fe80::1", socket.AF_INET6, False),
        ("", socket.AF_INET, False),  # gone: nobody is served by mistake
        ("", socket.AF_UNIX, True),
    ],
)
def test_who_is_on_this_machine(host: str, family: int, local: bool) -> None:
    assert is_local(Peer(host, family)) is local  # type: ignore[arg-type]


def test_protected_mode_refuses_others_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    admission = Admission(ListenConfig())
    assert admits(admission, Peer("127.0.0.1"))
    stranger = Peer("10.0.0.7")
    assert not admits(admission, stranger)
    assert stranger.told.startswith(b"-DENIED repltap is in protected mode")
    assert stranger.told.count(b"\r\n") == 1
    assert not admits(admission, Peer("10.0.0.8"), 1.0)
    assert admission.rejected == 2
    assert [r.getMessage()[:18] for r in caplog.records] == ["refused 10.0.0.7: "]
    assert not admits(admission, Peer("10.0.0.9"), 61.0)
    assert "refused 10.0.0.9: " in caplog.text
    assert "(2 refused since" in caplog.text

    assert admits(admission, Peer("10.0.0.7"), closed=True)
    assert admits(Admission(ListenConfig(protected_mode=False)), Peer("10.0.0.7"))


@pytest.mark.parametrize(
    ("host", "protected", "closed", "said"),
    [
        ("127.0.0.1", True, False, ""),
        ("localhost", False, False, ""),
        ("0.0.0.0", True, True, ""),
        ("0.0.0.0", True, False, "only clients on this machine are served"),
        ("::", False, False, "can read all data"),
    ],
)
def test_the_start_says_what_an_open_port_means(
    host: str, protected: bool, closed: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    Admission(ListenConfig(host=host, protected_mode=protected)).warn(closed=closed)
    assert said in caplog.text
    assert bool(caplog.records) is bool(said)


@NEEDS_ADDRESS
async def test_a_port_that_is_reached_from_elsewhere(tmp_path: Path) -> None:
    held(tmp_path, SET)
    async with port(tmp_path, ListenConfig(host="0.0.0.0", port=0)) as it:
        with await it.replica() as local, await it.replica(host=own_address()) as other:
            assert (await other.rest()).startswith(b"-DENIED ")
            await local.send(b"PING\r\n")
            assert await local.line() == b"+PONG"
        it.downstream.take_users(Users.of_default("boss"))
        with await it.replica(host=own_address()) as other:
            await other.send(b"AUTH boss\r\nPING\r\n")
            assert [await other.line(), await other.line()] == [b"+OK", b"+PONG"]
