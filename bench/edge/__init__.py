"""What an agent costs the computer it runs on: memory, processor, bytes written, time to start.

A real agent process delivers over mutual TLS with the settings a gateway has by default, to a
centre as small as can be. `runs` tells what it is put through. Numbers are reported, none is
judged.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from bench.edge import runs
from bench.edge.place import Place, made_place
from bench.edge.sealing import measure_sealing
from bench.machine import describe_machine
from broker_config.embedded import default_kind
from broker_config.files import BrokerKind

__all__ = ["measure", "measure_soak"]

SECONDS: Final = 30.0
BACKLOG_READINGS: Final = 200_000
SOAK_READINGS_PER_SECOND: Final = 50.0


def measure(
    *, seconds: float = SECONDS, backlog_readings: int = BACKLOG_READINGS, broker: str = ""
) -> dict[str, Any]:
    """Return what an agent costs, each figure with its unit in its name.

    seconds: of each steady run, after its start; that of one reading a second takes twice as
    long. backlog_readings: how many are waiting in the backlog run. broker: "mosquitto" or
    "nats"; empty: the best there is here.

    Raises:
        BenchError: the agent ended or did not deliver in time.
    """
    machine = describe_machine()
    kind = BrokerKind(broker) if broker else default_kind()

    def measured(run: Callable[[Place], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
        with made_place(kind) as place:  # of its own: brokers keep what the last run announced
            return asyncio.run(run(place))

    return {
        "machine": machine,
        "broker": kind.value,
        "ten_readings_a_second": measured(lambda place: runs.steady(place, 10.0, seconds)),
        "one_reading_a_second": measured(lambda place: runs.steady(place, 1.0, 2 * seconds)),
        "serial_modbus_and_lorawan": measured(lambda place: runs.adapters(place, seconds)),
        "backlog": measured(lambda place: runs.backlog(place, backlog_readings)),
        "sealing": measure_sealing(),
    }


def measure_soak(
    *, minutes: float, readings_per_second: float = SOAK_READINGS_PER_SECOND, broker: str = ""
) -> dict[str, Any]:
    """Return how the memory of an agent grows under a steady load for so long.

    Raises:
        BenchError: the agent ended or did not deliver.
    """
    machine = describe_machine()
    kind = BrokerKind(broker) if broker else default_kind()
    with made_place(kind) as place:
        soaked = asyncio.run(runs.soak(place, readings_per_second, minutes * 60))
    return {"machine": machine, "broker": kind.value, "soak": soaked}
