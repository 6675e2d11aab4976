"""What the demo tells the person."""

from pathlib import Path

import pytest

from repltap.demo.scenery import Ports, introduction
from repltap.demo.servers import ServerBinary

PORTS = Ports(master=1001, relay=1002, replicas=(1003, 1004), http=1005)
BINARY = ServerBinary(Path("/s"), "Valkey 9.1.2", 9)


def told(monkeypatch: pytest.MonkeyPatch, *present: str) -> str:
    def which(name: str) -> str | None:
        return f"/bin/{name}" if name in present else None

    monkeypatch.setattr("shutil.which", which)
    return "\n".join(introduction(PORTS, BINARY, 4711, Path("/tmp/there")))


def test_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch, "redis-cli", "curl")
    for word in (":1001", ":1002", ":1003", ":1004", "http://127.0.0.1:1005", "/tmp/there"):
        assert word in text
    assert "Valkey 9.1.2" in text
    assert "redis-cli -p 1002 INFO replication" in text
    assert "curl -s http://127.0.0.1:1005/api/status" in text
    assert "status --http 127.0.0.1:1005" in text
    assert "kill -9 4711" in text
    assert "ctrl-C" in text


def test_only_what_is_there_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch)
    assert "redis-cli" not in text
    assert "curl" not in text
    assert "valkey-cli -p 1003 GET hello" in told(monkeypatch, "valkey-cli")
