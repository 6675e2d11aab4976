"""CONFIG GET: the relay's settings under the names that Redis's tools ask for.

Read only. A name is here only if the relay really behaves as its value says; nothing secret is.
"""

from __future__ import annotations

from collections.abc import Mapping

from repltap.config import Config, FsyncPolicy, UpstreamConfig

_APPENDFSYNC = {
    FsyncPolicy.ALWAYS: "always",
    FsyncPolicy.EVERYSEC: "everysec",
    FsyncPolicy.NO: "no",
}


def shown_settings(
    config: Config, upstream: UpstreamConfig, port: int, tls_port: int | None = None
) -> Mapping[str, str]:
    """List what CONFIG GET shows.

    Args:
        config: As the process was started.
        upstream: With the master that is followed now.
        port: The port that is listened on, without TLS if there is such a one.
        tls_port: The one with TLS, None for none.

    Returns:
        Values by name.
    """
    tls = config.listen.tls
    # Before a sentinel has named one there is none, which Redis shows as "".
    master = f"{upstream.host} {upstream.port}" if upstream.host else ""
    return {
        "bind": config.listen.host,
        "port": str(port if config.listen.plain else 0),
        "tls-port": str(tls_port or 0),
        "tls-replication": "no" if upstream.tls is None else "yes",
        "tls-auth-clients": "no" if tls is None else tls.config.auth_clients.value,
        "maxclients": str(config.listen.max_clients),
        "timeout": "0",
        "databases": "16",
        "dir": str(config.store.data_dir),
        "replicaof": master,
        "slaveof": master,
        "replica-announce-ip": upstream.announce_ip or "",
        "slave-announce-ip": upstream.announce_ip or "",
        "replica-announce-port": str(upstream.announce_port or 0),
        "slave-announce-port": str(upstream.announce_port or 0),
        "replica-priority": "0",
        "slave-priority": "0",
        "replica-read-only": "yes",
        "slave-read-only": "yes",
        "replica-serve-stale-data": "yes",
        "slave-serve-stale-data": "yes",
        "repl-timeout": f"{config.listen.timeout_seconds:g}",
        "repl-backlog-size": str(config.store.retain_bytes),
        "repl-backlog-ttl": "0",
        "repl-diskless-sync": "no",
        "min-replicas-to-write": "0",
        "min-slaves-to-write": "0",
        "appendfsync": _APPENDFSYNC[config.store.fsync],
        "appendonly": "no",
        "save": "",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "loglevel": config.log.level,
    }
