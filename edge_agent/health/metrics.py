"""The agent's metrics for Prometheus, computed from its facts when asked.

`prometheus_client` is imported with this module, so only an agent with an endpoint pays for it.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edge_agent import machine
from edge_agent.clock import Clock
from edge_agent.health.facts import Facts
from edge_agent.spool.store import Depth


class AgentMetrics:
    """A source of metrics (see `runtime.metrics`).

    depth: returns the spool's depth as last measured.
    """

    def __init__(self, facts: Facts, depth: Callable[[], Depth], clock: Clock) -> None:
        self._facts = facts
        self._depth = depth
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from self._of_delivery()
        yield from self._of_sensors()
        yield from self._of_machine()
        yield from self._of_certificate()

    def _of_delivery(self) -> Iterator[Metric]:
        facts, depth = self._facts, self._depth()
        yield _gauge("edge_spool_readings", "Readings waiting.", depth.readings)
        yield _gauge("edge_spool_bytes", "Bytes of the spool in use.", depth.bytes)
        yield _gauge("edge_connected", "Whether the broker is connected.", facts.connected)
        yield CounterMetricFamily("edge_readings", "Readings taken.", value=facts.readings)
        yield CounterMetricFamily(
            "edge_readings_acknowledged",
            "Readings the centre has stored.",
            value=facts.readings_acknowledged,
        )
        messages = CounterMetricFamily("edge_messages", "Messages.", labels=["outcome"])
        for outcome, count in facts.messages.items():
            messages.add_metric([outcome], count)
        yield messages
        yield _gauge("edge_epoch_counter", "Counter of the present epoch.", facts.epoch_counter)
        yield _gauge(
            "edge_rolled_back", "Whether the centre knew a higher counter.", facts.rolled_back
        )
        if facts.last_acknowledgement_at is not None:
            yield _gauge(
                "edge_last_acknowledgement_timestamp_seconds",
                "When the centre last acknowledged.",
                facts.last_acknowledgement_at,
            )

    def _of_sensors(self) -> Iterator[Metric]:
        facts = self._facts
        states = GaugeMetricFamily("edge_adapters", "Sensors' adapters by state.", labels=["state"])
        running, failing = facts.adapters_running, len(facts.failing)
        states.add_metric(["running"], running)
        states.add_metric(["failing"], failing)
        states.add_metric(["starting"], len(facts.adapters) - running - failing)
        yield states
        failures = CounterMetricFamily(
            "edge_adapter_failures", "Times an adapter had to be started again.", labels=["adapter"]
        )
        for name in sorted({each.adapter for each in facts.adapters.values()}):
            own = [each.failures for each in facts.adapters.values() if each.adapter == name]
            failures.add_metric([name], sum(own))
        yield failures
        flagged = CounterMetricFamily(
            "edge_readings_flagged", "Readings by quality flag.", labels=["flag"]
        )
        for flag, count in sorted(facts.flagged.items()):
            flagged.add_metric([flag], count)
        yield flagged
        yield _gauge(
            "edge_unclaimed_devices",
            "Devices heard that no sensor claims, up to 100.",
            len(facts.unclaimed),
        )

    def _of_machine(self) -> Iterator[Metric]:
        yield _gauge(
            "edge_clock_quality",
            "Where the time comes from: 0 nowhere, 1 an authenticated server, 2 the network, "
            "3 a chip or a satellite.",
            self._clock.quality(),
        )
        if (resident := machine.resident_bytes()) is not None:
            yield _gauge("edge_resident_memory_bytes", "Memory of the agent.", resident)
        if (written := machine.written_bytes()) is not None:
            yield CounterMetricFamily(
                "edge_disk_written_bytes", "Bytes the agent has sent to disk.", value=written
            )

    def _of_certificate(self) -> Iterator[Metric]:
        facts = self._facts
        renewals = CounterMetricFamily(
            "edge_certificate_renewals", "Attempts at a new certificate.", labels=["outcome"]
        )
        for outcome, count in facts.renewals.items():
            renewals.add_metric([outcome], count)
        yield renewals
        if facts.certificate_not_after is not None:
            yield _gauge(
                "edge_certificate_expiry_timestamp_seconds",
                "When the certificate ends.",
                facts.certificate_not_after,
            )


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)
