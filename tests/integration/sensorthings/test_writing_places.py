"""Observations kept by hand of a Thing that moved: each is about the place where it began."""

import csv
import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.sensorthings.writing import Writing, location_body

MOVES = (
    ("2020-02-01T00:00:00Z", "Gate", -0.10),
    ("2020-03-01T00:00:00Z", "Yard", -0.20),
)
SEEN = (
    ("2020-01-10T00:00:00Z/2020-03-01T00:00:00Z", "Gate"),  # before the first known place
    ("2020-02-12T00:00:00Z/2020-03-12T00:00:00Z", "Gate"),
    ("2020-03-05T00:00:00Z", "Yard"),
    ("2020-03-01T00:00:00Z/2020-03-20T00:00:00Z", "Yard"),
)
"""The phenomenonTime of each result 1, 2, … and where it is; the second moved with the Thing."""

POINTS = {"Gate": [-0.10, 51.52], "Yard": [-0.20, 51.52]}


@pytest.fixture(scope="module")
async def stream(centre: Writing) -> int:
    """The id of a datastream whose Thing moved while an interval of it lasted."""
    thing, stream = await centre.survey("Moved")
    for since, name, longitude in MOVES:
        body: Any = {"time": since, "Locations": [location_body(name, longitude)]}
        await centre.create(f"Things({thing})/HistoricalLocations", body)
    for result, (when, _) in enumerate(SEEN, 1):
        body = {"result": result, "phenomenonTime": when}
        await centre.create(f"Datastreams({stream})/Observations", body)
    return stream


def at(name: str) -> list[int]:
    """Return the results that were observed at a place."""
    return [result for result, (_, where) in enumerate(SEEN, 1) if where == name]


async def test_an_observation_leads_to_the_feature_where_its_interval_began(
    centre: Writing, stream: int
) -> None:
    url = f"Datastreams({stream})/Observations"
    page = await centre.get(f"{url}?$expand=FeatureOfInterest")
    told = {one["result"]: one["FeatureOfInterest"]["name"] for one in page["value"]}
    assert told == {result: where for result, (_, where) in enumerate(SEEN, 1)}
    for one in page["value"]:
        alone = await centre.get(f"{one['@iot.selfLink']}/FeatureOfInterest")
        assert alone == one["FeatureOfInterest"]


@pytest.mark.parametrize("name", ["Gate", "Yard"])
async def test_a_feature_leads_to_the_observations_that_began_there(
    name: str, centre: Writing, stream: int
) -> None:
    of_stream = f"Observations/Datastream/id eq {stream}"
    [feature] = (await centre.get(f"FeaturesOfInterest?$filter=name eq '{name}' and {of_stream}"))[
        "value"
    ]
    observations = f"{feature['@iot.selfLink']}/Observations"
    for order, expected in (("", at(name)), ("&$orderby=result desc", at(name)[::-1])):
        page = await centre.get(f"{observations}?$count=true{order}")
        assert [one["result"] for one in page["value"]] == expected
        assert page["@iot.count"] == len(expected)
    chosen = f"Datastreams({stream})/Observations?$count=true&$filter=FeatureOfInterest/id eq "
    for more in ("", " and 1 div result gt -1"):  # with what may fail read in another way
        page = await centre.get(f"{chosen}{feature['@iot.id']}{more}")
        assert [one["result"] for one in page["value"]] == at(name)
        assert page["@iot.count"] == len(at(name))
    for result, (_, where) in enumerate(SEEN, 1):
        for more in ("", f" and 6 div {result} gt 0"):
            condition = f"{of_stream} and Observations/result eq {result}{more}"
            found = await centre.get(f"FeaturesOfInterest?$filter={condition}")
            assert [one["name"] for one in found["value"]] == [where]


async def test_other_standards_tell_the_same_place(centre: Writing, stream: int) -> None:
    span = "from=2020-03-01T00:00:00Z&to=2020-04-01T00:00:00Z"
    expected = {float(result): POINTS[where] for result, (_, where) in enumerate(SEEN, 1)}

    text = (await centre.anybody.get(f"http://localhost/data/camden/no2.csv?{span}")).text
    assert {
        float(row["value"]): [float(row["longitude"]), float(row["latitude"])]
        for row in csv.DictReader(io.StringIO(text))
    } == expected

    answer = await centre.anybody.get(f"http://localhost/data/camden/no2.geojson?{span}")
    assert {
        one["properties"]["value"]: one["geometry"]["coordinates"]
        for one in answer.json()["features"]
    } == expected

    url = f"http://localhost/sosa/observations?{span}&datastream={stream}"
    graph: list[Any] = (await centre.anybody.get(url)).json()["@graph"]
    wkt = {one["id"]: one["hasGeometry"]["asWKT"] for one in graph if "hasGeometry" in one}
    assert {
        one["hasSimpleResult"]: wkt[one["hasFeatureOfInterest"]].rpartition("POINT")[2]
        for collection in graph
        for one in collection.get("hasMember", ())
    } == {result: f"({east!r} {north!r})" for result, (east, north) in expected.items()}


async def test_observations_of_every_length_are_found_at_the_place_where_they_began(
    centre: Writing,
) -> None:
    """Stays of a month, intervals of up to half a year: by hand, by feature and by observation."""
    thing, stream = await centre.survey("Wanderer")
    stays = [datetime(2021, month, 1, tzinfo=UTC) for month in range(1, 9)]
    for number, since in enumerate(stays):
        place = location_body(f"Stop {number % 6}", number % 6 / 100)  # two places are seen again
        found = (await centre.get(f"Locations?$filter=name eq '{place['name']}'"))["value"]
        known: Any = {"@iot.id": found[0]["@iot.id"]} if found else place
        body: Any = {"time": since.isoformat(), "Locations": [known]}
        await centre.create(f"Things({thing})/HistoricalLocations", body)
    draw = random.Random(7)  # noqa: S311 - nothing secret
    first = datetime(2020, 11, 1, tzinfo=UTC)
    rows: list[Any] = []
    expected: dict[str, set[int]] = {}
    for result in range(60):
        began = first + timedelta(hours=draw.randrange(24 * 330), minutes=result)
        length = timedelta(hours=draw.choice((0, 0, 1, 24 * 28, 24 * 180)))
        rows.append([f"{began.isoformat()}/{(began + length).isoformat()}", result])
        at_the_time = sum(since <= began for since in stays[1:])
        expected.setdefault(f"Stop {at_the_time % 6}", set()).add(result)
    array = {
        "Datastream": {"@iot.id": stream},
        "components": ["phenomenonTime", "result"],
        "dataArray": rows,
    }
    answer = await centre.camden.post("CreateObservations", json=[array])
    assert not [told for told in answer.json() if told.startswith("error")]

    ordered = ("phenomenonTime desc", "result", "phenomenonTime")
    for order in ordered:
        page = await centre.get(
            f"FeaturesOfInterest?$filter=startswith(name,'Stop')&$expand=Observations("
            f"$top=100;$count=true;$orderby={order})"
        )
        told = {
            one["name"]: {seen["result"] for seen in one["Observations"]} for one in page["value"]
        }
        assert told == expected
        assert [one["Observations@iot.count"] for one in page["value"]] == [
            len(one["Observations"]) for one in page["value"]
        ]
    page = await centre.get(f"FeaturesOfInterest?$filter=Observations/Datastream/id eq {stream}")
    assert {one["name"] for one in page["value"]} == set(expected)
    each = await centre.get(f"Datastreams({stream})/Observations?$expand=FeatureOfInterest")
    for seen in each["value"]:
        assert seen["result"] in expected[seen["FeatureOfInterest"]["name"]]
