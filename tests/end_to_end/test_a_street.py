"""One gateway reads four kinds of sensors at once, and all that they said arrives at the centre.

A dust sensor on a serial port, a Modbus meter, Zigbee devices behind a broker on the gateway, and
a weather station polled over HTTP; a network of ours behind them, enrolment included.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiomqtt
import pytest

from device_protocol.first_boot import FirstBoot
from edge_agent import agent
from edge_agent.credentials.enrolment import enrol
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from ingest import service as ingest
from runtime.settings import load
from tests.end_to_end.network import TENANT, beside, broker_of, ingest_of, invitations
from tests.integration.conftest import SERVERS
from tests.integration.enrolment_service import Enrolment, running_service
from tests.simulators.local_mosquitto import local_mosquitto
from tests.simulators.modbus_server import ModbusDevices, modbus_tcp
from tests.simulators.serial_sensor import Sds011

ENOUGH = 30
HELLO = -5.0
ZIGBEE, STATION, METER, DUST = (
    f"urn:dev:example:{kind}" for kind in ("zigbee", "station", "meter", "dust")
)

SETTINGS = """
tenant = "{tenant}"
device = "{device}"
state_directory = "state"

[broker]
host = "{broker.host}"
port = {broker.port}
ca_file = "current/region-root.pem"
certificate_file = "current/gateway.pem"
key_file = "current/gateway.key"

[trust]
council_root_file = "current/council-root.pem"

[spool]
commit_seconds = 0.2

[uplink]
batch_seconds = 0.2
reannounce_seconds = 5

[status]
interval_seconds = 0.1

[[local_broker]]
name = "zigbee"
port = {zigbee_port}

[[thing]]
urn = "urn:dev:example:lamp"
name = "Lamp"
description = "A lamp post."
longitude = -0.13
latitude = 51.52
place_name = "Gower Street"

[[sensor]]
adapter = "sds011"
device = "../dust"
interval_seconds = 0.1
statistic = "newest"
warm_up_seconds = 0
urn = "urn:dev:example:dust"
thing = "urn:dev:example:lamp"
name = "Dust"
description = "A dust sensor."

[[sensor]]
adapter = "modbus"
host = "127.0.0.1"
port = {modbus_port}
unit_id = 7
interval_seconds = 0.1
urn = "urn:dev:example:meter"
thing = "urn:dev:example:lamp"
name = "Meter"
description = "A meter."
[sensor.registers.power]
address = 10
name = "power"
title = "Power"
description = "Power of the lamp."
observed_property = "lamp_power"
unit = "W"

[[sensor]]
adapter = "mqtt_json"
local_broker = "zigbee"
topic = "zigbee2mqtt/cupboard"
urn = "urn:dev:example:zigbee"
thing = "urn:dev:example:lamp"
name = "Thermometer"
description = "A Zigbee thermometer."
[sensor.fields.temperature]
path = "temperature"
name = "temperature"
title = "Temperature"
description = "Air temperature."
observed_property = "air_temperature"
unit = "Cel"

[[sensor]]
adapter = "http_poll"
url = "http://127.0.0.1:{station_port}/now"
interval_seconds = 0.5
urn = "urn:dev:example:station"
thing = "urn:dev:example:lamp"
name = "Station"
description = "A weather station."
[sensor.fields.pressure]
path = "weather.pressure"
name = "pressure"
title = "Pressure"
description = "Air pressure."
observed_property = "air_pressure"
unit = "hPa"
"""


class Station:
    """A weather station whose pressure rises by one whenever somebody has read it."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.port = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        station = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                station.told.append(1000.0 + len(station.told))
                time = datetime.now(UTC).isoformat()
                body = json.dumps({"time": time, "weather": {"pressure": station.told[-1]}})
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            self.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


class Meter(dict[int, int]):
    """A register that counts how often it is read."""

    def __init__(self) -> None:
        super().__init__({10: 0})
        self.told: list[float] = []

    def __getitem__(self, address: int) -> int:
        self.told.append(float(len(self.told)))
        return int(self.told[-1])


