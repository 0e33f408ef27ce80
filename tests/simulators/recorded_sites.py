"""What recorded devices reported, as sites: values with their property and unit, no database.

Of the recorded uplinks, the examples of makers' codecs, citizens' stations and London's year.
"""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.inputs.payload import load_decoder
from edge_agent.inputs.uplinks import read_uplink
from standards_mapping.observation import Result
from tests.unit.edge_agent.lorawan_recordings import DECODERS, RECORDINGS, codec_examples

_ROOT = Path(__file__).parents[2]
_LONDON = _ROOT / "command_line/demo/data/london_2009_hourly.csv.gz"
_COMMUNITY = _ROOT / "tests/data/sensor_community/nettigo"
_OF_LONDON = {
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
    for one in (*_uplinks(), *_examples(), *_stations(), *_noons()):
        if one.values:
            yield one


def _of_table(table: str, name: str, values: Sequence[tuple[str, Result]]) -> Recorded:
    known = {one.name: one for one in load_decoder(Path(table)).table.datastream}
    told = [
        Value(stream, known[stream].observed_property, known[stream].unit, result)
        for stream, result in values
        if stream in known
    ]
    return Recorded(table, name, tuple(told))


def _uplinks() -> Iterator[Recorded]:
    for one in RECORDINGS:
        uplink = read_uplink(one.server, one.document())
        if uplink is not None and uplink.payload:
            table = DECODERS[one.device]
            values = load_decoder(Path(table)).decode(uplink.f_port, uplink.payload)
            name = f"{one.device} {one.folder} {one.name}"
            yield _of_table(table, name, [(each.name, each.result) for each in values])


def _examples() -> Iterator[Recorded]:
    for table, examples in codec_examples().items():
        for number, one in enumerate(examples):
            if "errors" not in one:
                payload = bytes.fromhex(one["bytes"])
                values = load_decoder(Path(table)).decode(one["fPort"], payload)
                name = f"{table} example {number}"
                yield _of_table(table, name, [(each.name, each.result) for each in values])


def _stations() -> Iterator[Recorded]:
    for file in ("sensor_community_data.json", "invalid_data.json"):
        body = json.loads((_COMMUNITY / file).read_text(encoding="utf-8"))
        told = tuple(
            Value(each["value_type"], *_OF_COMMUNITY[each["value_type"]], float(each["value"]))
            for each in body["sensordatavalues"]
            if each["value_type"] in _OF_COMMUNITY and each["value"] is not None
        )
        yield Recorded("nettigo", file, told)


def _noons() -> Iterator[Recorded]:
    with gzip.open(_LONDON, "rt", encoding="utf-8", newline="") as text:
        for line in csv.DictReader(text):
            if line["date"].endswith("-01T12:00:00Z"):
                told = tuple(
                    Value(column, key, "", float(line[column]))
                    for column, key in _OF_LONDON.items()
                    if line[column]
                )
                yield Recorded(line["site"], f"{line['site']} {line['date']}", told)
