"""The agent's metrics for Prometheus, computed from its facts when asked.

`prometheus_client` is imported with this module, so only an agent with an endpoint pays for it.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edge_agent.facts import Facts
from edge_agent.spool import Depth


class AgentMetrics:
    """A source of metrics (see `runtime.metrics`).

    depth: returns the spool's depth as last measured.
    """

    def __init__(self, facts: Facts, depth: Callable[[], Depth]) -> None:
        self._facts = facts
        self._depth = depth

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
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
        failures = CounterMetricFamily(
            "edge_adapter_failures", "Times an adapter had to be started again.", labels=["adapter"]
        )
        for name in sorted({each.adapter for each in facts.adapters.values()}):
            own = [each.failures for each in facts.adapters.values() if each.adapter == name]
            failures.add_metric([name], sum(own))
        yield failures
        renewals = CounterMetricFamily(
            "edge_certificate_renewals", "Attempts at a new certificate.", labels=["outcome"]
        )
        for outcome, count in facts.renewals.items():
            renewals.add_metric([outcome], count)
        yield renewals
        yield _gauge("edge_epoch_counter", "Counter of the present epoch.", facts.epoch_counter)
        yield _gauge(
            "edge_rolled_back", "Whether the centre knew a higher counter.", facts.rolled_back
        )
        for name, meaning, moment in (
            (
                "edge_certificate_expiry_timestamp_seconds",
                "When the certificate ends.",
                facts.certificate_not_after,
            ),
            (
                "edge_last_acknowledgement_timestamp_seconds",
                "When the centre last acknowledged.",
                facts.last_acknowledgement_at,
            ),
        ):
            if moment is not None:
                yield _gauge(name, meaning, moment)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)
