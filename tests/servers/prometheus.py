"""A real Prometheus that scrapes relays and evaluates the alert rules, in a hurry."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

SCRAPE_SECONDS = 0.2
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = r"(\d+)(ms|[smhd])\b"
# Where the rules have durations: `for:`, the range of a vector, and its offset.
_PLACES = re.compile(rf"(?P<before>\bfor: |\[|\boffset ){_DURATION}")
# A wait that is shorter than two scrapes would be none.
_SHORTEST_MS = int(2_000 * SCRAPE_SECONDS)


def quicken(rules: str, factor: int) -> str:
    """Divide every duration of alert rules; numbers in expressions stay what they are.

    Args:
        rules: The text of a rules file.
        factor: By how much. What would be shorter than two scrapes is as long as they, 0 stays 0.
    """

    def shorter(found: re.Match[str]) -> str:
        before, number, unit = found.groups()
        milliseconds = int(number) * _UNITS[unit]
        if milliseconds:
            milliseconds = max(_SHORTEST_MS, milliseconds // factor)
        return f"{before}{milliseconds}ms"

    return _PLACES.sub(shorter, rules)


def substitute(rules: str, changes: Mapping[str, Mapping[str, str]]) -> str:
    """Change parts of the expressions of alerts; what does not occur is an error.

    Args:
        rules: The text of a rules file.
        changes: By name of the alert: what stands there, and what is to stand there.
    """
    parts = re.split(r"(?m)^(?=      - alert: )", rules)
    for alert, pairs in changes.items():
        (index,) = [
            i for i, part in enumerate(parts) if part.startswith(f"      - alert: {alert}\n")
        ]
        for old, new in pairs.items():
            assert old in parts[index], f"{alert}: {old}"
            parts[index] = parts[index].replace(old, new)
    return "".join(parts)


class Prometheus(Process):
    """One Prometheus with one job, `repltap`.

    Args:
        targets: Ports of `/metrics` on loopback.
        rules: The text of a rules file.
    """

    def __init__(self, directory: Path, targets: Sequence[int], rules: str) -> None:
        super().__init__("prometheus", directory)
        self.port = free_port()
        (directory / "rules.yml").write_text(rules)
        every = f"{SCRAPE_SECONDS * 1000:.0f}ms"
        config = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": [str(directory / "rules.yml")],
            "scrape_configs": [
                {
                    "job_name": "repltap",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}],
                }
            ],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    def start(self) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is absent")
        self.spawn(
            [
                program,
                f"--config.file={self.directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--query.lookback-delta=5s",
                "--log.level=warn",
            ]
        )

    def wait_ready(self) -> None:
        """Wait until it has scraped."""
        wait_for("Prometheus has scraped", lambda: self.query("repltap_build_info"))

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def query(self, expression: str) -> list[Any]:
        """Evaluate an expression now."""
        found = self._get(f"query?query={urllib.parse.quote(expression)}")["result"]
        assert isinstance(found, list)
        return found

    def _get(self, path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            document = json.load(answer)
        assert document["status"] == "success"
        return dict(document["data"])
