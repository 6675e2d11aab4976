"""The process's end of the line."""

import signal
import socket
import threading

import pytest

from repltap.delivery.monitor import worker
from repltap.delivery.monitor.messages import Place, order
from repltap.delivery.monitor.worker import Orders
from repltap.errors import LocalProtocolError
from tests.delivery.monitor.screen import Screen


def test_what_is_hidden() -> None:
    hidden = worker.hidden()
    assert {b"REPLCONF", b"AUTH", b"MIGRATE", b"ACL", b"CONFIG"} <= hidden
    # What a master's stream has, and a replica's MONITOR shows.
    assert not hidden & {b"SET", b"PING", b"SELECT", b"MULTI", b"EXEC", b"PUBLISH", b"FUNCTION"}
    assert not hidden & {b"FLUSHALL", b"SWAPDB", b"SCRIPT", b"SPUBLISH", b"RESTORE", b"XGROUP"}


def test_orders() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        orders = Orders(theirs)
        screen = Screen()
        orders.display = screen.display
        ours.sendall(order("start", data_dir="/d", place=None, level="info"))
        orders.wait_for_start()
        assert orders.start["data_dir"] == "/d"
        ours.sendall(order("mark", id=3, place=(0, 0)) + order("address", address="a:1"))
        orders.wait(5)
        screen.display.answer()
        assert screen.seen == [3]
        assert screen.display.address == b"a:1"
        assert not orders.ended
        ours.close()
        orders.wait(5)
        assert orders.ended
        orders.send(b"x")  # nobody is there


@pytest.mark.parametrize("said", [b"", b"nonsense\n"])
def test_who_says_no_start_is_no_relay(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(said)
        ours.close()
        with pytest.raises(LocalProtocolError, match="no start message"):
            Orders(theirs).wait_for_start()


def test_sending_waits_for_the_relay() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        data = b"x" * (4 << 20)
        thread = threading.Thread(target=Orders(theirs).send, args=(data,))
        thread.start()
        found = 0
        while found < len(data):
            found += len(ours.recv(1 << 16))
        thread.join()
    assert Place(1, 5) < Place(1, 6) < Place(2, 0)
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
