"""A gateway is thrown out of a running broker: no new connection, and the live one ended.

Mosquitto refuses by the council's certificate revocation list and the keeper ends the session;
NATS does both once the gateway is no user any more. On both, nobody else notices.
"""

import asyncio
import contextlib
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest

from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import BrokerKind
from broker_config.keeper import SILENT_AT_MOST, Keeper, command, hang_up
from broker_config.keeper_credential import keeper_credential
from broker_config.network import PID_FILE, Council, Gateway, NetworkError
from tests.integration.fix_brokers import City

MINE, NEIGHBOUR, FOREIGN, NEWCOMER = "k7q2m9xd4t", "w3n8b5rc6h", "z9f4j2tv7p", "n3wc0m3rgw"
SECONDS = 10

on_mosquitto = pytest.mark.parametrize("broker_kind", ["mosquitto"], scope="session")
on_nats = pytest.mark.parametrize("broker_kind", ["nats"], scope="session")


@dataclass(frozen=True)
class Visit:
    """What became of a try to connect: let in, or why not; and the TLS session it had."""

    let_in: bool
    reason: str = ""
    session: ssl.SSLSession | None = None
    resumed: bool = False


def visit(
    city: City,
    device: str,
    *,
    port: int = 0,
    credential: tuple[Path, Path] | None = None,
    session: ssl.SSLSession | None = None,
    context: ssl.SSLContext | None = None,
) -> Visit:
    """Connect once, by hand, and hear the reason of a refusal.

    With TLS 1.3 it comes after the client's handshake, and would be lost if we spoke first.
    Something comes in any case: whoever is let in is handed a ticket.
    """
    context = context or tls(city, device, credential)
    port = port or city.broker.council_endpoint(city.tenant_of(device)).port
    with socket.create_connection(("127.0.0.1", port), SECONDS) as plain:
        try:
            with context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as connection:
                select.select([connection], [], [], SECONDS)
                connection.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    connection.recv(1)
                connection.settimeout(SECONDS)
                connection.sendall(hello(device))
                answer = connection.recv(4)
                resumed = bool(connection.session_reused)
                return Visit(answer == CONNECTED, answer.hex(), connection.session, resumed)
        except OSError as error:
            return Visit(let_in=False, reason=getattr(error, "reason", "") or str(error))


CONNECTED = bytes((0x20, 2, 0, 0))


def hello(client_id: str) -> bytes:
    """Return CONNECT, clean session (MQTT 3.1.1, section 3.1)."""
    rest = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(client_id).to_bytes(2, "big")
    rest += client_id.encode()
    return bytes((0x10, len(rest))) + rest


def tls(city: City, device: str, credential: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    files = city.gateways[device].credential
    context = ssl.create_default_context(cafile=city.authority.service_root())
    context.load_cert_chain(*(credential or (files.certificate, files.key)))
    return context


def data(city: City, device: str) -> str:
    return f"snaas/1/{city.tenant_of(device)}/{device}/d/main"


async def send(client: aiomqtt.Client, topic: str, payload: bytes) -> None:
    await client.publish(topic, payload, qos=1, timeout=SECONDS)


async def next_payload(client: aiomqtt.Client) -> bytes:
    async with asyncio.timeout(SECONDS):
        return bytes((await anext(client.messages)).payload)


async def until_ended(client: aiomqtt.Client) -> None:
    """Return once the broker has ended this client's connection."""
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(aiomqtt.MqttError):
            async for _ in client.messages:
                pass


@contextlib.asynccontextmanager
async def connected(city: City, device: str) -> AsyncIterator[aiomqtt.Client]:
    """A gateway that is connected, and may be thrown out before the block ends."""
    client = city.gateway_client(device, clean=False)
    await client.__aenter__()
    try:
        yield client
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


def keeper_over(city: City, **changed: object) -> Keeper:
    """A keeper of the running broker, as the enrolment service has one."""
    broker = city.broker
    options: dict[str, object] = {
        "pid_file": broker.paths.data / PID_FILE,
        "log": BrokerLog(broker.kind, broker.log),
        "run_as": "root" if os.geteuid() == 0 else "mosquitto",
    }
    return Keeper(broker.kind, broker.paths, **(options | changed))  # type: ignore[arg-type]


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


async def test_reload_under_traffic_loses_no_message(own_city: City) -> None:
    city, broker, count = own_city, own_city.broker, 600
    async with (
        city.service_client("camden") as ingest,
        connected(city, MINE) as gateway,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)

        async def publish() -> None:
            for number in range(count):
                await send(gateway, data(city, MINE), b"%d" % number)

        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publish())
            received = tasks.create_task(_collect(ingest, count))
            reloads = 0
            while not publishing.done():
                without = broker.network.without_gateway(NEIGHBOUR)
                network = without if reloads % 2 else without.with_gateway("camden", NEIGHBOUR)
                await asyncio.to_thread(broker.reload, network, city.revocation_list("camden"))
                reloads += 1
        assert received.result() == list(range(count))
        assert reloads > 1


