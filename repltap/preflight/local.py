"""This machine: room in the data directory for what is expected, and addresses to listen on.

Nothing is created, and no lock is taken: a relay may be running there.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from repltap.addresses import host_port
from repltap.config import Config, StoreConfig
from repltap.preflight.finding import Finding, Level, redis_size
from repltap.reasons import os_reason
from repltap.store.reader import lock_owner
from repltap.store.store import LOCK_NAME

_COMPRESSION = 10
"""A snapshot is rarely smaller than a tenth of what the keys take in memory."""


def check_data_dir(store: StoreConfig, snapshot_bytes: int | None) -> list[Finding]:
    """Look whether the data directory can be used, and has room.

    Args:
        store: Where it is, and what may be kept.
        snapshot_bytes: The master's memory, None where not known.
    """
    path = store.data_dir.absolute()
    base = path
    while not base.exists() and base != base.parent:
        base = base.parent
    if not base.is_dir():
        return [Finding("data-dir", Level.FAIL, f"{base} is not a directory")]
    if not os.access(base, os.R_OK | os.W_OK | os.X_OK):
        return [Finding("data-dir", Level.FAIL, f"{base} can't be written to by this user")]
    found = Finding("data-dir", Level.OK, str(path) if base == path else f"{path} will be made")
    if (owner := lock_owner(path / LOCK_NAME)) is not None:
        found = Finding(
            "data-dir",
            Level.WARN,
            f"{path} is in use by process {owner}",
            "one relay each: choose another --data-dir for a second one",
        )
    return [found, _disk(base, store, snapshot_bytes), _quota(store, snapshot_bytes)]


def is_in_use(store: StoreConfig) -> bool:
    """Tell whether a relay runs in the data directory."""
    return lock_owner(store.data_dir.absolute() / LOCK_NAME) is not None


def _disk(base: Path, store: StoreConfig, snapshot_bytes: int | None) -> Finding:
    stat = os.statvfs(base)
    free = stat.f_bavail * stat.f_frsize - store.min_free_bytes
    found = f"{redis_size(max(0, free))} free above store.min_free_bytes"
    return _room("disk", found, free, store, snapshot_bytes)


def _quota(store: StoreConfig, snapshot_bytes: int | None) -> Finding:
    if store.quota_bytes is None:
        return Finding("quota", Level.OK, "none: the disk is the limit")
    found = f"store.quota_bytes is {redis_size(store.quota_bytes)}"
    return _room("quota", found, store.quota_bytes, store, snapshot_bytes)


def _room(
    check: str, found: str, room: int, store: StoreConfig, snapshot_bytes: int | None
) -> Finding:
    if snapshot_bytes is None:
        return Finding(check, Level.UNKNOWN, f"{found}; the size of the dataset is not known")
    # While a snapshot is replaced there are two.
    wanted = 2 * snapshot_bytes + store.retain_bytes
    needs = (
        f"snapshots of at most {redis_size(snapshot_bytes)}, two while one is replaced, and "
        f"{redis_size(store.retain_bytes)} of journal"
    )
    where = "more disk" if check == "disk" else "a larger store.quota_bytes"
    advice = f"{where}, up to {redis_size(wanted)}, or a smaller store.retain_bytes"
    if room < snapshot_bytes // _COMPRESSION:
        return Finding(check, Level.FAIL, f"{found}; needed for {needs}", advice)
    if room < wanted:
        return Finding(check, Level.WARN, f"{found}; needed at most, for {needs}", advice)
    return Finding(check, Level.OK, f"{found}; enough for {needs}")


def check_addresses(config: Config, *, starting: bool = True) -> list[Finding]:
    """Look whether the configured addresses can be listened on just now.

    Args:
        config: Has the addresses.
        starting: Whether a relay is to be started here. If not, because none was described or it
            runs already, an address in use is no failure.
    """
    listen, found = config.listen, []
    if listen.plain:
        found.append(_address("listen", listen.host, listen.port, starting))
    if (secured := listen.tls_address) is not None:
        found.append(_address("listen-tls-address", secured.host, secured.port, starting))
    if config.http is not None:
        found.append(_address("http", config.http.host, config.http.port, starting))
    return found


def check_announced(config: Config) -> Finding:
    """Look whether what the master will show for this relay leads here.

    Sentinel and monitors take a replica's address from its master.
    """
    check, name = "announce-ip", config.upstream.announce_ip
    announced = config.listen.announced(tls=config.upstream.tls is not None)
    port = config.upstream.announce_port or announced.port
    if name is None:
        found = f"none: the master shows the address that the relay comes from, and port {port}"
        return Finding(check, Level.OK, found)
    listen = announced.host
    try:
        shown = {found[4][0] for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
        taken = {found[4][0] for found in socket.getaddrinfo(listen, port, type=socket.SOCK_STREAM)}
    except OSError as failure:
        advice = "set upstream.announce_ip to an address that leads here"
        return Finding(check, Level.FAIL, f"{name}: {os_reason(failure)}", advice)
    where = host_port(name, port)
    if not any(map(_is_ours, shown)):
        return Finding(
            check,
            Level.WARN,
            f"{where} is no address of this machine",
            "right where it is translated (NAT, a container's host); else the master, Sentinel and "
            "monitors will look for the relay where it is not",
        )
    if config.upstream.announce_port is None and not taken & (shown | {"0.0.0.0", "::"}):
        flag = "--listen-tls-address" if announced == config.listen.tls_address else "--listen"
        advice = f"{flag} {where}, or 0.0.0.0:{port} for all addresses"
        return Finding(check, Level.WARN, f"{where}: the relay listens on {listen} alone", advice)
    return Finding(check, Level.OK, f"{where} leads here")


def _is_ours(address: str | int) -> bool:
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _address(check: str, host: str, port: int, starting: bool) -> Finding:
    where = host_port(host, port)
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1)
    except OSError as failure:
        advice, level = f"choose another --{check}", Level.FAIL
        if failure.errno == errno.EADDRINUSE and starting:
            advice = f"a relay may be running there: stop it, or {advice}"
        elif failure.errno == errno.EADDRINUSE:
            advice, level = f"right if it is the relay that runs here; else {advice}", Level.WARN
        return Finding(check, level, f"{where}: {os_reason(failure)}", advice)
    return Finding(check, Level.OK, f"{where} is free")
