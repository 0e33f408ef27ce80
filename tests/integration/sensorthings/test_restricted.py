"""A stranger asks SensorThings about what is restricted: as if it were not registered at all.

Two cities are asked the same: in one Bloomsbury's datastreams are restricted, in the other they
hang on a Thing that awaits approval. Status, content and headers must be equal.
"""

from contextlib import AsyncExitStack

import orjson
import pytest

from api.sensorthings.routes import PREFIX
from storage.database import connect
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.conftest import serve
from tests.simulators.registry import City, seed_city

Asked = tuple[str, dict[str, str]]
Told = dict[str, tuple[int, str, dict[str, str]]]

SETS = (
    "Things",
    "Locations",
    "HistoricalLocations",
    "Datastreams",
    "Sensors",
    "ObservedProperties",
    "Observations",
    "FeaturesOfInterest",
)
HERE = "geography'POINT (-0.1259 51.5225)'"
QUESTIONS: list[Asked] = [
    *[(name, {"count": "true", "top": "3"}) for name in SETS],
    *[(f"{name}/$ref", {}) for name in SETS],
    *[(name, {"orderby": "id desc", "count": "true"}) for name in SETS],
    *[
        (name, {"filter": f"{way}/name ge ''", "count": "true"})
        for name, way in (
            ("Things", "Datastreams"),
            ("Things", "Datastreams/Sensor"),
            ("Things", "Datastreams/ObservedProperty"),
            ("Sensors", "Datastreams"),
            ("Sensors", "Datastreams/Thing"),
            ("ObservedProperties", "Datastreams"),
            ("ObservedProperties", "Datastreams/Thing/Locations"),
            ("Locations", "Things"),
            ("Locations", "HistoricalLocations/Thing"),
            ("Locations", "Things/Datastreams"),
            ("HistoricalLocations", "Thing"),
            ("HistoricalLocations", "Thing/Datastreams"),
            ("HistoricalLocations", "Locations"),
            ("FeaturesOfInterest", "Observations/Datastream"),
            ("FeaturesOfInterest", "Observations/Datastream/Thing"),
            ("Datastreams", "Thing"),
            ("Observations", "Datastream/Thing"),
            ("Observations", "FeatureOfInterest"),
        )
    ],
    *[
        (name, {"filter": text, "count": "true"})
        for name, text in (
            ("Things", "Datastreams/Observations/result gt 30"),
            ("Things", "not (Datastreams/Observations/result gt 30)"),
            ("Sensors", "Datastreams/Observations/result lt 1e9"),
            ("ObservedProperties", "Datastreams/Observations/result gt 30"),
            ("FeaturesOfInterest", "Observations/result gt 30"),
            ("FeaturesOfInterest", "Observations/phenomenonTime gt 2026-03-01T12:00:00Z"),
            ("Datastreams", "phenomenonTime gt 2000-01-01T00:00:00Z"),
            ("Datastreams", "Observations/result gt 30"),
            ("Observations", "result gt 0"),
            ("Observations", "result lt 0 or result ge 0"),
            ("Observations", f"st_intersects(FeatureOfInterest/feature, {HERE})"),
            ("Locations", f"geo.distance(location, {HERE}) lt 0.01"),
            ("Locations", f"st_within(location, {HERE})"),
            ("Things", f"geo.distance(Locations/location, {HERE}) lt 0.01"),
            ("Datastreams", f"geo.distance(observedArea, {HERE}) lt 0.01"),
            ("FeaturesOfInterest", f"geo.distance(feature, {HERE}) ge 0"),
        )
    ],
    *[
        (name, {"orderby": by, "top": "2"})
        for name, by in (
            ("Observations", "phenomenonTime desc"),
            ("Observations", "result desc"),
            ("Observations", "FeatureOfInterest/name"),
            ("Observations", "Datastream/Thing/name,phenomenonTime"),
            ("HistoricalLocations", "Thing/name"),
            ("HistoricalLocations", "time desc"),
            ("Datastreams", "Thing/name,Sensor/name"),
            ("Datastreams", "phenomenonTime desc"),
        )
    ],
    *[
        (name, {"expand": links, "count": "true"})
        for name, links in (
            ("Things", "Datastreams($count=true;$expand=Observations($count=true;$top=2))"),
            ("Things", "HistoricalLocations($count=true;$expand=Locations),Locations"),
            ("Locations", "Things($count=true),HistoricalLocations($count=true;$expand=Thing)"),
            ("HistoricalLocations", "Thing($expand=Datastreams),Locations"),
            ("Sensors", "Datastreams($count=true;$expand=Thing,Observations($top=1))"),
            ("ObservedProperties", "Datastreams($count=true;$expand=Sensor)"),
            ("FeaturesOfInterest", "Observations($count=true;$top=2;$expand=Datastream)"),
            ("Observations", "FeatureOfInterest,Datastream($expand=Thing,Sensor)"),
        )
    ],
    *[
        ("Observations", {"resultFormat": form, "count": "true"})
        for form in ("dataArray", "CSV", "GeoJSON")
    ],
    *[(name, {"resultFormat": "GeoJSON"}) for name in ("Things", "Locations", "Datastreams")],
]
"""Asked of both cities, beside what names an entity by its id."""

