"""What operators get wrong: one clear line, a sensible exit code or a retry, nothing lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
CONFIG, LISTEN, DATA_DIR, CORRUPT = 2, 3, 4, 5


class _Place:
    """An upstream that is only a port."""

    def __init__(self, port: int) -> None:
        self.port = port


def _fails(relay: Relay) -> tuple[int, str]:
    """Start a relay that can't run; return its exit code and its one error line."""
    relay.start()
    code = relay.wait()
    errors = [line for line in relay.log.splitlines() if line.startswith("repltap: error: ")]
    assert len(errors) == 1, relay.log
    assert "Traceback" not in relay.log
    return code, errors[0]


def _last_error(relay: Relay, *words: str) -> str:
    """Wait until the relay says why its link is down, in these words."""

    def said() -> str:
        assert relay.running, relay.log
        error = str(relay.status()["upstream"]["last_error"])
        return error if all(word.lower() in error.lower() for word in words) else ""

    return wait_for(f"the relay says {words}", said)


def test_wrong_password(lab: Lab) -> None:
    """Retried and said; no secret in the log; right again after a restart with the right one."""
    master = lab.master(PROGRAM, requirepass=secret("right"))
    relay = lab.relay(master, upstream_password=secret("wrong"))
    error = _last_error(relay, "WRONGPASS")
    assert "\n" not in error
    assert relay.is_healthy()
    relay.stop()
    relay.options["upstream_password"] = secret("right")
    relay.restart()
    relay.wait_link()
    assert secret("wrong") not in relay.log
    assert "Traceback" not in relay.log


def test_missing_password(lab: Lab) -> None:
    """The same without any."""
    master = lab.master(PROGRAM, requirepass=secret("right"))
    relay = lab.relay(master)
    _last_error(relay, "NOAUTH")
    master.call("CONFIG", "SET", "requirepass", "")
    relay.wait_link()


def test_user_without_psync(lab: Lab) -> None:
    """An ACL user that lacks a permission: the line says which ones are needed."""
    master = lab.master(PROGRAM)
    master.call("ACL", "SETUSER", "tap", "on", f">{secret()}", "+replconf", "+ping")
    relay = lab.relay(master, upstream_username="tap", upstream_password=secret())
    _last_error(relay, "NOPERM", "+psync", "+replconf")
    master.call("ACL", "SETUSER", "tap", "+psync")
    relay.wait_link()


@contextmanager
def _banner(greeting: bytes) -> Iterator[_Place]:
    """A server that answers every connection with the same bytes."""
    listener = socket.create_server(("127.0.0.1", free_port()))

    def answer() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with link, suppress(OSError):
                link.recv(1000)
                link.sendall(greeting)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield _Place(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ("not", "redis")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ("not", "redis")),
        (b"\xff\xfe" * 3_000, ("not", "redis")),
        (b"\x15\x03\x01\x00\x02\x02\x16", ("TLS",)),
    ],
    ids=["http", "ssh", "binary", "tls"],
)
def test_not_a_redis_server(lab: Lab, greeting: bytes, words: tuple[str, ...]) -> None:
    """Said in so many words, and retried: somebody may put the right server there."""
    with _banner(greeting) as place:
        relay = lab.relay(place)
        _last_error(relay, *words)
        assert relay.is_healthy()
        assert "Traceback" not in relay.log


def test_unreachable_master_appears_later(lab: Lab) -> None:
    """No master yet: said, retried, and a replica that waits below gets its sync in the end."""
    master = lab.server(PROGRAM, "master", start=False)
    relay = lab.relay(master)
    _last_error(relay, "refused")
    assert f"127.0.0.1:{master.port} can't connect" in relay.log
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_ready()
    master.restart()
    master.call("SET", "k", "v")
    replica.wait_link()
    wait_same(master, replica)
    assert "Traceback" not in relay.log


def test_unknown_host(lab: Lab) -> None:
    """A name that does not resolve is retried like a host that is down."""
    relay = lab.relay(_Place(6379), start=False)
    relay.upstream_url = "redis://no-such-host.invalid:6379"
    relay.start()
    # "Name or service not known", or a "failure in name resolution" where nobody can be asked.
    _last_error(relay, "name")
    assert "no-such-host.invalid:6379 can't connect" in relay.log


def test_port_in_use(lab: Lab) -> None:
    """Exit code 3 and the address."""
    master = lab.master(PROGRAM)
    other = lab.master(PROGRAM, "other")
    relay = lab.relay(master, start=False)
    relay.port = other.port
    code, error = _fails(relay)
    assert code == LISTEN
    assert f"127.0.0.1:{other.port}" in error
    assert other.call("PING") == b"PONG"


def test_http_port_in_use(lab: Lab) -> None:
    """The same for the status API."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, start=False)
    relay.http_port = master.port
    code, error = _fails(relay)
    assert code == LISTEN
    assert str(master.port) in error


def test_data_dir_in_use(lab: Lab) -> None:
    """Exit code 4; the relay that has it is not disturbed."""
    master = lab.master(PROGRAM)
    first = lab.relay(master, "first")
    first.wait_link()
    second = lab.relay(master, "second", start=False)
    second.data_dir = first.data_dir
    code, error = _fails(second)
    assert code == DATA_DIR
    assert str(first.data_dir) in error
    assert first.link_up


def test_data_dir_is_a_file(lab: Lab) -> None:
    """A path that can't be a directory: exit code 4 and the path."""
    relay = lab.relay(_Place(6379), start=False)
    relay.data_dir.write_text("I am a file")
    code, error = _fails(relay)
    assert code == DATA_DIR
    assert str(relay.data_dir) in error


def test_data_dir_not_writable(lab: Lab) -> None:
    """The same where nothing can be created (root may write everywhere but there)."""
    relay = lab.relay(_Place(6379), start=False)
    relay.data_dir = Path("/proc/repltap")
    code, error = _fails(relay)
    assert code == DATA_DIR
    assert "/proc/repltap" in error


def test_damaged_store_is_refused(lab: Lab) -> None:
    """Damage in the middle stops the start with code 5, the file's name, and nothing changed."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, store_segment_bytes="64kb")
    relay.wait_link()
    for number in range(40):
        master.call("SET", f"k{number}", "x" * 8_000)
    wait_for("the relay has it all", lambda: relay.offset == master.offset)
    relay.stop()
    segments = sorted(relay.data_dir.glob("histories/*/journal/*.seg"))
    assert len(segments) > 3
    segments[1].unlink()
    before = sorted(relay.data_dir.rglob("*"))
    code, error = _fails(relay)
    assert code == CORRUPT
    assert "journal" in error
    assert sorted(relay.data_dir.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("upstream", "http://127.0.0.1", "upstream"),
        ("store_fsync", "sometimes", "sometimes"),
        ("listen_max_clients", "many", "many"),
    ],
)
def test_wrong_option(lab: Lab, option: str, value: str, word: str) -> None:
    """Exit code 2, and the option's name."""
    relay = lab.relay(_Place(6379), start=False)
    if option == "upstream":
        relay.upstream_url = value
    else:
        relay.options[option] = value
    code, error = _fails(relay)
    assert code == CONFIG
    assert word in error
