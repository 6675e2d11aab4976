"""The Grafana dashboard: its form, and each of its queries asked of a real Prometheus."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.scenery import measured_relay
from tests.servers.lab import Lab, laboratory
from tests.servers.prometheus import Prometheus
from tests.servers.waiting import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "repltap.json").read_text())
RULES = (DEPLOY / "prometheus" / "repltap.rules.yml").read_text()
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES: dict[str, dict[str, Any]] = {
    each["name"]: each for each in DASHBOARD["templating"]["list"]
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of Grafana's units those that fit: seconds, bytes, counts, and these per second.
UNITS = {"s", "bytes", "Bps", "cps", "short", "none"}


def targets() -> Iterator[tuple[str, str]]:
    """Every expression, and the legend of its series."""
    for panel in GRAPHS:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


def test_its_form() -> None:
    assert DASHBOARD["schemaVersion"] >= 36  # Grafana 9: data sources by type and uid
    assert DASHBOARD["uid"] == "repltap"
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert {panel["type"] for panel in PANELS} == {"row", "stat", "timeseries"}
    for panel in GRAPHS:
        assert panel["datasource"] == SOURCE
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) >= 1
        assert all(target["datasource"] == SOURCE for target in panel["targets"])


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        for place in itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        ):
            assert place not in taken, f"{panel['title']} covers {taken[place]}"
            taken[place] = panel["title"]


def test_each_alert_has_its_panel_and_each_line_is_an_alerts() -> None:
    """So that who is called by an alert knows what to look at."""
    texts = " ".join(panel["description"] for panel in PANELS if "description" in panel)
    named = set(re.findall(r"Repltap\w+", texts))
    alerts = set(re.findall(r"- alert: (\w+)", RULES))
    # The first has no metrics; bytes are beside seconds; damage is not a matter of time.
    assert alerts - named == {"RepltapDown", "RepltapReplicaLagBytes", "RepltapStoreDamaged"}
    assert named <= alerts
    for panel in GRAPHS:
        if panel["type"] == "timeseries":
            for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
                assert step["value"] is None or f" {step['value']}" in RULES


def test_every_query_is_of_the_relays_that_are_chosen() -> None:
    for expression, _ in targets():
        for found in re.findall(r"\b(?:repltap|process)_\w+(\{[^}]*\})?", expression):
            assert 'instance=~"$instance"' in found, expression
        assert set(re.findall(r"\$(\w+)", expression)) <= VARIABLES.keys() | {"__rate_interval"}
    assert list(VARIABLES) == ["datasource", "source", "instance"]
    assert VARIABLES["datasource"]["query"] == "prometheus"


def _scraped(lab: Lab) -> Prometheus:
    """A Prometheus that scrapes a relay with a replica, and sinks."""
    relay = measured_relay(lab, "metrics")
    prometheus = Prometheus(lab.directory / "prometheus", [relay.http_port], RULES)
    lab.add(prometheus)
    return prometheus


@pytest.mark.e2e
def test_every_query_finds_something() -> None:
    """With the labels that its legend has: so metrics and labels are there."""
    with laboratory() as lab:
        prometheus = _scraped(lab)
        for expression, legend in targets():
            if "ALERTS" in expression or "repltap_sentinels" in expression:
                continue  # nothing fires, and no sentinel names the master
            # What has not occurred is left out by "> 0".
            query = expression.replace("$__rate_interval", "5s").replace("$instance", ".+")
            query = query.replace(" > 0", "")
            found = wait_for(query, lambda asked=query: prometheus.query(asked))
            for label in re.findall(r"\{\{(\w+)\}\}", legend):
                assert all(label in series["metric"] for series in found), expression
        for name in ("source", "instance"):
            query = VARIABLES[name]["query"]["query"]
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
            assert match is not None
            # Waited for: a scrape that was late makes all series of the relay stale for a moment.
            asked = match[1].replace("$source", ".+")
            series = wait_for(asked, lambda asked=asked: prometheus.query(asked))
            assert all(each["metric"][match[2]] for each in series)
