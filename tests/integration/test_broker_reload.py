"""What a running broker is told without losing a message, and what needs a restart."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import BrokerKind
from broker_config.free_ports import free_ports
from broker_config.keeper import Keeper, command, hang_up
from broker_config.network import PID_FILE, Council
from tests.integration.broker_visits import (
    FOREIGN,
    MINE,
    NEIGHBOUR,
    NEWCOMER,
    connected,
    data,
    keeper_over,
    next_payload,
    on_mosquitto,
    on_nats,
    send,
    until_ended,
    visit,
)
from tests.integration.fix_brokers import City


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
    moved = replace(network, service_port=free_ports(1)[0])
    with pytest.raises(BrokerRefusedError, match="refused its new configuration"):
        keeper_over(own_city).apply(moved, {})
    assert main.read_bytes() == before
    assert visit(own_city, MINE).let_in
    assert keeper_over(own_city).apply(network, {}).changed  # nothing is taken for granted


@on_nats
async def test_council_is_added_to_nats_while_it_runs(own_city: City) -> None:
    city, broker = own_city, own_city.broker
    bristol = Council(tenant="bristol", gss="E06000023", name="Bristol", port=free_ports(1)[0])
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
    moved = replace(network, councils=(camden, replace(leeds, port=free_ports(1)[0])))
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
        councils=(camden, replace(leeds, port=free_ports(1)[0])),
        keeper_port=free_ports(1)[0],
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


async def _collect(client: aiomqtt.Client, count: int) -> list[int]:
    return [int(await next_payload(client)) for _ in range(count)]
