"""The rules that ship, quickened, in a Prometheus that looks at one relay.

Every duration is divided by `FACTOR`; what is a number in an expression and would take too long is
replaced as `HASTE` says. What an expression means is never changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.servers.lab import Lab
from tests.servers.prometheus import Prometheus, quicken, substitute
from tests.servers.relay import Relay
from tests.servers.waiting import wait_for

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "repltap.rules.yml"
FACTOR = 120
PATIENCE_SECONDS = 90.0
"""Of a busy machine, not of the rules."""

HASTE: dict[str, dict[str, str]] = {
    # The masters here send a PING each second, not each ten.
    "RepltapUpstreamSilent": {"> 35": "> 3.5"},
    # Lag in seconds is as long as it is.
    "RepltapUpstreamLag": {"> 10": "> 1"},
    "RepltapReplicaLagSeconds": {"> 10": "> 1"},
    "RepltapSinkLag": {"> 60": "> 2"},
    # As much as is quickly written, and what a small tmpfs has.
    "RepltapReplicaLagBytes": {"> 104857600": "> 4000000"},
    "RepltapDiskLow": {"< 1073741824": "< 20971520"},
    "RepltapDiskFilling": {"4 * 3600": "4 * 3600 / 120"},
    # Processes start no quicker, links and resyncs take what they take, and the machine is shared:
    # as often as the rules say, or nearly, in a longer time.
    "RepltapRestarting": {"[15m]": "[70m]", "> 2": "> 1"},
    "RepltapSinkRestarting": {"[10m]": "[40m]", "> 2.5": "> 1.5"},
    "RepltapLinkFlapping": {"[10m]": "[60m]"},
    "RepltapFullResyncs": {"[10m]": "[60m]"},
    "RepltapFullResyncsServed": {"[10m]": "[60m]"},
}


class Watch:
    """A Prometheus that looks at one relay, and what it has been seen to fire.

    Args:
        lab: Of the test.
        relay: Running, and well.
        alerts: What is going to fire.
        haste: More of `HASTE`.
    """

    def __init__(
        self,
        lab: Lab,
        relay: Relay,
        alerts: set[str],
        haste: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        text = quicken(substitute(RULES.read_text(), HASTE | dict(haste or {})), FACTOR)
        self._left = set(alerts)
        self._prometheus = Prometheus(lab.directory / "prometheus", [relay.http_port], text)
        lab.add(self._prometheus)
        self._prometheus.wait_ready()

    def all_is_well(self, *but: str) -> None:
        """Wait until nothing fires that had the time to.

        What only a pause of the machine has fired, as a scrape that was late, clears by itself.

        Args:
            but: What may fire all the same.
        """
        enough = "count_over_time(repltap_upstream_up[5s]) > 10"

        def well() -> bool:
            return bool(self._prometheus.query(enough)) and self._prometheus.firing() <= set(but)

        wait_for("some scrapes, and nothing fires", well)

    def fires(self, alert: str) -> bool:
        """Tell whether one fires."""
        return alert in self._prometheus.firing()

    def wait_seen(self, expression: str) -> None:
        """Wait until Prometheus finds something for an expression."""
        wait_for(f"{expression} is seen", lambda: self._prometheus.query(expression))

    @property
    def started(self) -> str:
        """When the relay that Prometheus knows was started, "" for none."""
        found = self._prometheus.query('process_start_time_seconds{job=~"(.*/)?repltap"}')
        return str(found[0]["value"][1]) if found else ""

    def wait_fires(self, *alerts: str) -> None:
        """Wait until all of these have fired."""
        for alert in alerts:
            wait_for(f"{alert} fires", lambda name=alert: self.fires(name), PATIENCE_SECONDS)
            self._left.discard(alert)

    def wait_clear(self) -> None:
        """Wait until nothing fires."""
        wait_for("all is well", lambda: not self._prometheus.firing(), PATIENCE_SECONDS)

    def provoke(self, alert: str, again: Callable[[], object], seconds: float = 0.0) -> None:
        """Do something again and again, until an alert fires.

        Args:
            alert: Which.
            again: What makes it fire.
            seconds: For how long it fires each time, if that is no longer than a busy machine may
                take to look: so long it is waited for before that is done again.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        done_at = float("-inf")
        while not self.fires(alert):
            if time.monotonic() - done_at < seconds:
                time.sleep(0.1)
                continue
            assert time.monotonic() < until, f"{alert} does not fire"
            again()
            done_at = time.monotonic()
        self._left.discard(alert)

    def done(self) -> None:
        """Everything has cleared, and nothing was left out."""
        self.wait_clear()
        assert not self._left
