"""What is asked of all entities at once is answered as by each of them, wholly put together."""

from itertools import product

import pytest

from api.ngsi_ld.answer import Answers
from api.ngsi_ld.provider import OwnProvider
from standards_mapping.ngsi_ld.parameters import parse_request
from storage.database import open_pool
from storage.ngsi_ld.reader import reading

CONDITIONS = (
    "",
    "no2",
    "no2>60",
    "no2<60|temperature>-50",
    "no2==0..60;no2.observedAt>2026-03-01T00:00:00Z",
    'no2.unitCode=="GQ"',
    "no2.datasetId",
    'status=="free"|no2>60',
    'name=="Bloomsbury"',
    "temperature;relativeHumidity",
)
PLACES = ("", "near;maxDistance==500", "near;minDistance==500", "disjoint")
ATTRIBUTES = ("", "no2", "temperature,LAeq", "location")
TYPES = ("", "AirQualityObserved", "Device")
STATED = (
    'name=="Kerb"',
    'name~="^[BN]"',
    'description=="Station Lone"',
    "description",
    'alternateName=="urn:thing:6"|alternateName=="urn:sensor:5"',
    'dataProvider=="Camden"',
    'areaServed!="E09000007"',
    "source",
    'serialNumber=="7"',
    "refDevice==urn:ngsi-ld:Device:E09000007:sensor:4",
    "refParkingSite",
    'category=="onStreet"',
    'status=="free"|status=="ok"',
    'vehicleType=="bicycle"',
    'controlledProperty=="airPollution"',
    'controlledProperty=="particle_size";unit',
    'deviceCategory=="sensor"',
    "dateObserved>2026-03-02T00:00:00Z",
    "dateObserved<=2026-03-02T00:00:00Z;location",
    "dateObservedFrom",
    "dateLastValueReported<2026-03-02T12:00:00Z",
    'name=="Kerb";relativeHumidity>0.5|batteryLevel',
)
"""What the registry says of a site and of a sensor, and times."""
RESTRICTED = {'description=="Station Lone"', 'serialNumber=="7"'}
"""What holds of nothing that a stranger may see."""
PAGES = ((0, 1), (1, 2), (0, 100))


def question(kind: str, q: str, georel: str, attrs: str) -> dict[str, str]:
    given = {"local": "true", "count": "true", "type": kind, "q": q, "attrs": attrs}
    if georel:
        given |= {"georel": georel, "geometry": "Point", "coordinates": "[-0.1546,51.5225]"}
    return {name: text for name, text in given.items() if text}


@pytest.mark.parametrize("kind", TYPES)
async def test_examined_as_the_whole_entities(seeded: tuple[str, object], kind: str) -> None:
    vocabulary = OwnProvider().default("http://city.test")
    numbers: set[int] = set()
    async with (
        open_pool(seeded[0], application_name="kerbstone test") as pool,
        reading(pool, None, ()) as source,
    ):
        for q, georel, attrs in product(CONDITIONS, PLACES, ATTRIBUTES):
            given = question(kind, q, georel, attrs)
            query = parse_request(given, vocabulary)
            wanted = [
                one.id
                for one in await source.load(await source.find(query.selectors))
                if (query.condition is None or query.condition.holds(one))
                and (query.geo is None or query.geo.holds(one))
                and (not query.output.attributes or query.output.attributes & set(one.attributes))
            ]
            numbers.add(len(wanted))
            for offset, limit in PAGES:
                asked = given | {"offset": str(offset), "limit": str(limit)}
                page = await Answers(source, vocabulary).entities(parse_request(asked, vocabulary))
                told = [one["id"] for one in page.entities]
                assert told == wanted[offset : offset + limit], asked
                assert page.count == len(wanted), asked
                assert page.more == (offset + limit < len(wanted)), asked
    assert len(numbers) > 1, "every question had the same answer"


@pytest.mark.parametrize("own", [False, True], ids=["stranger", "council"])
async def test_stated_attributes_are_examined_as_in_whole_entities(
    varied: tuple[str, int], *, own: bool
) -> None:
    dsn, council = varied
    vocabulary = OwnProvider().default("http://city.test")
    seen: set[str] = set()
    async with (
        open_pool(dsn, application_name="kerbstone test") as pool,
        reading(pool, None, (council,) if own else ()) as source,
    ):
        for q, georel in product(STATED, ("", "near;maxDistance==2500")):
            given = question("", q, georel, "")
            query = parse_request(given, vocabulary)
            wanted = [
                one.id
                for one in await source.load(await source.find(query.selectors))
                if (query.condition is None or query.condition.holds(one))
                and (query.geo is None or query.geo.holds(one))
            ]
            seen.update([q] if wanted else [])
            page = await Answers(source, vocabulary).entities(query)
            assert [one["id"] for one in page.entities] == wanted[: query.limit], given
            assert page.count == len(wanted), given
    assert seen == set(STATED) - (set() if own else RESTRICTED)
