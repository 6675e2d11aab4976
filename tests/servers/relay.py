"""repltap as a child process, started with the command line that its users have."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import hiredis

from tests.servers.certificates import Pair
from tests.servers.client import Client
from tests.servers.node import Node
from tests.servers.ports import free_port
from tests.servers.secrets import Place, unmarked
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

_ASKED = (("INFO", "all"), ("CONFIG", "GET", "*"), ("CLIENT", "LIST"), ("ROLE",))

REPOSITORY = Path(__file__).resolve().parents[2]


class Relay(Node):
    """One relay; restarts use the same ports and data directory.

    Args:
        upstream_port: Whom it follows; the port for TLS with `tls`.
        options: Further settings, as flags without the dashes: `store_quota_bytes` is
            `REPLTAP_STORE_QUOTA_BYTES`, `--store-quota-bytes`.
        tls: It follows by TLS, and listens with this at `tls_port`, too, where it asks for a
            certificate; `options` may say otherwise.

    Attributes:
        search_seconds: How long each place may take that is searched for secrets: a relay that a
            test has brought to a halt does not answer, and is not what is looked at.
    """

    search_seconds = 2.0

    def __init__(
        self,
        directory: Path,
        name: str,
        upstream_port: int,
        options: Mapping[str, str | int],
        *,
        tls: Pair | None = None,
    ) -> None:
        super().__init__(
            name, directory, free_port(), password=str(options.get("listen_password") or "")
        )
        self.tls_port = free_port() if tls else 0
        self.upstream_url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{upstream_port}"
        self.http_port = free_port()
        self.data_dir = directory / "data"
        # Retries at least twice a second: the tests cut many links.
        # No poll: faults are of a place in the next connection, which must be the link's own.
        self.options: dict[str, str | int] = {
            "upstream_backoff_max_seconds": "0.5",
            "upstream_poll_seconds": 0,
            **(self._secured(tls) if tls else {}),
            **options,
        }
        assert not list(unmarked(self.options)), "make it with tests.servers.secrets.secret()"

    def _secured(self, tls: Pair) -> dict[str, str | int]:
        return {
            **tls.options("upstream_tls_"),
            **tls.options("listen_tls_"),
            "listen_tls_address": f"127.0.0.1:{self.tls_port}",
        }

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            *(sys.executable, "-m", "repltap", "run"),
            *("--upstream", self.upstream_url),
            *("--listen", str(self.options.get("listen", f"127.0.0.1:{self.port}"))),
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

    def get(self, path: str, timeout_seconds: float = PATIENCE_SECONDS) -> HTTPResponse:
        """Ask its HTTP port, with its token if it has one; close the answer."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}")
        if token := self._configured("http_token"):
            asked.add_header("Authorization", f"Bearer {token}")
        answer = urllib.request.urlopen(asked, timeout=timeout_seconds)
        assert isinstance(answer, HTTPResponse)
        return answer

    def shown(self) -> Iterator[Place]:
        """Give all that it tells whoever asks; what does not answer is left out."""
        yield from super().shown()
        for path in ("/api/status", "/metrics", "/readyz"):
            # Where it has ended, somebody else may have the port, who speaks something else.
            with suppress(OSError, HTTPException):
                yield f"{path} of {self.name}", self._read(path)
        with suppress(OSError, HTTPException):
            yield f"/api/events of {self.name}", self.events()
        with suppress(OSError, hiredis.ReplyError), self._searching_client() as client:
            for words, reply in zip(_ASKED, client.pipeline(_ASKED), strict=True):
                yield f"{' '.join(words)} of {self.name}", repr(reply).encode()

    def events(self) -> bytes:
        """Return the events that it remembers: they come at once, and nothing for a while then."""
        with self.get("/api/events", self.search_seconds) as stream:
            told = b""
            while b"data:" not in told:  # the start is always there
                told += stream.read1(1 << 20) or b"data:"
            return told

    def _read(self, path: str) -> bytes:
        try:
            with self.get(path, self.search_seconds) as answer:
                return answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.read()

    def _searching_client(self) -> Client:
        password = self.password or self._configured("listen_password")
        return Client(self.port, password=password, timeout_seconds=self.search_seconds)

    def _configured(self, secret: str) -> str:
        """Find out what it was given as a password or token; "" for none."""
        if given := self.options.get(secret):
            return str(given)
        file = self.options.get(f"{secret}_file")
        with suppress(OSError):
            return Path(str(file)).read_text().partition("\n")[0] if file else ""
        return ""

    def status(self) -> dict[str, Any]:
        """Return what `/api/status` answers."""
        with self.get("/api/status") as answer:
            found = json.load(answer)
        assert isinstance(found, dict)
        return found

    @property
    def durable_offset(self) -> int:
        """Return up to where the journal survives even a crash of the machine."""
        return int(self.status()["journal"]["durable_offset"])

    def is_healthy(self) -> bool:
        """Tell whether `/healthz` answers 200."""
        with self.get("/healthz") as answer:
            return bool(answer.status == 200)

    def wait_stored(self) -> None:
        """Wait until a history is published: a kill before that costs the master a full sync.

        A link that is up does not say so: what it serves is made durable meanwhile.
        """
        wait_for(
            f"the history of {self.name} is stored",
            lambda: list(self.data_dir.glob("histories/*/history.json")),
        )

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the stored snapshots as the status shows them, newest first."""
        journal = self.status()["journal"]
        return list(journal["snapshots"]) if journal else []
