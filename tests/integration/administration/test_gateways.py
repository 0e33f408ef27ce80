"""What a council sees and changes of a gateway of its own."""

import json
from datetime import UTC, datetime

from storage.configurations import configuration_states
from storage.quarantine import QuarantineRow, insert_quarantine
from tests.integration.administration.office import HEALTH_OF, HTML, Office, text_of


async def test_revocation_says_what_it_does_and_cannot_be_undone(office: Office) -> None:
    home = await office.gateway("stolen", "Lamb Street")
    page = await office.ben.page(f"{home}/revoke")
    assert "Revoke Lamb Street?" in page
    assert "never comes back" in page
    assert (await office.ben.post(f"{home}/revoke", {})).status_code == 400
    assert await office.status_of("stolen") == "active"
    await office.ben.post(f"{home}/revoke", {"reason": "stolen"})
    assert await office.status_of("stolen") == "revoked"
    for change in ("suspend", "resume", "revoke"):
        assert (await office.ben.get(f"{home}/{change}")).status_code == 409
    for change in ("suspend", "resume"):
        answer = await office.ben.post(f"{home}/{change}", {"reason": "again"})
        assert answer.status_code == 409
    assert (await office.ben.get(f"{home}/settings")).status_code == 409
    assert await office.status_of("stolen") == "revoked"
    status = text_of((await office.visitor.get("/status", headers=HTML)).text)
    assert "Revoked" in status.split("Lamb Street")[1][:80]


async def test_what_a_revoked_gateway_still_sends_can_be_inspected(office: Office) -> None:
    homes = {device: await office.gateway(device) for device in ("noisy", "quiet")}
    now = int(datetime.now(UTC).timestamp())
    rows = [
        QuarantineRow(
            received_at=now - at,
            tenant="camden",
            device="noisy",
            reason="revoked",
            detail="status revoked",
            topic="snaas/1/camden/noisy/d/main",
            message=bytes(1234),
        )
        for at in (1, 2)
    ]
    await insert_quarantine(office.conn, rows)
    assert "2 messages or readings" in await office.ben.page(homes["noisy"])
    page = await office.ben.page(f"{homes['noisy']}/kept-aside")
    assert page.count("Whole message, 1,234 bytes") == 2
    assert "The gateway has been revoked or suspended." in page
    nothing = await office.ben.page(f"{homes['quiet']}/kept-aside")
    assert "Nothing of this gateway has been kept aside." in nothing


async def test_how_a_gateway_fares_is_told_on_its_page_alone(office: Office) -> None:
    homes = {device: await office.gateway(device) for device in ("unwell", "unheard")}
    await office.conn.execute(HEALTH_OF, {"device": "unwell"})
    page = await office.ben.page(homes["unwell"])
    assert "Sensors that fail 2" in page
    assert "Look into it" in page
    assert page.index("How it fares") < page.index("Sensors that fail")
    assert "It has not said anything of itself yet." in await office.ben.page(homes["unheard"])


async def test_settings_are_asked_for_within_what_a_gateway_follows(office: Office) -> None:
    home = await office.gateway("tunable")
    url = f"{home}/settings"
    for value in ("901", "many", "nan"):
        answer = await office.ben.post(url, {"setting uplink.batch_seconds": value})
        assert answer.status_code == 400
        assert "Give a number from 0 to 900 seconds." in answer.text
    assert (await office.ben.post(url, {})).status_code == 400
    assert (await office.ben.post(url, {"setting uplink.window": "1"})).status_code == 400
    assert await configuration_states(office.conn, "tunable") == []
    sent = {"setting uplink.batch_seconds": "2.5", "setting uplink.batch_readings": "10"}
    answer = await office.ben.post(url, sent)
    assert answer.status_code == 303
    [state] = await configuration_states(office.conn, "tunable")
    assert state.settings == {"uplink.batch_seconds": 2.5, "uplink.batch_readings": 10}
    assert json.dumps(state.settings["uplink.batch_readings"]) == "10"
    assert "Asked for; waits to be signed" in await office.ben.page(home)
    assert 'value="2.5"' in (await office.ben.get(url)).text
