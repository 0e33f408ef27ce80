"""The real agent delivers its epoch keys by X-Wing where it is told to and may."""

from dataclasses import replace
from pathlib import Path

import pytest

from device_protocol import cbor, cose, keys
from device_protocol.announcement import decode
from device_protocol.recipient_pem import generate
from edge_agent.agent import run
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import DEVICE, Gateway, Tasks
from tests.simulators.centre import Centre, registered


def of_suite_3(city: City, allowed: tuple[int, ...]) -> Centre:
    return Centre(
        lambda: city.service_client("camden"),
        authority=city.authority,
        tenant="camden",
        devices=[registered("camden", DEVICE, city.gateways[DEVICE])],
        recipient=generate(keys.X_WING),
        allowed=allowed,
    )


async def announced(city: City) -> bytes:
    """Return the announcement the broker has retained."""
    async with city.service_client("camden") as client:
        await client.subscribe(f"snaas/1/camden/{DEVICE}/k/main", 1)
        message = await anext(client.messages)
        assert isinstance(message.payload, bytes)
        return message.payload


async def test_a_gateway_that_is_told_to_seals_in_suite_3(
    own_city: City, tasks: Tasks, tmp_path: Path
) -> None:
    centre = of_suite_3(own_city, (1, 3))
    gateway = Gateway(own_city, tmp_path)
    settings = gateway.settings
    tasks.start(centre.run())
    tasks.start(run(replace(settings, uplink=replace(settings.uplink, suite_3=True))))
    await gateway.until_facts(lambda facts: facts["readings_acknowledged"] > 0)
    assert not centre.heard.refusals
    (box,) = decode(cose.decode_sign1(await announced(own_city)).payload).wrapped
    headers = cose.protected_headers(cose.decode_encrypt0(box).protected)
    assert cbor.integer(headers[cose.ALG]) == cose.HPKE_MLKEM768_X25519


@pytest.mark.parametrize(("allowed", "told"), [((1, 3), False), ((1, 2), True)])
async def test_a_gateway_that_may_not_keeps_its_readings_rather_than_seal_for_nobody(
    own_city: City, tasks: Tasks, tmp_path: Path, allowed: tuple[int, ...], *, told: bool
) -> None:
    centre = of_suite_3(own_city, allowed)
    gateway = Gateway(own_city, tmp_path)
    settings = gateway.settings
    tasks.start(centre.run())
    tasks.start(run(replace(settings, uplink=replace(settings.uplink, suite_3=told))))
    await gateway.until_facts(lambda facts: "0 recipients" in facts["waiting_for"])
    assert not centre.heard.announcements
    assert not gateway.facts()["messages"]
