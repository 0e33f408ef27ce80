"""Each expression of alerts and dashboard, asked of a real Prometheus about real processes.

A metric or label that no process serves fails here, unless it is known why there is none.
"""

import asyncio
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.metrics import MetricWrapperBase

from edge_agent.clock import Clock
from edge_agent.health.facts import Facts
from edge_agent.health.metrics import AgentMetrics
from edge_agent.spool.store import Depth
from tests.integration.region import begin, minutes
from tests.operations.conftest import MONITORING, Prometheus, watching
from tests.simulators.centre_processes import CentreProcesses, get
from tests.simulators.gateway import Message, reading

SELECTOR: Final = re.compile(
    r"\b(up|(?:ingest|analytics|api|enrolment|edge|process|publish)_[a-z0-9_]+)(\{[^}]*\})?"
)
LABEL: Final = re.compile(r"([a-z_]+)\s*[=!]~?")

NOT_RUNNING: Final = {
    "enrolment_": "no certificate service runs here",
    "edge_": "gateways are simulated here",
    "publish_": "nothing is published here",
}
"""Metrics of processes that do not run, held against the code that makes them instead."""

NOTHING_WRONG: Final = {
    'api_requests_total{status=~"5.."}': "no page fails",
    "ingest_consumer_missing": "there is no cluster",
    "ingest_stream_connected": "there is no cluster",
    "ingest_stream_waiting_messages": "there is no cluster",
    "ingest_missing_messages": "counted twice a minute",
}
"""Selectors without a result while all is well, and why; held against the code as well."""


def panels() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "10s")


def served_elsewhere() -> dict[str, set[str]]:
    """Return the labels of each metric that is made elsewhere or later, by its name."""
    found: dict[str, set[str]] = {}
    for module in (
        "api.layers.metrics",
        "api.publishing.publisher",
        "enrolment.metrics",
        "ingest.metrics",
    ):
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, MetricWrapperBase):
                for family in value.describe():
                    name = f"{family.name}_total" if family.type == "counter" else family.name
                    found[name] = set(value._labelnames)
    facts = Facts(started_at=0, last_acknowledgement_at=0, certificate_not_after=0)
    facts.renewals["failed"] = 1
    agent = AgentMetrics(facts, lambda: Depth(0, 0, None), Clock(Path("clock")))
    for family in agent.collect():
        for sample in family.samples:
            found[sample.name] = set(sample.labels) | {"instance"}
    return found


async def load(centre: CentreProcesses) -> None:
    """Give every metric a reason to be there: readings, unknown and forged ones; looks at pages."""
    async with centre.region.gateway() as gateway:
        await begin(gateway)
        simulated = gateway.gateway
        for count in range(6):
            known = reading(count, time=minutes(count))
            unknown = reading(count, name="o3", time=minutes(count))
            await gateway.publish(simulated.report([known, unknown]))
            topic, payload = simulated.report([known])
            await gateway.publish(Message(topic, payload[:-1] + bytes([payload[-1] ^ 1])))
            await asyncio.to_thread(get, f"{centre.page}/about-data")
            await asyncio.sleep(1.1)  # the rates of counters need scrapes in between


def selectors(expression: str) -> set[str]:
    return {"".join(found) for found in SELECTOR.findall(expression)}


def unanswered(prometheus: Prometheus, expression: str) -> list[str]:
    """Return the selectors of an expression that find nothing and are not known to."""
    elsewhere = served_elsewhere()
    missing = []
    for selector in sorted(selectors(expression)):
        name, _, labels = selector.partition("{")
        if selector in NOTHING_WRONG or name.startswith(tuple(NOT_RUNNING)):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            known = elsewhere.get(name, elsewhere.get(base))
            if known is None or not set(LABEL.findall(labels)) <= known:
                missing.append(selector)
        elif not prometheus.query(selector):
            missing.append(selector)
    return missing


def is_excused(expression: str) -> bool:
    found = selectors(expression)
    return any(
        selector in NOTHING_WRONG or selector.startswith(tuple(NOT_RUNNING)) for selector in found
    )


@pytest.mark.timeout(120)
async def test_alerts_and_dashboard_ask_for_what_there_is(
    centre: CentreProcesses,
    prometheus_programs: Path,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    centre.start("ingest", "serve", "analytics")
    targets = {
        "127.0.0.1:9101": centre.ports["ingest"],
        "127.0.0.1:9121": centre.ports["serve"],
        "127.0.0.1:9122": centre.ports["analytics"],
    }
    port = unused_tcp_port_factory()
    async with watching(prometheus_programs, tmp_path, port, targets) as prometheus:
        await centre.until_metric("ingest", "ingest_broker_connected", lambda up: up == 1)
        await prometheus.until(lambda: len(prometheus.query("up == 1")) == len(targets), within=60)
        await load(centre)
        await prometheus.until(
            lambda: bool(prometheus.query("sum(analytics_quarantine_held) > 0")), within=40
        )
        rules = [
            rule
            for group in (await asyncio.to_thread(prometheus.get, "rules"))["groups"]
            for rule in group["rules"]
        ]
        assert {rule["health"] for rule in rules} == {"ok"}
        asked = [(rule["name"], rule["query"]) for rule in rules]
        found = {
            f"{name}: {selector}"
            for name, expression in [*asked, *panels()]
            for selector in unanswered(prometheus, expression)
        }
        assert not found
        silent = [
            f"{title}: {expression}"
            for title, expression in panels()
            if not prometheus.query(expression) and not is_excused(expression)
        ]
        assert not silent
        firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
        assert firing <= {"ProcessDown"}  # the certificate service does not run


def test_a_misspelt_metric_is_noticed() -> None:
    class Nothing(Prometheus):  # of which nothing is known
        def query(self, _expression: str) -> list[object]:
            return []

    nothing = Nothing(0)
    assert unanswered(nothing, 'rate(ingest_reading_total{a="b"}[5m]) > 0') == [
        'ingest_reading_total{a="b"}'
    ]
    assert unanswered(nothing, "edge_conected == 0") == ["edge_conected"]
    assert unanswered(nothing, 'edge_connected{room="1"}') == ['edge_connected{room="1"}']
    assert unanswered(nothing, "edge_connected == 0") == []
