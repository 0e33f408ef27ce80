"""What Prometheus is told."""

from datetime import UTC, datetime

from device_protocol.reading import Quality, Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.metrics import AgentMetrics
from edge_agent.spool.store import Depth


def reading(quality: Quality) -> Reading:
    return Reading(
        sensor="urn:a",
        name="no2",
        phenomenon_time=datetime(2030, 3, 17, tzinfo=UTC),
        result=1.0,
        unit="",
        quality=quality,
    )


def test_facts_become_metrics_by_their_documented_names(clock: Clock) -> None:
    facts = Facts(started_at=0.0, connected=True, readings=12, certificate_not_after=1_900_000_000)
    facts.count("sealed", 3)
    facts.count("acknowledged")
    facts.renewals = {"renewed": 4, "failed": 1}
    facts.adapters = {
        "urn:a": AdapterFacts("replay", failures=2),
        "urn:b": AdapterFacts("replay", failures=1),
        "urn:c": AdapterFacts("host"),
        "urn:d": AdapterFacts("host", running=True, failures=1),
    }
    facts.flag([reading(Quality.SUSPECT | Quality.WARMING_UP), reading(Quality.SUSPECT)])
    facts.unclaimed = {"a84041": 7}
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in AgentMetrics(facts, lambda: Depth(5, 8192, 1), clock).collect()
        for sample in metric.samples
    }
    assert found.pop(("edge_resident_memory_bytes",)) > 1_000_000
    assert found.pop(("edge_disk_written_bytes_total",)) >= 0
    assert found == {
        ("edge_spool_readings",): 5,
        ("edge_spool_bytes",): 8192,
        ("edge_connected",): 1,
        ("edge_readings_total",): 12,
        ("edge_readings_acknowledged_total",): 0,
        ("edge_messages_total", "sealed"): 3,
        ("edge_messages_total", "acknowledged"): 1,
        ("edge_adapters", "running"): 1,
        ("edge_adapters", "failing"): 2,
        ("edge_adapters", "starting"): 1,
        ("edge_readings_flagged_total", "suspect"): 2,
        ("edge_readings_flagged_total", "warming_up"): 1,
        ("edge_unclaimed_devices",): 1,
        ("edge_clock_quality",): ClockQuality.NETWORK,
        ("edge_adapter_failures_total", "host"): 1,
        ("edge_adapter_failures_total", "replay"): 3,
        ("edge_certificate_renewals_total", "renewed"): 4,
        ("edge_certificate_renewals_total", "failed"): 1,
        ("edge_epoch_counter",): 0,
        ("edge_rolled_back",): 0,
        ("edge_certificate_expiry_timestamp_seconds",): 1_900_000_000,
    }
