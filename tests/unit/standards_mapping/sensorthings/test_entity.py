from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.conformance import CONFORMANCE, RECEIVE_UPDATES, landing_page
from standards_mapping.sensorthings.entity import (
    EntityWriter,
    Row,
    address,
    instant,
    period,
    result_quality,
    unit_of_measurement,
)
from standards_mapping.sensorthings.expression import Literal, Period, parse_filter
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.options import Options, parse_options

ROOT = "https://example.org/sensorthings/v1.1"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OBSERVATION = ENTITY_TYPES["Observation"]
KEY = ObservationId.of(12, NOON)
HOURLY = Row(
    KEY,
    {
        "phenomenonTime": (NOON - timedelta(hours=1), NOON),
        "result": 20.5,
        "resultTime": NOON,
        "resultQuality": 6,
    },
    {},
)


def test_an_observation_of_a_mean_says_its_interval() -> None:
    link = f"{ROOT}/Observations('12-1772366400000000')"
    assert EntityWriter(OBSERVATION, ROOT, Options()).write(HOURLY) == {
        "@iot.id": "12-1772366400000000",
        "@iot.selfLink": link,
        "phenomenonTime": "2026-03-01T11:00:00Z/2026-03-01T12:00:00Z",
        "result": 20.5,
        "resultTime": "2026-03-01T12:00:00Z",
        "resultQuality": {"code": 6, "flags": ["clock-unsynchronised", "replayed"]},
        "Datastream@iot.navigationLink": f"{link}/Datastream",
        "FeatureOfInterest@iot.navigationLink": f"{link}/FeatureOfInterest",
    }


def test_nulls_are_left_out_but_for_result_and_result_time() -> None:
    values: dict[str, Any] = {"result": None, "resultTime": None, "resultQuality": 0}
    found = EntityWriter(OBSERVATION, ROOT, Options()).write(Row(KEY, values, {}))
    assert found["result"] is None
    assert found["resultTime"] is None
    assert "resultQuality" not in found


def test_only_what_is_selected_is_given() -> None:
    options = parse_options([("$select", "id,result,Datastream")], OBSERVATION)
    row = Row(KEY, {"result": 20.5}, {})
    assert list(EntityWriter(OBSERVATION, ROOT, options).write(row)) == [
        "@iot.id",
        "result",
        "Datastream@iot.navigationLink",
    ]


def test_an_expanded_link_is_not_given_twice() -> None:
    options = parse_options([("$expand", "Datastream")], OBSERVATION)
    found = EntityWriter(OBSERVATION, ROOT, options).write(HOURLY)
    assert "Datastream@iot.navigationLink" not in found
    assert "FeatureOfInterest@iot.navigationLink" in found


def test_empty_properties_are_left_out() -> None:
    row = Row(1, {"name": "A", "description": "B", "properties": {}}, {})
    assert "properties" not in EntityWriter(ENTITY_TYPES["Thing"], ROOT, Options()).write(row)


def test_units_are_given_by_ucum_code_and_qudt_iri() -> None:
    assert unit_of_measurement("ug/m3") == {
        "name": "microgram per cubic metre",
        "symbol": "ug/m3",
        "definition": "http://qudt.org/vocab/unit/MicroGM-PER-M3",
    }
    assert unit_of_measurement("dBm")["symbol"] == "dBm"  # UCUM has no code for it
    assert set(unit_of_measurement("bool").values()) == {None}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-03-01T12:00:00Z"),
        (NOON.replace(microsecond=250_000), "2026-03-01T12:00:00.250000Z"),
    ],
)
def test_instants_are_utc(moment: datetime, text: str) -> None:
    assert instant(moment) == text


@given(
    st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(0), max_value=timedelta(days=400))
)
def test_mapping_never_moves_a_time(start: datetime, length: timedelta) -> None:
    try:
        end = start + length
    except OverflowError:
        return
    found = parse_filter(period(start, end))
    assert found == Literal(Period(start, end) if length else end)


def test_quality_is_told_only_if_something_is_flagged() -> None:
    assert result_quality(0) is None
    assert result_quality(1) == {"code": 1, "flags": ["out-of-range"]}


def test_addresses_quote_texts_and_not_numbers() -> None:
    assert address(ENTITY_TYPES["FeatureOfInterest"], 3) == "FeaturesOfInterest(3)"
    assert address(OBSERVATION, KEY) == "Observations('12-1772366400000000')"


def test_the_landing_page_lists_the_eight_sets_and_only_whole_classes() -> None:
    page = landing_page(ROOT)
    assert [entry["url"] for entry in page["value"]] == [
        f"{ROOT}/{name}"
        for name in (
            "Things",
            "Locations",
            "HistoricalLocations",
            "Datastreams",
            "Sensors",
            "ObservedProperties",
            "Observations",
            "FeaturesOfInterest",
        )
    ]
    claimed = page["serverSettings"]["conformance"]
    assert claimed == list(CONFORMANCE)
    assert "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data" in claimed
    for uri in claimed:  # a class says it all; what is in it is not said again
        assert not any(other.startswith(f"{uri}/") for other in claimed)


def test_the_landing_page_tells_of_mqtt_only_where_there_is_a_broker() -> None:
    assert set(landing_page(ROOT)["serverSettings"]) == {"conformance"}
    settings = landing_page(ROOT, ("mqtts://mqtt.example.org:8893",))["serverSettings"]
    assert settings[RECEIVE_UPDATES] == {
        "endpoints": ["mqtts://mqtt.example.org:8893"],
        "topics": ["v1.1/Datastreams(id)/Observations", "v1.1/Observations"],
    }
    assert RECEIVE_UPDATES not in settings["conformance"]  # only wholes are claimed
