"""ETSI's cases 022 to 027: which types and attributes there are."""

from typing import Any

import pytest

from tests.integration.ngsi_ld.etsi import Etsi, load, plain

BUILDING = "entities/building-simple-attributes.json"
VEHICLE = "entities/vehicle-simple-attributes.json"
ONE, TWO = "urn:ngsi-ld:Building:1", "urn:ngsi-ld:Building:2"


def expected(name: str) -> Any:
    """Return an expectation; the id of a list is the broker's own."""
    document = load(f"types/expectations/{name}.json")
    if isinstance(document, dict) and "List" in document["type"]:
        del document["id"]
    return plain(document)


async def answer(etsi: Etsi, path: str, **given: Any) -> Any:
    found = await etsi.get(path, **given)
    if isinstance(found, dict) and "List" in found["type"]:
        assert found.pop("id").startswith("urn:ngsi-ld:")
    return plain(found)


@pytest.mark.parametrize(
    ("linked", "case"), [(False, "01"), (True, "02")], ids=["no-context", "context"]
)
async def test_022_01_and_023_01_types(*, linked: bool, case: str, etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE)
    etsi.add(VEHICLE, "urn:ngsi-ld:Vehicle:1")
    assert await answer(etsi, "types", linked=linked) == expected(f"entity-type-list-022-01-{case}")
    detailed = await answer(etsi, "types", linked=linked, details="true")
    assert detailed == expected(f"entity-type-023-01-{case}")


async def test_024_01_01_a_type_by_a_name_without_its_context(etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE)
    await etsi.refused(404, "ResourceNotFound", "types/Building")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Building", id="024_02_01"),
        pytest.param("https%3A%2F%2Fngsi-ld-test-suite%2Fcontext%23Building", id="024_02_02"),
    ],
)
async def test_024_02_a_type(name: str, etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE, TWO)
    found = await answer(etsi, f"types/{name}", linked=True)
    assert found == expected("entity-type-info-024-01")


@pytest.mark.parametrize(
    ("linked", "case"), [(False, "01"), (True, "02")], ids=["no-context", "context"]
)
async def test_025_01_and_026_01_attributes(*, linked: bool, case: str, etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE)
    found = await answer(etsi, "attributes", linked=linked)
    assert found == expected(f"attribute-list-025-01-{case}")
    detailed = await answer(etsi, "attributes", linked=linked, details="true")
    assert detailed == expected(f"attribute-026-01-{case}")


async def test_027_01_01_an_attribute_by_a_name_without_its_context(etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE)
    await etsi.refused(404, "ResourceNotFound", "attributes/airQualityLevel")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("airQualityLevel", id="027_02_01"),
        pytest.param(
            "https%3A%2F%2Fngsi-ld-test-suite%2Fcontext%23airQualityLevel", id="027_02_02"
        ),
    ],
)
async def test_027_02_an_attribute(name: str, etsi: Etsi) -> None:
    etsi.add(BUILDING, ONE)
    found = await answer(etsi, f"attributes/{name}", linked=True)
    assert found == expected("attribute-027-01")
