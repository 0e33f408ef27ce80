"""What recorded devices reported, as sites: values with their property and unit, no database.

Of the recorded uplinks, the examples of makers' codecs, radio packets, frames of particulate
sensors, citizens' stations and London's year; each is decoded as a gateway does it.
"""

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from device_protocol.description import Datastream
from edge_agent.inputs.fields import FieldSettings, readings
from edge_agent.inputs.payload import load_decoder
from edge_agent.inputs.radio_packets import identifies_vehicle, read_packet
from edge_agent.inputs.uplinks import read_uplink
from edge_agent.sensors import pmsx003, sds011
from edge_agent.sensors.http_push import HttpPushSettings, document_in, fields_of
from standards_mapping.observation import Result
from tests.unit.edge_agent.lorawan_recordings import DECODERS, RECORDINGS, codec_examples
from tests.unit.edge_agent.particulate_recordings import hexdump

F = TypeVar("F")

_ROOT = Path(__file__).parents[2]
LONDON = _ROOT / "command_line/demo/data/london_2009_hourly.csv.gz"
_COMMUNITY = _ROOT / "tests/data/sensor_community/nettigo"
OF_LONDON = {
    "nox": "nox",
    "no2": "no2",
    "pm2.5": "pm25",
    "pm10": "pm10",
    "ws": "wind_speed",
    "wd": "wind_direction",
    "air_temp": "air_temperature",
    "visibility": "visibility",
}
_OF_COMMUNITY = {
    "SDS_P1": ("pm10", "ug/m3"),
    "SDS_P2": ("pm25", "ug/m3"),
    "BME280_temperature": ("air_temperature", "Cel"),
    "BME280_humidity": ("relative_humidity", "%RH"),
    "BME280_pressure": ("air_pressure", "Pa"),
    "signal": ("rssi", "dBm"),
}
_PACKETS = _ROOT / "tests/data/rtl_433/lines.jsonl"
_OF_PACKETS = {  # the paths that the documentation of rtl_433 has, old names and new
    "temperature_C|temperature_1_C": ("air_temperature", "Cel", ""),
    "temperature_F": ("air_temperature", "Cel", "degF"),
    "humidity": ("relative_humidity", "%RH", ""),
    "wind_avg_m_s|wind_speed_ms": ("wind_speed", "m/s", ""),
    "wind_avg_mi_h|wind_speed_mph": ("wind_speed", "m/s", "mi/h"),
    "wind_max_m_s": ("wind_gust", "m/s", ""),
    "wind_dir_deg": ("wind_direction", "deg", ""),
    "rainfall_accumulation_inch": ("rainfall", "mm", "in"),
    "moisture": ("soil_moisture", "%", ""),
}
_RECEIVED = datetime(2026, 3, 1, 7, 18, 30, tzinfo=UTC)
_IDENTITY: Mapping[str, Any] = {
    "urn": "urn:dev:example:recorded",
    "thing": "urn:dev:example:site",
    "name": "Recorded",
    "description": "One that was recorded.",
}


@dataclass(frozen=True)
class Value:
    """One result. name: of its datastream. key: of its property. unit: as it was reported."""

    name: str
    key: str
    unit: str
    result: Result


@dataclass(frozen=True)
class Recorded:
    """One message of one device. device: alike for all of one kind."""

    device: str
    name: str
    values: tuple[Value, ...]


def recorded_sites() -> Iterator[Recorded]:
    """Yield every recording that says something."""
    kinds = (uplinks, examples, packets, particulates, stations, noons)
    yield from (one for kind in kinds for one in kind() if one.values)


def _of_table(table: str, name: str, values: Sequence[tuple[str, Result]]) -> Recorded:
    known = {one.name: one for one in load_decoder(Path(table)).table.datastream}
    told = [
        Value(stream, known[stream].observed_property, known[stream].unit, result)
        for stream, result in values
        if stream in known
    ]
    return Recorded(table, name, tuple(told))


def uplinks() -> Iterator[Recorded]:
    """Yield what LoRaWAN devices sent, once for each network server."""
    for one in RECORDINGS:
        uplink = read_uplink(one.server, one.document())
        if uplink is not None and uplink.payload:
            table = DECODERS[one.device]
            values = load_decoder(Path(table)).decode(uplink.f_port, uplink.payload)
            name = f"{one.device} {one.folder} {one.name}"
            yield _of_table(table, name, [(each.name, each.result) for each in values])