async def _collect(client: aiomqtt.Client, count: int) -> list[int]:
    return [int(await next_payload(client)) for _ in range(count)]


def test_gateway_is_admitted_by_a_keeper_of_another_process(own_city: City) -> None:
    own_city.enrol("camden", NEWCOMER)
    keeper = keeper_over(own_city)
    network = own_city.broker.network.with_gateway("camden", NEWCOMER)
    pid = own_city.broker.pid
    applied = keeper.apply(network, own_city.broker.revocation_lists)
    assert (applied.changed, applied.ended) == (True, ())
    assert visit(own_city, NEWCOMER).let_in
    assert own_city.broker.pid == pid
    again = keeper_over(own_city).apply(network, own_city.broker.revocation_lists)
    assert not again.changed

    own_city.broker.restart()  # over the files as they stand

    assert visit(own_city, NEWCOMER).let_in


async def test_session_left_by_a_failed_reload_is_ended_by_the_next_try(own_city: City) -> None:
    city = own_city

    def broken() -> None:
        raise BrokerError("out of reach")

    network = city.broker.network.without_gateway(NEIGHBOUR)
    lists = city.broker.revocation_lists | city.revocation_list("camden", NEIGHBOUR)
    async with connected(city, NEIGHBOUR) as revoked:
        with pytest.raises(BrokerError, match="out of reach"):
            keeper_over(city, reload=broken).apply(network, lists)
        with pytest.raises(BrokerError, match="out of reach"):
            keeper_over(city, reload=broken).apply(network, lists)
        applied = await asyncio.to_thread(keeper_over(city).apply, network, lists)
        assert applied.ended == (NEIGHBOUR,)
        await until_ended(revoked)
    assert not visit(city, NEIGHBOUR).let_in
    partial = [path.name for path in city.broker.paths.configuration.glob(".*")]
    assert partial == []


@on_nats
def test_refused_configuration_is_taken_back(own_city: City) -> None:
    """A listener cannot move while NATS runs; what it could not start with must not stay."""
    main = own_city.broker.paths.configuration / "nats.conf"
    before = main.read_bytes()
    network = own_city.broker.network
    moved = replace(network, service_port=free_port())
    with pytest.raises(BrokerRefusedError, match="refused its new configuration"):
        keeper_over(own_city).apply(moved, {})
    assert main.read_bytes() == before
    assert visit(own_city, MINE).let_in
    assert keeper_over(own_city).apply(network, {}).changed  # nothing is taken for granted


@on_nats
async def test_council_is_added_to_nats_while_it_runs(own_city: City) -> None:
    city, broker = own_city, own_city.broker
    bristol = Council(tenant="bristol", gss="E06000023", name="Bristol", port=free_port())
    city.enrol("bristol", NEWCOMER)
    wider = replace(
        broker.network,
        councils=(*broker.network.councils, bristol),
        services=tuple(
            replace(each, tenants=(*each.tenants, "bristol")) if each.name == "ingest" else each
            for each in broker.network.services
        ),
    ).with_gateway("bristol", NEWCOMER)
    certificates = city.authority.broker_certificates(wider.tenants)
    keeper = Keeper(
        broker.kind,
        replace(broker.paths, certificates=certificates),
        pid_file=broker.paths.data / PID_FILE,
        log=BrokerLog(broker.kind, broker.log),
    )
    assert not keeper.apply(wider, {}).restart_needed
    broker.network = wider  # where its clients connect
    async with city.service_client("bristol") as ingest, connected(city, NEWCOMER) as gateway:
        await ingest.subscribe("snaas/1/bristol/+/d/#", qos=1)
        await send(gateway, data(city, NEWCOMER), b"from Bristol")
        assert await next_payload(ingest) == b"from Bristol"


