"""Finding, starting and stopping the demo's servers."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from repltap.demo.servers import (
    Child,
    PortClaims,
    ServerBinary,
    find_server,
    server_command,
)
from repltap.errors import ReplTapError
from tests.servers.ports import free_port


def program(tmp_path: Path, name: str, answer: str) -> Path:
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("answer", "name", "major"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "Redis 7.0.15", 7),
        ("Valkey server v=9.1.2 sha=1 malloc=libc", "Valkey 9.1.2", 9),
        ("Redis server v=6.2.5 sha=1", "Redis 6.2.5", 6),
    ],
)
def test_a_named_server(tmp_path: Path, answer: str, name: str, major: int) -> None:
    path = program(tmp_path, "server", answer)
    assert find_server(str(path)) == ServerBinary(path, name, major)


def test_what_is_no_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplTapError, match="does not answer --version"):
        find_server(str(program(tmp_path, "other", "nginx version: 1.2")))
    with pytest.raises(ReplTapError, match="no such program"):
        find_server("no-such-server-anywhere")


def test_the_embedded_server_is_found_by_itself() -> None:
    assert find_server(None).name.startswith("Valkey 9.")


def test_path_is_used_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    path = program(tmp_path, "valkey-server", "Valkey server v=8.1.0")
    assert find_server(None) == ServerBinary(path, "Valkey 8.1.0", 8)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ReplTapError, match="pip install"):
        find_server(None)


def test_debug_digest_is_allowed_only_where_it_has_to_be(tmp_path: Path) -> None:
    old = server_command(ServerBinary(tmp_path, "Redis 6.2.5", 6), 1, tmp_path)
    new = server_command(ServerBinary(tmp_path, "Redis 7.0.15", 7), 1, tmp_path, "--x", "y")
    assert "--enable-debug-command" not in old
    assert "--enable-debug-command" in new
    assert new[-2:] == ["--x", "y"]


def test_ports_that_are_taken_are_avoided() -> None:
    one, another = PortClaims(), PortClaims()
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        other = one.take(port)
        assert other != port
        assert one.take(other) != other
        # Nobody listens there yet: it is only going to be used.
        assert another.take(other) != other
        one.close()
        assert another.take(other) == other
        another.close()


def test_a_child_is_started_stopped_and_started_again(tmp_path: Path) -> None:
    loop = "import time\nprint('hello', flush=True)\nwhile True: time.sleep(1)"
    child = Child("child", [sys.executable, "-c", loop], 0, tmp_path / "log")
    assert (child.pid, child.exit_code, child.last_words()) == (0, None, "")
    child.stop()
    child.start()
    first = child.pid
    assert child.exit_code is None
    assert os.getsid(first) == first  # ctrl-C on our terminal does not reach it
    child.stop()
    assert child.exit_code == -signal.SIGTERM
    child.start()
    assert child.pid != first
    child.stop()
    child.stop()


def test_last_words(tmp_path: Path) -> None:
    child = Child("child", [sys.executable, "-c", "print('one\\ntwo\\n')"], 0, tmp_path / "log")
    child.start()
    assert child._process is not None
    child._process.wait()
    assert child.last_words() == "two"
    with pytest.raises(ReplTapError, match="child can't be started"):
        Child("child", ["/no/such/program"], 0, tmp_path / "log").start()