async def stored(region: Enrolment, sensor: str) -> list[float]:
    cursor = await region.conn.execute(
        "SELECT o.value FROM observation o JOIN datastream d ON d.id = o.datastream_id"
        " JOIN sensor s ON s.id = d.sensor_id WHERE s.urn = %s ORDER BY o.time, d.name",
        (sensor,),
    )
    return [value for (value,) in await cursor.fetchall()]


async def publish(port: int, temperatures: Iterable[float]) -> None:
    """Let a Zigbee thermometer say this."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for temperature in temperatures:
            said = {"temperature": temperature, "battery": 90, "linkquality": 100, "update": None}
            await client.publish("zigbee2mqtt/cupboard", json.dumps(said), qos=1)
            await asyncio.sleep(0.02)


def taken(settings: AgentSettings) -> dict[str, int]:
    """Return how many readings the agent has taken from each sensor."""
    facts = read_status(settings).facts or {"adapters": {}}
    return {urn: adapter["readings"] for urn, adapter in facts["adapters"].items()}


@pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")
async def test_all_that_four_kinds_of_sensors_say_arrives_at_the_centre(
    dsn: str, tmp_path: Path
) -> None:
    station, power = Station(), Meter()
    said = [15 + count / 10 for count in range(ENOUGH)]
    async with running_service(dsn, tmp_path / "region") as region:
        [first_boot] = await invitations(region, 1)
        with (
            broker_of(region, [first_boot.device], tmp_path) as broker,
            local_mosquitto(tmp_path / "zigbee") as zigbee,
            station.serving(),
        ):
            async with (
                modbus_tcp(ModbusDevices({7: {"holding": power}})) as meter,
                Sds011(tmp_path / "dust") as dust,
            ):
                dust.next_results = [(count / 10, count / 5) for count in range(1, 4000)]
                settings = await gateway(
                    first_boot,
                    tmp_path / "gateway",
                    broker=broker.council_endpoint(TENANT),
                    zigbee_port=zigbee.port,
                    modbus_port=meter.port,
                    station_port=station.port,
                )
                centre = ingest.run(await ingest_of(region, broker, tmp_path))
                async with beside(centre, agent.run(settings)):
                    async with asyncio.timeout(60):
                        while not taken(settings).get(ZIGBEE):  # then it has subscribed
                            await publish(zigbee.port, [HELLO])
                    await publish(zigbee.port, said)
                    await until(lambda: min(taken(settings).values()) >= len(said))
                    wanted = taken(settings)
                    await until_stored(region, wanted)
        found = {urn: await stored(region, urn) for urn in wanted}
        quarantined = await region.conn.execute("SELECT count(*) FROM quarantine")
        assert await quarantined.fetchall() == [(0,)]
    assert [result for result in found[ZIGBEE] if result != HELLO] == said
    assert found[STATION] == station.told[: len(found[STATION])]
    assert found[METER] == power.told[: len(found[METER])]
    results = list(zip(found[DUST][1::2], found[DUST][0::2], strict=True))  # by name: pm10, pm25
    assert results == sorted(set(results))
    assert all(pm10 == pytest.approx(2 * pm25) for pm25, pm10 in results)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # a file of the agent
            await asyncio.sleep(0.05)


async def until_stored(region: Enrolment, wanted: Mapping[str, int]) -> None:
    async with asyncio.timeout(60):
        for urn, count in wanted.items():
            while len(await stored(region, urn)) < count:  # noqa: ASYNC110  # a table
                await asyncio.sleep(0.1)


async def gateway(first_boot: FirstBoot, directory: Path, **places: object) -> AgentSettings:
    """Enrol it, and return the settings that a person would write for it."""
    await asyncio.to_thread(enrol, first_boot, directory)
    file = directory / "agent.toml"
    text = SETTINGS.format(tenant=TENANT, device=first_boot.device, **places)
    file.write_text(text)
    return load(AgentSettings, file)