@on_mosquitto
def test_changed_listeners_ask_for_a_restart_and_hold_up_nothing_else(own_city: City) -> None:
    broker = own_city.broker
    network, lists = broker.network, broker.revocation_lists
    camden, leeds = network.councils
    moved = replace(network, councils=(camden, replace(leeds, port=free_port())))
    keeper = keeper_over(own_city)
    assert keeper.apply(moved, lists).restart_needed
    assert keeper.apply(moved, lists).restart_needed

    less = moved.without_gateway(NEIGHBOUR)
    lists |= own_city.revocation_list("camden", NEIGHBOUR)
    applied = keeper.apply(less, lists)
    assert (applied.ended, applied.restart_needed) == ((NEIGHBOUR,), True)
    assert visit(own_city, NEIGHBOUR).reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert visit(own_city, MINE).let_in

    broker.restart()
    assert not keeper.apply(less, lists).restart_needed
    assert visit(own_city, FOREIGN, port=less.councils[1].port).let_in


@on_mosquitto
def test_changed_listeners_are_opened_by_the_restart_a_keeper_may_make(own_city: City) -> None:
    broker = own_city.broker
    camden, leeds = broker.network.councils
    moved = replace(
        broker.network,
        councils=(camden, replace(leeds, port=free_port())),
        keeper_port=free_port(),
    )
    keeper = keeper_over(own_city, restart=broker.restart)
    applied = keeper.apply(moved, broker.revocation_lists)
    assert (applied.changed, applied.restart_needed) == (True, False)
    assert visit(own_city, FOREIGN, port=moved.councils[1].port).let_in


def test_broker_that_is_not_there_is_named(own_city: City, tmp_path: Path) -> None:
    own_city.broker.kill()
    network = own_city.broker.network.without_gateway(NEIGHBOUR)
    lists = own_city.broker.revocation_lists
    with pytest.raises(BrokerError, match=r"does not run, by .*broker\.pid"):
        keeper_over(own_city).apply(network, lists)
    pid_file = tmp_path / "some.pid"
    pid_file.write_text(str(os.getpid()))
    with pytest.raises(BrokerError, match=f"names process {os.getpid()}, which is"):
        hang_up(own_city.broker.kind, pid_file)()
    own_city.broker.restart()
    assert keeper_over(own_city).apply(network, lists).ended == (NEIGHBOUR,)


def test_broker_is_reloaded_by_a_command_too(own_city: City) -> None:
    lists = own_city.broker.revocation_lists
    network = own_city.broker.network.without_gateway(NEIGHBOUR)
    shell = ("/bin/sh", "-c", f"kill -HUP {own_city.broker.pid}")
    assert keeper_over(own_city, reload=command(shell)).apply(network, lists).changed
    assert not visit(own_city, NEIGHBOUR).let_in or own_city.broker.kind is BrokerKind.MOSQUITTO
    failing = keeper_over(own_city, reload=command(("/bin/sh", "-c", "echo no >&2; exit 3")))
    with pytest.raises(BrokerError, match=r"exit code 3: no"):
        failing.apply(own_city.broker.network, lists)
    missing = keeper_over(own_city, reload=command((str(own_city.directory / "none"),)))
    with pytest.raises(BrokerError, match="No such file"):
        missing.apply(own_city.broker.network, lists)


def test_broker_runs_on_copies_of_the_certificates(own_city: City) -> None:
    """The directory of an authority is not for a broker's eyes."""
    configuration = own_city.broker.paths.configuration
    texts = [path.read_text() for path in configuration.glob("*.conf")]
    assert texts
    assert not any(str(own_city.directory / "authority") in text for text in texts)
    modes = {path.name: path.stat().st_mode & 0o007 for path in configuration.iterdir()}
    assert set(modes.values()) == {0}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
