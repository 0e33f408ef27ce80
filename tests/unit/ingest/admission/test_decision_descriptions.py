"""Descriptions: which are taken, and what of them is left out."""

from dataclasses import replace

import pytest

from device_protocol.description import CONTENT_FORMAT_CBOR, Datastream
from tests.simulators.gateway import SimulatedGateway, datastream, description, reading
from tests.unit.ingest.admission.centre import Centre


def test_description_ends_the_gateways_part_of_the_batch(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    data = gateway.describe(description()), gateway.report([reading(1)])
    outcome = centre.admit(*data)
    [accepted] = outcome.descriptions
    assert accepted.description == description()
    assert outcome.accepted == 1
    assert [delivery.message for delivery in outcome.deferred] == [data[1].payload]
    assert [batch.content_format for batch in outcome.signed] == [CONTENT_FORMAT_CBOR]


def test_last_of_several_descriptions_counts(gateway: SimulatedGateway, centre: Centre) -> None:
    first, last = description(datastream("a")), description(datastream("b"))
    outcome = centre.admit(
        gateway.describe(first), gateway.report([reading(1)]), gateway.describe(last)
    )
    assert [found.description for found in outcome.descriptions] == [last]
    assert (outcome.accepted, len(outcome.deferred)) == (2, 1)
    assert len(outcome.signed) == 2


def test_unchanged_description_costs_nothing(gateway: SimulatedGateway, centre: Centre) -> None:
    [accepted] = centre.admit(gateway.describe(description())).descriptions
    key = (gateway.tenant, gateway.device)
    known = replace(centre.snapshot.gateways[key], description_sha256=accepted.sha256)
    centre.snapshot = replace(centre.snapshot, gateways={key: known})
    outcome = centre.admit(gateway.describe(description()))
    assert (outcome.accepted, outcome.descriptions, outcome.ends_batch) == (1, [], False)


@pytest.mark.parametrize(
    ("wrong", "reason", "words"),
    [
        (datastream("x", "no22"), "payload", "no2"),
        (datastream("x", "no2", "ug/m4"), "unit-mismatch", "ug/m3"),
        (datastream("x", "no2", "Cel"), "unit-mismatch", "'no2', whose usual unit is 'ug/m3'"),
        (replace(datastream("x"), title="t" * 201), "payload", "201 characters"),
        (replace(datastream("x"), period_seconds=1 << 40), "payload", "limit"),
    ],
)
def test_datastream_that_cannot_be_held_is_left_out_and_named(
    gateway: SimulatedGateway, centre: Centre, wrong: Datastream, reason: str, words: str
) -> None:
    outcome = centre.admit(gateway.describe(description(datastream(), wrong)))
    [accepted] = outcome.descriptions
    assert accepted.description == description(datastream())
    assert accepted.sha256 == b"", "so that it is read again next time"
    [row] = outcome.quarantined
    assert (row.reason, row.senml_name) == (reason, "urn:dev:air:x")
    assert words in row.detail


def test_unit_of_another_scale_is_taken(gateway: SimulatedGateway, centre: Centre) -> None:
    described = description(
        datastream("co", "co", "ng/m3"), datastream("t", "air_temperature", "K")
    )
    assert not centre.admit(gateway.describe(described)).quarantined
