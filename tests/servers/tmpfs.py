"""A relay whose disk is small."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.server import Server


def on_tmpfs(lab: Lab, master: Server, options: str) -> _RelayOnTmpfs:
    """Start a relay on a tmpfs of its own, or skip the test."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    relay = _RelayOnTmpfs(
        lab.directory / "relay",
        "relay",
        master.port,
        {"store_segment_bytes": "1mb", "store_min_free_bytes": "1mb"},
    )
    relay.mount_options = options
    lab.nodes.append(relay)
    relay.start()
    return relay


class _RelayOnTmpfs(Relay):
    """A relay whose data directory is in a tmpfs that only it (and /proc) sees."""

    mount_options = "size=40m"

    def command(self) -> list[str]:
        place = self.data_dir.parent / "small"
        place.mkdir(parents=True, exist_ok=True)
        self.data_dir = place / "data"
        script = f'mount -t tmpfs -o {self.mount_options} tmpfs "{place}" && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, "sh", *super().command()]