def examples() -> Iterator[Recorded]:
    """Yield what makers' codecs give as examples; faulty ones are left out."""
    for table, examples in codec_examples().items():
        for number, one in enumerate(examples):
            if "errors" not in one:
                payload = bytes.fromhex(one["bytes"])
                values = load_decoder(Path(table)).decode(one["fPort"], payload)
                name = f"{table} example {number}"
                yield _of_table(table, name, [(each.name, each.result) for each in values])


def packets() -> Iterator[Recorded]:
    """Yield what rtl_433 printed, but for what vehicles sent."""
    fields = [_field(path, *known) for path, known in _OF_PACKETS.items()]
    for number, line in enumerate(_PACKETS.read_bytes().splitlines()):
        packet = read_packet(line, _RECEIVED)
        if packet is not None and not identifies_vehicle(packet.document):
            yield _of_fields("rtl_433", f"{packet.transmitter} {number}", packet.document, fields)


def particulates() -> Iterator[Recorded]:
    """Yield every frame of an SDS011 and of two Plantower sensors."""
    device = Path("/dev/ttyUSB0")
    dust = sds011.datastreams(sds011.Sds011Settings(**_IDENTITY, device=device))
    for number, frame in enumerate(_frames(hexdump("SDS01x"), sds011.take)):
        if isinstance(frame, sds011.Report):
            results = {"pm25": frame.pm25, "pm10": frame.pm10}
            yield _of_streams("SDS01x", f"SDS01x {number}", dust, results)
    counted = pmsx003.datastreams(
        pmsx003.Pmsx003Settings(**_IDENTITY, device=device, model="PMS5003", particles=True)
    )
    for name in ("PMSx003", "PMS3003"):
        for number, report in enumerate(_frames(hexdump(name), pmsx003.take)):
            results = dict(report.results(particles=bool(report.numbers)))
            yield _of_streams(name, f"{name} {number}", counted, results)


def stations() -> Iterator[Recorded]:
    """Yield what citizens' stations pushed."""
    settings = HttpPushSettings(
        **_IDENTITY,
        push_path="/station",
        form="sensor-community",
        fields=MappingProxyType(
            {name: _field(name, *known, "") for name, known in _OF_COMMUNITY.items()}
        ),
    )
    for file in ("sensor_community_data.json", "invalid_data.json"):
        document = document_in((_COMMUNITY / file).read_bytes(), "sensor-community")
        yield _of_fields("nettigo", file, document, fields_of(settings))


def _field(path: str, key: str, unit: str, from_unit: str) -> FieldSettings:
    return FieldSettings(
        name=path.split("|", maxsplit=1)[0],
        title=key,
        description=key,
        observed_property=key,
        unit=unit,
        path=path,
        from_unit=from_unit,
    )


def _of_fields(
    device: str, name: str, document: object, fields: Sequence[FieldSettings]
) -> Recorded:
    known = {one.name: (one.observed_property, one.unit) for one in fields}
    found = readings(
        document,
        sensor=_IDENTITY["urn"],
        fields=fields,
        time=_RECEIVED,
        on_fault=lambda _: None,  # a station may say that a value is missing, in words
    )
    told = tuple(Value(one.name, *known[one.name], one.result) for one in found)
    return Recorded(device, name, told)


def _frames(octets: bytes, take: Callable[[bytearray], F | None]) -> Iterator[F]:
    buffer = bytearray(octets)
    while (frame := take(buffer)) is not None:
        yield frame


def _of_streams(
    device: str, name: str, streams: Sequence[Datastream], results: Mapping[str, float]
) -> Recorded:
    told = tuple(
        Value(one.name, one.observed_property, one.unit, results[one.name])
        for one in streams
        if one.name in results
    )
    return Recorded(device, name, told)


def noons() -> Iterator[Recorded]:
    """Yield the first noon of each month at each site in London."""
    with gzip.open(LONDON, "rt", encoding="utf-8", newline="") as text:
        for line in csv.DictReader(text):
            if line["date"].endswith("-01T12:00:00Z"):
                told = tuple(
                    Value(column, key, "", float(line[column]))
                    for column, key in OF_LONDON.items()
                    if line[column]
                )
                yield Recorded(line["site"], f"{line['site']} {line['date']}", told)
