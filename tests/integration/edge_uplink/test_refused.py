"""A broker that lets the agent do less than it asks, or nothing."""

import asyncio
import re
import ssl

from broker_config.files import BrokerKind
from edge_agent.agent import run
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import DEVICE, Gateway, Tasks
from tests.simulators.centre import Centre, key_set_of


async def test_what_the_broker_does_not_allow_is_not_delivered_but_reported(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.path.write_text(gateway.path.read_text().replace('"camden"', '"leeds"'))
    gateway.settings.state_directory.mkdir()
    key_set = key_set_of(
        own_city.authority, "leeds", {"main": centre.recipient}, signed_by="camden"
    )
    (gateway.settings.state_directory / "key_set.cbor").write_bytes(key_set)
    tasks.start(run(gateway.settings))
    if own_city.broker.kind is BrokerKind.MOSQUITTO:  # tells by reason code 0x87
        await gateway.until_facts(lambda facts: facts["messages"].get("not_delivered", 0) > 1)
    else:  # refuses the subscription
        await gateway.until_facts(lambda facts: "refused" in facts["connection_error"])
        assert "NOT CONNECTED" in gateway.status().render()
    assert gateway.facts()["spool"]["readings"] > 0
    assert gateway.facts()["readings_acknowledged"] == 0


async def test_a_broker_that_accepts_and_drops_every_connection_is_not_stormed(
    own_city: City, gateway: Gateway, tasks: Tasks
) -> None:
    connections = 0
    is_version_5 = gateway.settings.broker.mqtt_version == "5"
    accepted = bytes.fromhex("2003000000" if is_version_5 else "20020000")  # CONNACK
    server_files = own_city.authority.broker_server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_files.certificate, server_files.key)

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(accepted)
        writer.close()

    async with await asyncio.start_server(drop, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        gateway.path.write_text(
            re.sub(r"(host = .*\n)port = \d+", rf"\1port = {port}", gateway.path.read_text())
            .replace(gateway.settings.broker.host, "127.0.0.1")
            .replace("retry_seconds = 0.5", "retry_seconds = 60")
        )
        agent = tasks.start(run(gateway.settings))
        await gateway.until_facts(lambda facts: facts["connection_error"] != "")
        await asyncio.sleep(3)
        assert not agent.done()
        assert 1 <= connections < 12
        assert gateway.facts()["spool"]["readings"] > 0
        await tasks.stop(agent)


async def test_a_revoked_gateway_is_told_why_it_is_not_let_in(
    own_city: City, gateway: Gateway, tasks: Tasks
) -> None:
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    broker = own_city.broker
    await asyncio.to_thread(
        broker.reload,
        broker.network.without_gateway(DEVICE),
        own_city.revocation_list("camden", DEVICE),
    )
    on_mosquitto = broker.kind is BrokerKind.MOSQUITTO
    reason = "this gateway's certificate is revoked" if on_mosquitto else "Not authorized"
    await gateway.until_facts(lambda facts: reason in facts["connection_error"])
    assert reason in gateway.status().render()
