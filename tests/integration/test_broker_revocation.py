"""A gateway is thrown out of a running broker: no new connection, and no old one."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import time
from datetime import UTC, datetime, timedelta

import aiomqtt
import pytest

from broker_config.broker_log import BrokerLog
from broker_config.files import BrokerKind
from broker_config.keeper import SILENT_AT_MOST
from broker_config.keeper_credential import keeper_credential
from broker_config.network import Gateway, NetworkError
from tests.integration.broker_visits import (
    CONNECTED,
    FOREIGN,
    MINE,
    NEIGHBOUR,
    SECONDS,
    connected,
    data,
    hello,
    keeper_over,
    next_payload,
    on_mosquitto,
    send,
    tls,
    until_ended,
    visit,
)
from tests.integration.fix_brokers import City


async def test_revoked_gateway_is_thrown_out_and_its_neighbours_notice_nothing(
    own_city: City,
) -> None:
    city, broker = own_city, own_city.broker
    async with (
        city.service_client("camden") as ingest,
        connected(city, MINE) as neighbour,
        connected(city, NEIGHBOUR) as revoked,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        await send(revoked, data(city, NEIGHBOUR), b"before")
        assert await next_payload(ingest) == b"before"

        began = time.monotonic()
        applied = await asyncio.to_thread(
            broker.reload,
            broker.network.without_gateway(NEIGHBOUR),
            city.revocation_list("camden", NEIGHBOUR),
        )
        await until_ended(revoked)
        took = time.monotonic() - began

        assert (applied.changed, applied.ended, applied.restart_needed) == (
            True,
            (NEIGHBOUR,),
            False,
        )
        assert took < 2
        assert not visit(city, NEIGHBOUR).let_in
        await send(neighbour, data(city, MINE), b"undisturbed")
        assert await next_payload(ingest) == b"undisturbed"
    assert visit(city, FOREIGN).let_in


@on_mosquitto
def test_revocation_list_alone_refuses_who_is_still_in_the_access_list(own_city: City) -> None:
    assert visit(own_city, NEIGHBOUR).let_in
    own_city.broker.reload(own_city.broker.network, own_city.revocation_list("camden", NEIGHBOUR))
    access = (own_city.broker.paths.configuration / "access.acl").read_text()
    assert f"user CN={NEIGHBOUR},O=camden\n" in access
    refused = visit(own_city, NEIGHBOUR)
    assert (refused.let_in, refused.reason) == (False, "SSLV3_ALERT_CERTIFICATE_REVOKED")
    assert visit(own_city, MINE).let_in


@on_mosquitto
def test_ticket_of_an_earlier_tls_session_opens_no_door_to_a_revoked_gateway(
    own_city: City,
) -> None:
    """A resumed session shows no certificate, so there is none to look up in a list."""
    context = tls(own_city, NEIGHBOUR)
    session = visit(own_city, NEIGHBOUR, context=context).session
    again = visit(own_city, NEIGHBOUR, context=context, session=session)
    assert (again.let_in, again.resumed) == (True, True)
    own_city.broker.reload(own_city.broker.network, own_city.revocation_list("camden", NEIGHBOUR))
    refused = visit(own_city, NEIGHBOUR, context=context, session=session)
    assert (refused.let_in, refused.reason) == (False, "SSLV3_ALERT_CERTIFICATE_REVOKED")


@on_mosquitto
def test_foot_in_the_door_of_a_revoked_gateway_does_not_stay(own_city: City) -> None:
    """It showed its certificate in time, then kept silent: Mosquitto asks for none again."""
    broker = own_city.broker
    endpoint = broker.council_endpoint("camden")
    with (
        socket.create_connection((endpoint.host, endpoint.port), SECONDS) as plain,
        tls(own_city, NEIGHBOUR).wrap_socket(plain, server_hostname="localhost") as early,
    ):
        select.select([early], [], [], SECONDS)  # a ticket: the certificate was accepted
        network = broker.network.without_gateway(NEIGHBOUR)
        lists = broker.revocation_lists | own_city.revocation_list("camden", NEIGHBOUR)
        assert keeper_over(own_city).apply(network, lists).ended == (NEIGHBOUR,)
        early.sendall(hello(NEIGHBOUR))
        assert early.recv(4) == CONNECTED

        assert not keeper_over(own_city).apply(network, lists).changed

        assert early.recv(1) == b""
        late = datetime.now(UTC) + SILENT_AT_MOST
        keeper_over(own_city, clock=lambda: late).apply(network, lists)
        said = BrokerLog(broker.kind, broker.log)
        mark = said.mark()
        assert not keeper_over(own_city).apply(network, lists).changed
        assert said.said(mark) == ""  # nobody comes for ever


async def test_session_under_a_certificate_left_behind_is_ended_once(own_city: City) -> None:
    """On Mosquitto; NATS could do it only by leaving the gateway out altogether."""
    city, broker = own_city, own_city.broker
    lists = broker.revocation_lists | city.revocation_list("camden", NEIGHBOUR)
    left = {Gateway("camden", NEIGHBOUR): frozenset({"b909ea4637188497"})}
    earlier = tls(city, NEIGHBOUR)
    async with connected(city, NEIGHBOUR) as old, connected(city, MINE) as other:
        city.enrol("camden", NEIGHBOUR)
        applied = await asyncio.to_thread(keeper_over(city).apply, broker.network, lists, left)
        if broker.kind is BrokerKind.NATS:
            assert (applied.changed, applied.ended) == (False, ())
            await send(old, data(city, NEIGHBOUR), b"goes on")
            return
        assert applied.ended == (NEIGHBOUR,)
        await until_ended(old)
        assert visit(city, NEIGHBOUR, context=earlier).reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"
        async with connected(city, NEIGHBOUR) as new:
            applied = await asyncio.to_thread(keeper_over(city).apply, broker.network, lists, left)
            assert (applied.changed, applied.ended) == (False, ())
            await send(new, data(city, NEIGHBOUR), b"undisturbed")
            left |= {Gateway("camden", NEIGHBOUR): frozenset({"b909ea4637188497", "aa"})}
            applied = await asyncio.to_thread(keeper_over(city).apply, broker.network, lists, left)
            assert applied.ended == (NEIGHBOUR,)
            await until_ended(new)
        await send(other, data(city, MINE), b"undisturbed")


def test_suspended_gateway_is_let_in_again_once_resumed(own_city: City) -> None:
    broker = own_city.broker
    everybody, now = broker.network, datetime.now(UTC)
    broker.reload(
        everybody.without_gateway(NEIGHBOUR),
        own_city.revocation_list("camden", NEIGHBOUR, hold=True, now=now),
    )
    assert not visit(own_city, NEIGHBOUR).let_in
    later = now + timedelta(seconds=1)
    applied = broker.reload(everybody, own_city.revocation_list("camden", now=later))
    assert applied.ended == ()
    assert visit(own_city, NEIGHBOUR).let_in


@on_mosquitto
def test_expired_revocation_list_locks_its_whole_council_out(own_city: City) -> None:
    """Why a list older than three days is an alarm: past its week nobody gets in."""
    long_ago = datetime.now(UTC) - timedelta(days=8)
    own_city.broker.restart(revocation_lists=own_city.revocation_list("camden", now=long_ago))
    assert not visit(own_city, MINE).let_in
    assert not visit(own_city, NEIGHBOUR).let_in
    assert visit(own_city, FOREIGN).let_in
    own_city.broker.reload(own_city.broker.network, own_city.revocation_list("camden"))
    assert visit(own_city, MINE).let_in


@on_mosquitto
async def test_damaged_revocation_list_is_put_right_at_the_next_look(own_city: City) -> None:
    """Mosquitto reloads without a list it cannot read, and lets everybody connect.

    Hence lists are checked before they are written, are compared with what stands on disk, and
    are not alone: whoever is revoked is left out of the access list too, and stays mute.
    """
    city, broker = own_city, own_city.broker
    network = broker.network.without_gateway(NEIGHBOUR)
    broker.reload(network, city.revocation_list("camden", NEIGHBOUR))
    held = broker.paths.configuration / "council-camden.crl"
    held.write_text("-----BEGIN X509 CRL-----\nnothing of the kind\n")
    pid, begins = broker.pid, BrokerLog(broker.kind, broker.log).mark()

    os.kill(pid, signal.SIGHUP)

    assert visit(city, FOREIGN).let_in  # by a broker that has reloaded: it has one thread
    assert "Unable to load certificate revocation file" in broker.log.read_text()[begins:]
    assert visit(city, NEIGHBOUR).let_in
    async with (
        city.service_client("camden") as ingest,
        connected(city, NEIGHBOUR) as mute,
        connected(city, MINE) as honest,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):  # MQTT 5 tells it so
            await send(mute, data(city, NEIGHBOUR), b"forged")
        await send(honest, data(city, MINE), b"honest")
        assert await next_payload(ingest) == b"honest"

    assert keeper_over(city).apply(network, broker.revocation_lists).changed
    assert visit(city, NEIGHBOUR).reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert broker.pid == pid


def test_what_is_no_revocation_list_reaches_no_file(own_city: City) -> None:
    if own_city.broker.kind is BrokerKind.NATS:
        own_city.broker.reload(own_city.broker.network, {"camden": b"ignored there"})
        return
    held = own_city.broker.paths.configuration / "council-camden.crl"
    before = held.read_bytes()
    with pytest.raises(NetworkError, match="'camden': its revocation list"):
        own_city.broker.reload(own_city.broker.network, {"camden": b"junk"})
    assert held.read_bytes() == before


@on_mosquitto
def test_nobody_but_the_keeper_is_let_in_where_client_ids_are_free(own_city: City) -> None:
    port = own_city.broker.network.keeper_port
    ingest = own_city.service("camden")
    mine = own_city.gateways[MINE].credential
    for held in (ingest, mine):
        refused = visit(own_city, MINE, port=port, credential=(held.certificate, held.key))
        assert (refused.let_in, refused.reason) == (False, "TLSV1_ALERT_UNKNOWN_CA")
    keeper = keeper_credential(own_city.broker.paths.configuration)
    assert visit(own_city, MINE, port=port, credential=(keeper.certificate, keeper.key)).let_in
    assert keeper.key.stat().st_mode & 0o077 == 0
