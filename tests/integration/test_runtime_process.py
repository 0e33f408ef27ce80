"""Starting and stopping a real process: signals, metrics endpoint, TLS files."""

import asyncio
import signal
import socket
import sys
import textwrap
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric

from runtime.metrics import MetricsSettings, serve_metrics

WAITS = """
    import asyncio, sys
    from runtime.signals import run_until_stopped

    async def main() -> None:
        print("ready", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            print("closed", flush=True)

    sys.exit(asyncio.run(run_until_stopped(main())))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_closes_what_is_open_and_sets_the_exit_code(
    number: signal.Signals, code: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(WAITS), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    rest, _ = await process.communicate()
    assert (rest, process.returncode) == (b"closed\n", code)


class OneGauge:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("edge_spool_readings", "Readings waiting.", value=7)


async def test_metrics_are_served_until_closed() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    server = serve_metrics(MetricsSettings(port=free_port), OneGauge())
    assert server is not None

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text: str = answer.read().decode()
            return text

    assert "edge_spool_readings 7.0" in await asyncio.to_thread(read)
    server.close()
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(read)


def test_without_a_port_nothing_listens() -> None:
    assert serve_metrics(MetricsSettings()) is None
