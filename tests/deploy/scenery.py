"""A relay that has every metric of a relay."""

from __future__ import annotations

from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.servers.relay import Relay


def measured_relay(lab: Lab, more_sinks: str = "") -> Relay:
    """Start a relay with a replica, a sink, TLS and a quota, and let something be written.

    Args:
        more_sinks: Beside a file.
    """
    master = lab.master("redis-7.0")
    relay = lab.relay(
        master,
        listen_tls_address=f"127.0.0.1:{free_port()}",
        **lab.authority.issue().options("listen_tls_"),
        upstream_poll_seconds=0.1,
        store_quota_bytes="1gb",
        sink=f"file:{lab.directory}/sink {more_sinks}".rstrip(),
    )
    relay.wait_link()
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_ready()
    replica.wait_link()
    master.call("SET", "key", "value")
    return relay
