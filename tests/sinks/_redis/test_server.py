"""What the redis sink finds out about a target."""

from __future__ import annotations

import logging

import pytest

from repltap.sink import SinkErrorKind
from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.sinks.records import Stream
from tests.sinks.redis_target import failure, redis_sink, run


def test_passwords_and_permissions(lab: Lab) -> None:
    server = lab.server("redis-7.0", requirepass="hunter2")
    server.wait_ready()
    for password, said in ((None, "NOAUTH"), ("hunter3", "WRONGPASS")):
        error = failure(redis_sink(server.port, password=password))
        assert (error.kind, error.passes) == (SinkErrorKind.REFUSED, False)
        assert said in str(error)
    run(redis_sink(server.port, password="hunter2"))
    server.call("ACL", "SETUSER", "weak", "on", ">hunter2", "~k*", "~repltap:*", "+@all", "-del")
    weak = redis_sink(server.port, username="weak", password="hunter2")
    for words in ([b"DEL", b"k"], [b"SET", b"other", b"v"]):
        error = failure(weak, [Stream().command(*words)])
        assert error.kind is SinkErrorKind.REFUSED
        assert "NOPERM" in str(error)
    run(weak, [Stream().command(b"SET", b"k", b"v")])


def test_a_cluster_is_refused(lab: Lab) -> None:
    server = lab.server("redis-7.0", cluster_enabled="yes", cluster_port=free_port())
    server.wait_ready()
    error = failure(redis_sink(server.port))
    assert (error.kind, error.passes) == (SinkErrorKind.UNSUPPORTED, False)
    assert "cluster mode" in str(error)


def test_warnings_about_a_target(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    server = lab.server("valkey-8.1", maxmemory="1gb", maxmemory_policy="allkeys-lru")
    server.wait_ready()
    with caplog.at_level(logging.INFO):
        run(redis_sink(server.port))
    assert "is a valkey-8.1" in caplog.text
    assert "evicts keys" in caplog.text
    assert "expires keys by itself" in caplog.text
    caplog.clear()
    run(redis_sink(server.port, import_mode="yes"))
    assert "expires keys by itself" not in caplog.text
    assert server.call("CONFIG", "GET", "import-mode")[1] == b"yes"
