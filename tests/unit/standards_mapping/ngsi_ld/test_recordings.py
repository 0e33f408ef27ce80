"""What recorded devices reported, as entities: each follows its schema, and no term is unknown."""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from standards_mapping.ngsi_ld.entity import entities_of
from standards_mapping.ngsi_ld.rules import value_of
from standards_mapping.observation import Observation
from standards_mapping.registry import Datastream
from tests.simulators.recorded_sites import (
    LONDON,
    OF_LONDON,
    Recorded,
    examples,
    packets,
    particulates,
    stations,
    uplinks,
)
from tests.unit.standards_mapping.ngsi_ld.conftest import datastream, observation, thing
from tests.unit.standards_mapping.ngsi_ld.test_entity import Expand, Validate, check

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


def seen_of(recorded: Recorded) -> Seen:
    site = thing()
    found = []
    for number, value in enumerate(recorded.values, start=1):
        row = datastream(value.key, number, at=site, unit=value.unit)
        row = replace(row, short_name=value.name)
        found.append((row, observation(row, value.result)))
    return found


@pytest.mark.parametrize(
    ("kind", "least"),
    [(uplinks, 9), (examples, 7), (packets, 6), (particulates, 30), (stations, 2)],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_recorded_devices(
    kind: Callable[[], Iterator[Recorded]], least: int, validate: Validate, expand: Expand
) -> None:
    told = [one for one in kind() if one.values]
    assert len(told) >= least
    for one in told:
        assert hold(seen_of(one), validate, expand) > {"Device"}, one.name


def test_particles_and_stations_tell_of_the_air(validate: Validate, expand: Expand) -> None:
    for one in particulates():
        assert "AirQualityObserved" in hold(seen_of(one), validate, expand), one.name
    for one in stations():
        told = hold(seen_of(one), validate, expand)
        assert {"AirQualityObserved", "WeatherObserved"} < told, one.name


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
