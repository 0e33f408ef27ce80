"""What gateways describe becomes the entities of their council; conflicts change nothing."""

from datetime import UTC, datetime

import pytest

from storage import registry
from tests.integration.ingest_centre import NOW, OBSERVATIONS, QUARANTINE, START, Centre
from tests.simulators.gateway import SimulatedGateway, datastream, description, reading


async def test_description_makes_the_entities_of_its_council(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    assert await centre.rows(
        "SELECT tenant, urn, thing.name, approved, location.name, ST FROM thing"
        " JOIN council ON council.id = thing.council_id"
        " JOIN thing_location ON thing_id = thing.id JOIN location ON location.id = location_id,"
        " LATERAL (SELECT location -> 'coordinates' AS st) AS place"
    ) == [("camden", "urn:dev:site", "Site", True, "Bloomsbury", [-0.1259, 51.5223])]
    assert await centre.rows(
        "SELECT sensor.urn, short_name, unit, key, observation_type, valid_maximum,"
        " feature_of_interest.name"
        " FROM datastream JOIN sensor ON sensor.id = sensor_id"
        " JOIN observed_property ON observed_property.id = observed_property_id"
        " JOIN feature_of_interest ON feature_of_interest.id = feature_of_interest_id"
        " ORDER BY short_name"
    ) == [
        ("urn:dev:air", "bay", "bool", "bay_occupied", _type("Truth"), None, "Bloomsbury"),
        (
            "urn:dev:air",
            "no2",
            "ug/m3",
            "no2",
            _type("Measurement"),
            1000.0,
            "Bloomsbury",
        ),
    ]


def _type(kind: str) -> str:
    name = "OM_Measurement" if kind == "Measurement" else f"OM_{kind}Observation"
    return f"http://www.opengis.net/def/observationType/OGC-OM/2.0/{name}"


async def test_same_description_again_changes_nothing(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    counts = (
        "SELECT (SELECT count(*) FROM thing), (SELECT count(*) FROM location),"
        " (SELECT count(*) FROM historical_location), (SELECT count(*) FROM datastream)"
    )
    before = await centre.rows(counts)
    await centre.describe(
        gateway,
        description(datastream(valid=(0, 1000)), datastream("bay", "bay_occupied", "bool")),
    )
    assert await centre.rows(counts) == before == [(1, 1, 1, 2)]


async def test_moved_thing_remembers_where_it_was(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    moved = description(datastream(), place=(-0.1546, 51.5225, "Marylebone Road"))
    stored = await centre.describe(gateway, moved)
    assert [found.moved for found in stored.described] == [["urn:dev:site"]]
    assert await centre.rows(
        "SELECT location.name FROM thing_location JOIN location ON location.id = location_id"
    ) == [("Marylebone Road",)]
    assert await centre.rows(
        "SELECT location.name FROM historical_location AS h"
        " JOIN historical_location_location ON historical_location_id = h.id"
        " JOIN location ON location.id = location_id ORDER BY h.id"
    ) == [("Bloomsbury",), ("Marylebone Road",)]
    features = (
        "SELECT f.name FROM datastream JOIN feature_of_interest AS f"
        " ON f.id = feature_of_interest_id WHERE short_name = 'no2'"
    )
    assert await centre.rows(features) == [("Marylebone Road",)]
    await centre.describe(gateway, description(datastream()))
    assert await centre.rows("SELECT count(*) FROM location") == [(2,)], "back where it was"
    assert await centre.rows("SELECT count(*) FROM historical_location") == [(3,)]


async def test_sensor_of_another_gateway_is_a_conflict_and_stays_its_own(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    rival = await centre.enrol("w3n8b5rc6h", tenant="leeds")
    stored = await centre.describe(rival, description(datastream(), thing="urn:dev:rival"))
    assert [urn for urn, _ in stored.described[0].conflicts] == ["urn:dev:air"]
    await centre.describe(rival, description(datastream(), thing="urn:dev:rival"))
    assert await centre.rows("SELECT urn, settled_at FROM description_conflict") == [
        ("urn:dev:air", None)
    ]
    assert await centre.rows(
        "SELECT device FROM sensor JOIN gateway ON gateway.id = gateway_id"
    ) == [("k7q2m9xd4t",)]
    await centre.take(rival.report([reading(1, time=START)]))
    assert [row[0] for row in await centre.rows(QUARANTINE)] == ["unknown-datastream"]
    stored = await centre.describe(rival, description(datastream(), sensor="urn:dev:rival:air"))
    assert [urn for urn, _ in stored.described[0].conflicts] == ["urn:dev:site"]


async def test_changed_unit_is_a_conflict_and_the_old_one_stays(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    stored = await centre.describe(gateway, description(datastream(unit="mg/m3")))
    assert len(stored.described[0].conflicts) == 1
    assert await centre.rows("SELECT unit FROM datastream WHERE short_name = 'no2'") == [("ug/m3",)]
    assert await centre.rows("SELECT sha256 FROM gateway_description") == [(b"",)]


async def test_description_awaiting_approval_is_stored_but_not_shown(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.conn.execute("UPDATE council SET descriptions_need_approval = true")
    await centre.describe(gateway)
    await centre.take(gateway.report([reading(1, time=START)]))
    assert await centre.rows("SELECT approved FROM thing") == [(False,)]
    assert len(await centre.rows(OBSERVATIONS)) == 1


async def test_key_of_one_gateway_cannot_be_registered_for_another(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.enrol("w3n8b5rc6h")
    until = datetime.fromtimestamp(NOW + 99_999, UTC)
    renewal = {"key": gateway.verifying_key, "valid_from": START, "valid_until": until}
    await registry.add_signing_key(centre.conn, device="k7q2m9xd4t", **renewal)  # type: ignore[arg-type]
    with pytest.raises(registry.TakenError):
        await registry.add_signing_key(centre.conn, device="w3n8b5rc6h", **renewal)  # type: ignore[arg-type]
    [row] = await registry.gateways(centre.conn, "k7q2m9xd4t")
    assert [key.valid_until for key in row.keys] == [NOW + 99_999]


async def test_gateway_belongs_to_one_council(centre: Centre) -> None:
    await centre.enrol("k7q2m9xd4t")
    await centre.enrol("w3n8b5rc6h", tenant="leeds")
    with pytest.raises(registry.TakenError):
        await registry.add_gateway(centre.conn, tenant="leeds", device="k7q2m9xd4t", label="")
    with pytest.raises(registry.UnknownCouncilError):
        await registry.add_gateway(centre.conn, tenant="atlantis", device="x", label="")
    with pytest.raises(registry.UnknownGatewayError):
        await registry.set_gateway_status(
            centre.conn, device="nobody", status="revoked", actor="operator test"
        )
