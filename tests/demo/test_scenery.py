"""What the demo tells the person."""

from pathlib import Path

import pytest

from repltap.demo.scenery import Ports, Scene, introduction
from repltap.demo.servers import ServerBinary

PORTS = Ports(master=1001, relay=1002, replicas=(1003, 1004), http=1005)
BINARY = ServerBinary(Path("/s"), "Valkey 9.1.2", 9)
SCENE = Scene(PORTS, BINARY, 4711, Path("/tmp/there"), Path("/tmp/there/the audit"))


def told(monkeypatch: pytest.MonkeyPatch, *present: str) -> str:
    def which(name: str) -> str | None:
        return f"/bin/{name}" if name in present else None

    monkeypatch.setattr("shutil.which", which)
    return "\n".join(introduction(SCENE))


def test_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch, "redis-cli", "curl")
    for word in (":1001", ":1002", ":1003", ":1004", "http://127.0.0.1:1005/\n", "/tmp/there\n"):
        assert word in text
    assert "Valkey 9.1.2" in text
    assert "redis-cli -p 1002 INFO replication" in text
    assert "curl -s http://127.0.0.1:1005/metrics" in text
    assert "top --http 127.0.0.1:1005" in text
    assert "tail -f '/tmp/there/the audit'/*" in text
    assert "status --http 127.0.0.1:1005" in text
    assert "kill -9 4711" in text
    assert "ctrl-C" in text


def test_only_what_is_there_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch)
    assert "redis-cli" not in text
    assert "curl" not in text
    assert "valkey-cli -p 1003 GET hello" in told(monkeypatch, "valkey-cli")


def test_over_ssh_the_way_to_the_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50112 10.0.0.5 22")
    assert "ssh -L 1005:127.0.0.1:1005 10.0.0.5" in told(monkeypatch)
    monkeypatch.setenv("SSH_CONNECTION", "odd")
    assert "ssh -L 1005:127.0.0.1:1005 THIS_HOST" in told(monkeypatch)
    monkeypatch.delenv("SSH_CONNECTION")
    assert "ssh -L" not in told(monkeypatch)