LINKS = {
    "Things": ("Datastreams", "Locations", "HistoricalLocations"),
    "Locations": ("Things", "HistoricalLocations"),
    "HistoricalLocations": ("Thing", "Locations"),
    "Datastreams": ("Thing", "Sensor", "ObservedProperty", "Observations", "Observations/$ref"),
    "Sensors": ("Datastreams", "Datastreams/$ref"),
    "ObservedProperties": ("Datastreams",),
    "FeaturesOfInterest": ("Observations",),
}

_OF_BLOOMSBURY = (
    "SELECT d.id FROM datastream d JOIN thing t ON t.id = d.thing_id"
    " JOIN observed_property p ON p.id = d.observed_property_id"
    " WHERE t.name = 'Bloomsbury' AND (p.key = 'no2' OR %s)"
)
_TO_SECRET = (
    "UPDATE datastream SET thing_id = (SELECT id FROM thing WHERE name = 'Secret')"
    " WHERE id = ANY(%s)"
)


async def seed(dsn: str, *, every: bool, restricted: bool) -> City:
    """Fill a city in which Bloomsbury's datastreams are restricted, or as good as not there."""
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        city = await seed_city(conn)
        rows = await (await conn.execute(_OF_BLOOMSBURY, (every,))).fetchall()
        numbers = [row[0] for row in rows]
        assert numbers
        if restricted:
            await conn.execute(
                "UPDATE datastream SET access = 'restricted' WHERE id = ANY(%s)", (numbers,)
            )
            return city
        await conn.execute(_TO_SECRET, (numbers,))
        if every:
            await conn.execute("UPDATE thing SET approved = false WHERE name = 'Bloomsbury'")
        return city


def questions(city: City) -> list[Asked]:
    """Return what is asked, every entity of the city by its id among it."""
    seen = next(one for one in city.observations if one.stream == "Bloomsbury no2")
    asked = [
        *QUESTIONS,
        *[
            (f"Observations('{seen.id}'){rest}", {})
            for rest in ("", "/result/$value", "/Datastream", "/FeatureOfInterest", "/versions")
        ],
        (f"Datastreams({seen.datastream_id})/Observations('{seen.id}')", {}),
    ]
    for name, links in LINKS.items():
        for number in range(1, 12):
            asked.append((f"{name}({number})", {}))
            asked.append((f"{name}({number})/$ref", {}))
            asked += [(f"{name}({number})/{link}", {}) for link in links]
    return asked


async def ask(dsn: str, city: City) -> Told:
    """Return what a stranger is told, by question: status, content and headers."""
    told: Told = {}
    async with serve(dsn) as service:
        for path, options in questions(city):
            answer = await service.ask(path, **options)
            assert answer.status_code < 500, answer.text
            told[f"{path} {options}"] = (
                answer.status_code,
                answer.text,
                {name: text for name, text in answer.headers.items() if name != "date"},
            )
        parts = [
            {"id": str(number), "method": "get", "url": f"Datastreams({number})/Observations"}
            for number in range(1, 12)
        ]
        batch = await service.client.post(
            f"{PREFIX}/$batch",
            content=orjson.dumps({"requests": parts}),
            headers={"Content-Type": "application/json"},
        )
        told["batch"] = (batch.status_code, batch.text, {})
    return told


@pytest.mark.parametrize("every", [False, True], ids=["one datastream", "the whole site"])
async def test_what_is_restricted_is_as_if_unknown(
    database_server: DatabaseServer, *, every: bool
) -> None:
    told: list[Told] = []
    async with AsyncExitStack() as stack:
        for restricted in (True, False):
            dsn = await database_server.create()
            stack.push_async_callback(database_server.drop, dsn)
            told.append(await ask(dsn, await seed(dsn, every=every, restricted=restricted)))
    hidden, absent = told
    answered = [key for key, (status, _, _) in hidden.items() if status == 200]
    assert len(answered) > len(QUESTIONS)
    assert {key: (hidden[key], absent[key]) for key in hidden if hidden[key] != absent[key]} == {}
