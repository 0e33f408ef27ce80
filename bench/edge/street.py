"""A street small enough to measure in: a dust sensor, a meter and a LoRaWAN device.

Each speaks as the real one does: frames of an SDS011 on a pseudo-terminal, registers of a Modbus
device on TCP, uplinks of a ChirpStack server posted by HTTP.
"""

import asyncio
import base64
import http.client
import json
import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from broker_config.free_ports import free_ports

_FRAME_SECONDS: Final = 1.0
_UPLINK_SECONDS: Final = 2.0
_DEVICE_EUI: Final = "24e124713b472003"
_NOISE_PAYLOAD: Final = bytes.fromhex("017564055b053f02da016a02")  # a Milesight WS302

_LISTENER: Final = """
[listener]
port = {port}
"""
_SENSORS: Final = """
[[sensor]]
adapter = "sds011"
device = "{serial}"
interval_seconds = 5
urn = "urn:dev:bench:dust"
thing = "urn:dev:bench:computer"
name = "Dust"
description = "A dust sensor."

[[sensor]]
adapter = "modbus"
host = "127.0.0.1"
port = {modbus}
unit_id = 1
interval_seconds = 1
urn = "urn:dev:bench:meter"
thing = "urn:dev:bench:computer"
name = "Meter"
description = "A meter."
[sensor.registers.power]
address = 0
type = "u32"
scale = 0.1
name = "power"
title = "Power"
description = "Power of a lamp."
observed_property = "lamp_power"
unit = "W"

[[sensor]]
adapter = "lorawan"
device_eui = "{eui}"
decoder = "milesight-ws302"
server = "chirpstack"
push_path = "/lorawan"
urn = "urn:dev:bench:noise"
thing = "urn:dev:bench:computer"
name = "Noise"
description = "A sound level meter."
"""


@asynccontextmanager
async def street(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """Let them speak, and give the settings of an agent that listens: sensors, and the rest."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    [port] = free_ports(1)
    serial = directory / "dust"
    serial.symlink_to(os.ttyname(slave))
    memory = SimDevice(1, simdata=[SimData(0, values=[0, 423], datatype=DataType.REGISTERS)])
    meter = ModbusTcpServer(memory, address=("127.0.0.1", 0))
    await meter.serve_forever(background=True)
    try:
        async with asyncio.TaskGroup() as tasks:
            speaking = [
                tasks.create_task(_dust(master), name="dust sensor"),
                tasks.create_task(_uplinks(port), name="network server"),
            ]
            sensors = _SENSORS.format(serial=serial, modbus=_port_of(meter), eui=_DEVICE_EUI)
            yield sensors, _LISTENER.format(port=port)
            for task in speaking:
                task.cancel()
    finally:
        await meter.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it open
        os.close(slave)
        os.close(master)


async def _dust(master: int) -> None:
    body = bytes((90, 0, 140, 0, 1, 2))  # 9.0 and 14.0 ug/m3
    frame = b"\xaa\xc0" + body + bytes((sum(body) % 256,)) + b"\xab"
    while True:
        with suppress(BlockingIOError):  # nobody reads at present
            os.write(master, frame)
        await asyncio.sleep(_FRAME_SECONDS)


async def _uplinks(port: int) -> None:
    count = 0
    while True:
        await asyncio.sleep(_UPLINK_SECONDS)
        count += 1
        uplink = {
            "deduplicationId": str(count),
            "time": datetime.now(UTC).isoformat(),
            "deviceInfo": {"deviceName": "noise", "devEui": _DEVICE_EUI},
            "fCnt": count,
            "fPort": 85,
            "data": base64.b64encode(_NOISE_PAYLOAD).decode(),
            "rxInfo": [{"gatewayId": "6a7e111a10000000", "rssi": -35, "snr": 11.5}],
        }
        try:
            await asyncio.to_thread(_post, port, json.dumps(uplink))
        except OSError:
            continue  # the agent is not there yet, or busy: the next one comes soon


def _post(port: int, body: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request("POST", "/lorawan?event=up", body, headers)
        connection.getresponse().read()
    finally:
        connection.close()


def _port_of(server: ModbusTcpServer) -> int:
    listening: asyncio.Server = server.transport  # type: ignore[assignment]  # what it is for TCP
    return int(listening.sockets[0].getsockname()[1])
