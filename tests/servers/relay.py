"""repltap as a child process, started with the command line that its users have."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.node import Node
from tests.servers.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]


class Relay(Node):
    """One relay; restarts use the same ports and data directory.

    Args:
        upstream_port: Whom it follows.
        options: Further settings, as flags without the dashes: `store_quota_bytes` is
            `REPLTAP_STORE_QUOTA_BYTES`, `--store-quota-bytes`.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        upstream_port: int,
        options: Mapping[str, str | int],
    ) -> None:
        super().__init__(
            name, directory, free_port(), password=str(options.get("listen_password") or "")
        )
        self.upstream_url = f"redis://127.0.0.1:{upstream_port}"
        self.http_port = free_port()
        self.data_dir = directory / "data"
        # Retries at least twice a second: the tests cut many links.
        # No poll: faults are of a place in the next connection, which must be the link's own.
        self.options: dict[str, str | int] = {
            "upstream_backoff_max_seconds": "0.5",
            "upstream_poll_seconds": 0,
            **options,
        }

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            *(sys.executable, "-m", "repltap", "run"),
            *("--upstream", self.upstream_url),
            *("--listen", f"127.0.0.1:{self.port}"),
            *("--http", f"127.0.0.1:{self.http_port}"),
            *("--data-dir", str(self.data_dir)),
        ]

    def environ(self) -> Mapping[str, str]:
        """Return the environment: the options, and where the package is."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
        options = {f"REPLTAP_{key.upper()}": str(value) for key, value in self.options.items()}
        path = os.pathsep.join(filter(None, (str(REPOSITORY), clean.get("PYTHONPATH"))))
        return clean | options | {"PYTHONPATH": path}

    def start(self) -> None:
        self.spawn(self.command(), self.environ())

    def status(self) -> dict[str, Any]:
        """Return what `/api/status` answers."""
        url = f"http://127.0.0.1:{self.http_port}/api/status"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
        assert isinstance(found, dict)
        return found

    @property
    def durable_offset(self) -> int:
        """Return up to where the journal survives even a crash of the machine."""
        return int(self.status()["journal"]["durable_offset"])

    def is_healthy(self) -> bool:
        """Tell whether `/healthz` answers 200."""
        url = f"http://127.0.0.1:{self.http_port}/healthz"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the stored snapshots as the status shows them, newest first."""
        journal = self.status()["journal"]
        return list(journal["snapshots"]) if journal else []
