"""What recorded devices reported, as entities: each follows its schema, and no term is unknown."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from edge_agent.inputs.payload import load_decoder
from edge_agent.inputs.uplinks import read_uplink
from standards_mapping.ngsi_ld.entity import entities_of
from standards_mapping.ngsi_ld.rules import value_of
from standards_mapping.observation import Observation, Result
from standards_mapping.registry import Datastream
from tests.unit.edge_agent.lorawan_recordings import DECODERS, RECORDINGS, Recording, codec_examples
from tests.unit.standards_mapping.ngsi_ld.conftest import datastream, observation, thing
from tests.unit.standards_mapping.ngsi_ld.test_entity import Expand, Validate, check

ROOT = Path(__file__).parents[4]
LONDON = ROOT / "command_line/demo/data/london_2009_hourly.csv.gz"
COMMUNITY = ROOT / "tests/data/sensor_community/nettigo"
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
OF_COMMUNITY = {  # what a value is, and the unit it is in
    "SDS_P1": ("pm10", "ug/m3"),
    "SDS_P2": ("pm25", "ug/m3"),
    "BME280_temperature": ("air_temperature", "Cel"),
    "BME280_humidity": ("relative_humidity", "%RH"),
    "BME280_pressure": ("air_pressure", "Pa"),
    "signal": ("rssi", "dBm"),
}

UPLINKS = [one for one in RECORDINGS if one.folder == "ThingsStackCommunity"]  # as by others
Seen = Sequence[tuple[Datastream, Observation]]


def hold(seen: Seen, validate: Validate, expand: Expand) -> set[str]:
    """Check the entities made of these; return their types."""
    rows = [row for row, _ in seen]
    latest = {row.id: each for row, each in seen}
    found = entities_of([row.thing for row in rows], rows, latest)
    for entity in found:
        check(entity, validate, expand)
    told = {each.type for each in found}
    assert {row.observed_property.model for row, each in seen if value_of(row, each)} <= told
    return told


def of_table(name: str, values: Sequence[tuple[str, Result]]) -> Seen:
    known = {one.name: one for one in load_decoder(Path(name)).table.datastream}
    site = thing()
    found = []
    for number, (stream, result) in enumerate(values, start=1):
        one = known.get(stream)
        if one is None:
            continue
        row = datastream(one.observed_property, number, at=site, unit=one.unit)
        row = replace(row, short_name=stream)
        found.append((row, observation(row, result)))
    return found


@pytest.mark.parametrize(
    "recording", UPLINKS, ids=lambda one: f"{one.device}-{one.folder}-{one.name}"
)
def test_recorded_uplinks(recording: Recording, validate: Validate, expand: Expand) -> None:
    uplink = read_uplink(recording.server, recording.document())
    assert uplink is not None
    table = DECODERS[recording.device]
    values = load_decoder(Path(table)).decode(uplink.f_port, uplink.payload)
    told = hold(of_table(table, [(one.name, one.result) for one in values]), validate, expand)
    assert told > {"Device"}


@pytest.mark.parametrize("table", codec_examples())
def test_makers_examples(table: str, validate: Validate, expand: Expand) -> None:
    for example in codec_examples()[table]:
        if "errors" not in example:
            payload = bytes.fromhex(example["bytes"])
            values = load_decoder(Path(table)).decode(example["fPort"], payload)
            seen = of_table(table, [(one.name, one.result) for one in values])
            assert hold(seen, validate, expand) > {"Device"} or not seen  # of settings alone


@pytest.mark.parametrize("file", ["sensor_community_data.json", "invalid_data.json"])
def test_stations_of_citizens(file: str, validate: Validate, expand: Expand) -> None:
    body = json.loads((COMMUNITY / file).read_text(encoding="utf-8"))
    site = thing()
    seen = []
    for number, each in enumerate(body["sensordatavalues"], start=1):
        if each["value_type"] in OF_COMMUNITY and each["value"] is not None:
            key, unit = OF_COMMUNITY[each["value_type"]]
            row = datastream(key, number, at=site, unit=unit)
            seen.append((row, observation(row, float(each["value"]))))
    assert {"AirQualityObserved", "WeatherObserved"} < hold(seen, validate, expand)


def hours() -> Iterator[tuple[str, str, Seen]]:
    """Every hour that was recorded at a site, with what it lacks left out."""
    rows: dict[str, dict[str, Datastream]] = {}
    with gzip.open(LONDON, "rt", encoding="utf-8", newline="") as text:
        for line in csv.DictReader(text):
            if line["site"] not in rows:
                site = thing(len(rows) + 1)
                rows[line["site"]] = {
                    column: datastream(key, 10 * len(rows) + number, at=site)
                    for number, (column, key) in enumerate(OF_LONDON.items())
                }
            yield (
                line["site"],
                line["date"],
                [
                    (
                        row,
                        observation(row, float(line[column]), datetime.fromisoformat(line["date"])),
                    )
                    for column, row in rows[line["site"]].items()
                    if line[column]
                ],
            )


def test_a_year_of_london_is_told_but_for_what_the_model_forbids() -> None:
    for _, _, seen in hours():
        for row, each in seen:
            value = value_of(row, each)
            assert isinstance(each.result, float)
            if value is None:
                assert each.result < 0
            else:
                assert value == each.result


def test_three_noons_of_london(validate: Validate, expand: Expand) -> None:
    told: set[str] = set()
    sites: set[str] = set()
    for site, date, seen in hours():
        if date < "2009-01-04" and date.endswith("T12:00:00Z"):
            told |= hold(seen, validate, expand)
            sites.add(site)
    assert told == {"AirQualityObserved", "WeatherObserved", "DeviceMeasurement", "Device"}
    assert len(sites) == 4
