"""What Prometheus is told."""

from edge_agent.facts import AdapterFacts, Facts
from edge_agent.metrics import AgentMetrics
from edge_agent.spool import Depth


def test_facts_become_metrics_by_their_documented_names() -> None:
    facts = Facts(started_at=0.0, connected=True, readings=12, certificate_not_after=1_900_000_000)
    facts.count("sealed", 3)
    facts.count("acknowledged")
    facts.renewals = {"renewed": 4, "failed": 1}
    facts.adapters = {
        "urn:a": AdapterFacts("replay", failures=2),
        "urn:b": AdapterFacts("replay", failures=1),
        "urn:c": AdapterFacts("host"),
    }
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in AgentMetrics(facts, lambda: Depth(5, 8192, 1)).collect()
        for sample in metric.samples
    }
    assert found == {
        ("edge_spool_readings",): 5,
        ("edge_spool_bytes",): 8192,
        ("edge_connected",): 1,
        ("edge_readings_total",): 12,
        ("edge_readings_acknowledged_total",): 0,
        ("edge_messages_total", "sealed"): 3,
        ("edge_messages_total", "acknowledged"): 1,
        ("edge_adapter_failures_total", "host"): 0,
        ("edge_adapter_failures_total", "replay"): 3,
        ("edge_certificate_renewals_total", "renewed"): 4,
        ("edge_certificate_renewals_total", "failed"): 1,
        ("edge_epoch_counter",): 0,
        ("edge_rolled_back",): 0,
        ("edge_certificate_expiry_timestamp_seconds",): 1_900_000_000,
    }
