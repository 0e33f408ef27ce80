"""The duties of the certificate service on a real database and a real broker, from row to effect.

Each test changes only the registry, as pages and commands do, and waits for what must follow.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from broker_config import network as description
from broker_config.files import BrokerKind
from broker_config.free_ports import free_ports
from broker_config.network import PID_FILE
from device_protocol.configuration import open_configuration
from device_protocol.key_set import KeySet, open_key_set
from device_protocol.keys import RecipientPublicKey
from enrolment import upkeep
from enrolment.authority import Authority, CredentialFiles, KeyKind
from enrolment.broker_upkeep import BrokerUpkeep
from enrolment.duties import listed
from enrolment.files import read_certificate, write_certificate, write_key
from enrolment.settings import BrokerFilesSettings
from enrolment.upkeep import Upkeep
from storage import certificates, configurations, recipients, registry
from storage.database import Connection, Pool, open_pool
from tests.integration.broker_visits import (
    MINE,
    NEIGHBOUR,
    NEWCOMER,
    connected,
    data,
    next_payload,
    on_mosquitto,
    send,
    until_ended,
    visit,
)
from tests.integration.fix_brokers import COUNCILS, City
from tests.integration.region import metric

ACTOR = "operator test"
SECONDS = 15

on_plain = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@dataclass
class Office:
    """The registry of a city, and the service that does its duties for it."""

    city: City
    conn: Connection
    pool: Pool
    dsn: str
    network_file: Path

    @property
    def settings(self) -> BrokerFilesSettings:
        paths = self.city.broker.paths
        return BrokerFilesSettings(
            kind=self.city.broker.kind.value,
            configuration_directory=paths.configuration,
            data_directory=paths.data,
            run_as="root" if os.geteuid() == 0 else "mosquitto",
            pid_file=paths.data / PID_FILE,
            log_file=self.city.broker.log,
        )

    def upkeep(self) -> Upkeep:
        """Return the duties, to be done once at a time by `look`."""
        return Upkeep(self.city.authority, self.pool, self.broker_upkeep())

    def broker_upkeep(self) -> BrokerUpkeep:
        return BrokerUpkeep(self.city.authority, self.network_file, self.settings)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the duties for the length of the block, once the broker has taken the registry."""
        duties = asyncio.create_task(
            upkeep.run(
                self.city.authority,
                self.pool,
                self.dsn,
                network_file=self.network_file,
                broker=self.settings,
            )
        )
        try:
            await until(self.is_settled)
            yield
            assert not duties.done(), duties
        finally:
            duties.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await duties

    async def is_settled(self) -> bool:
        """Tell whether the broker holds what the registry says."""
        lists = await certificates.revocation_lists(self.conn)
        admitted = {
            (row.tenant, row.device)
            for row in await registry.gateways(self.conn)
            if row.status in {"invited", "active"}
        }
        taken = self.city.broker.paths.configuration / "taken.json"
        held = json.loads(taken.read_text())
        on_broker = {tuple(pair) for pair in held["gateways"]}
        return bool(held["fingerprint"]) and len(lists) == len(COUNCILS) and on_broker == admitted

    async def set_status(self, device: str, status: registry.Status) -> None:
        await registry.set_gateway_status(self.conn, device=device, status=status, actor=ACTOR)

    async def named(self, tenant: str = "camden") -> frozenset[tuple[int, bool]]:
        """Return what the newest revocation list of a council names."""
        return listed((await certificates.revocation_lists(self.conn))[tenant].message)

    def serial(self, device: str) -> int:
        return read_certificate(self.city.gateways[device].credential.certificate).serial_number

    async def newest_key_set(self) -> KeySet | None:
        message = (await registry.newest_key_sets(self.conn)).get("camden")
        if message is None:
            return None
        return open_key_set(
            message,
            tenant="camden",
            anchor=self.city.authority.council_certificate("camden"),
            now=int(time.time()),
        )


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(SECONDS):
        while not await holds():  # noqa: ASYNC110 - files and tables of others have no event
            await asyncio.sleep(0.005)


@pytest.fixture
async def office(
    own_city: City, dsn: str, connection: Connection, tmp_path: Path
) -> AsyncIterator[Office]:
    network_file = tmp_path / "network.toml"
    network_file.write_text(description.dump(replace(own_city.broker.network, gateways=())))
    async with open_pool(dsn, application_name="kerbstone enrolment") as pool:
        made = Office(own_city, connection, pool, dsn, network_file)
        for council in COUNCILS:
            await registry.add_council(
                connection, gss=council.gss, tenant=council.tenant, name=council.name
            )
        for device in own_city.gateways:
            await register(made, device)
        yield made


async def register(office: Office, device: str) -> None:
    await registry.add_gateway(
        office.conn, tenant=office.city.tenant_of(device), device=device, label=""
    )
    certificate = read_certificate(office.city.gateways[device].credential.certificate)
    await certificates.add_certificate(
        office.conn, device=device, certificate=certificate, issued_by="local"
    )


async def test_revoking_a_row_ends_the_session_within_two_seconds(office: Office) -> None:
    city = office.city
    async with office.open(), city.service_client("camden") as ingest:
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        async with connected(city, MINE) as neighbour, connected(city, NEIGHBOUR) as revoked:
            await send(revoked, data(city, NEIGHBOUR), b"before")
            assert await next_payload(ingest) == b"before"

            began = time.monotonic()
            await office.set_status(NEIGHBOUR, "revoked")
            await until_ended(revoked)
            assert time.monotonic() - began < 2

            await until(office.is_settled)
            assert await office.named() == {(office.serial(NEIGHBOUR), False)}
            assert not visit(city, NEIGHBOUR).let_in
            await send(neighbour, data(city, MINE), b"undisturbed")
            assert await next_payload(ingest) == b"undisturbed"
        assert await office.named("leeds") == frozenset()
    if city.broker.kind is BrokerKind.MOSQUITTO:
        assert visit(city, NEIGHBOUR).reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"


@on_mosquitto
@on_plain
async def test_enrolling_anew_ends_the_session_of_the_certificate_left_behind(
    office: Office,
) -> None:
    city, serial = office.city, office.serial(NEIGHBOUR)
    async with office.open(), connected(city, NEIGHBOUR) as earlier, connected(city, MINE) as other:
        city.enrol("camden", NEIGHBOUR)
        await certificates.add_certificate(
            office.conn,
            device=NEIGHBOUR,
            certificate=read_certificate(city.gateways[NEIGHBOUR].credential.certificate),
            issued_by="simpleenroll",
        )
        await until_ended(earlier)
        assert await office.named() == {(serial, False)}
        async with connected(city, NEIGHBOUR) as new:
            for client, device in ((new, NEIGHBOUR), (other, MINE)):
                await send(client, data(city, device), b"undisturbed")


@on_plain
async def test_suspended_gateway_is_resumed_and_a_new_one_comes_without_a_restart(
    office: Office,
) -> None:
    city, pid = office.city, office.city.broker.pid
    async with office.open():
        await office.set_status(NEIGHBOUR, "suspended")
        await until(office.is_settled)
        assert not visit(city, NEIGHBOUR).let_in
        assert await office.named() == {(office.serial(NEIGHBOUR), True)}

        await office.set_status(NEIGHBOUR, "active")
        city.enrol("camden", NEWCOMER)
        await register(office, NEWCOMER)
        await until(office.is_settled)
        assert await office.named() == frozenset()
        assert visit(city, NEIGHBOUR).let_in
        assert visit(city, NEWCOMER).let_in
        assert city.broker.pid == pid


@on_mosquitto
@on_plain
async def test_certificate_left_behind_by_enrolling_anew_is_refused_and_the_new_one_let_in(
    office: Office,
) -> None:
    city, key = office.city, KeyKind.ED25519.generate()
    old = office.serial(NEIGHBOUR)
    issued = city.authority.issue_gateway("camden", NEIGHBOUR, key.public_key())
    fresh = CredentialFiles.named(city.directory / "gateways" / "anew")
    write_key(fresh.key, key)
    write_certificate(fresh.certificate, issued)

    async def is_refused() -> bool:
        return visit(city, NEIGHBOUR).reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"

    async with office.open():
        assert visit(city, NEIGHBOUR).let_in
        await certificates.add_certificate(
            office.conn, device=NEIGHBOUR, certificate=issued, issued_by="simpleenroll"
        )
        await until(is_refused)
        assert await office.named() == {(old, False)}
        assert visit(city, NEIGHBOUR, credential=(fresh.certificate, fresh.key)).let_in
        assert visit(city, MINE).let_in


@on_mosquitto
@on_plain
async def test_many_changes_at_once_are_few_reloads(office: Office) -> None:
    async with office.open():
        before = office.city.broker.log.read_text().count("Reloading config.")
        for _ in range(5):
            await office.set_status(NEIGHBOUR, "suspended")
            await office.set_status(NEIGHBOUR, "active")
        await office.set_status(NEIGHBOUR, "suspended")
        await until(office.is_settled)
        reloads = office.city.broker.log.read_text().count("Reloading config.") - before
        assert 1 <= reloads <= 2


@on_mosquitto
@on_plain
async def test_duties_survive_the_loss_of_every_connection(office: Office) -> None:
    async with office.open():
        await office.conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'kerbstone enrolment%'"
        )
        await office.set_status(NEIGHBOUR, "revoked")
        await until(office.is_settled)
        assert not visit(office.city, NEIGHBOUR).let_in


@on_mosquitto
@on_plain
async def test_broker_that_was_away_is_told_when_it_is_back(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    kept = office.upkeep()
    assert await kept.look()
    office.city.broker.kill()
    await office.set_status(NEIGHBOUR, "revoked")
    failures = metric("enrolment_duty_failures_total", duty="broker")

    async def has_failed() -> bool:
        assert not await kept.look()
        return metric("enrolment_duty_failures_total", duty="broker") > failures

    await until(has_failed)
    assert "does not run" in troubles(caplog)["broker", ""]

    office.city.broker.restart()
    ended = metric("enrolment_sessions_ended_total")
    assert await kept.look()

    assert metric("enrolment_sessions_ended_total") == ended + 1
    assert not visit(office.city, NEIGHBOUR).let_in


@on_mosquitto
@on_plain
async def test_council_added_later_gets_a_listener_when_the_broker_restarts(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    kept, broker = office.upkeep(), office.city.broker
    assert await kept.look()
    bristol = description.Council(
        tenant="bristol", gss="E06000023", name="Bristol", port=free_ports(1)[0]
    )
    described = description.load(office.network_file)
    wider = replace(described, councils=(*described.councils, bristol))
    office.network_file.write_text(description.dump(wider))
    await registry.add_council(office.conn, gss=bristol.gss, tenant="bristol", name="Bristol")
    assert await kept.look()
    assert metric("enrolment_broker_restart_needed") == 0
    assert ("council root", "bristol") in troubles(caplog)

    office.city.authority.council_root("bristol")
    assert await kept.look()
    assert metric("enrolment_broker_restart_needed") == 1
    assert visit(office.city, MINE).let_in

    broker.restart()
    office.city.enrol("bristol", NEWCOMER)
    await register(office, NEWCOMER)
    assert await kept.look()
    assert metric("enrolment_broker_restart_needed") == 0
    assert visit(office.city, NEWCOMER, port=bristol.port).let_in
    assert (broker.paths.configuration / "council-bristol.crl").exists()


@on_mosquitto
@on_plain
async def test_key_set_follows_the_recipients(office: Office) -> None:
    kept = office.upkeep()
    assert await kept.look()
    assert await office.newest_key_set() is None
    region, council = (
        RecipientPublicKey.from_public(X25519PrivateKey.generate().public_key()) for _ in range(2)
    )
    await add_recipient(office, "main", "region", region)
    assert await kept.look()
    first = await office.newest_key_set()
    assert first is not None
    assert list(first.groups) == ["main"]

    assert await kept.look()
    assert await office.newest_key_set() == first

    await add_recipient(office, "main", "council", council)
    await add_recipient(office, "council", "council", council)
    await recipients.retire_recipient(
        office.conn,
        tenant="camden",
        group="main",
        kid=region.kid,
        actor=ACTOR,
        now=datetime.now(UTC),
    )
    await recipients.set_suites(office.conn, tenant="camden", suites=(1,), actor=ACTOR)
    assert await kept.look()
    second = await office.newest_key_set()
    assert second is not None
    assert second.version > first.version
    assert second.suites == (1,)
    now = int(time.time())
    assert second.recipients("main", now) == second.recipients("council", now) == (council,)


async def add_recipient(office: Office, group: str, role: str, key: RecipientPublicKey) -> None:
    await recipients.add_recipient(
        office.conn,
        tenant="camden",
        group=group,
        role=role,
        cose_key=key.cose_key,
        valid_from=datetime.now(UTC) - timedelta(hours=1),
        valid_until=datetime.now(UTC) + timedelta(days=400),
        actor=ACTOR,
    )


@on_mosquitto
@on_plain
async def test_settings_asked_for_are_signed_and_wrong_ones_named(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    kept = office.upkeep()
    good: dict[str, object] = {"uplink.batch_seconds": 30}
    version = await request(office, MINE, good)
    bad = await request(office, NEIGHBOUR, {"uplink.batch_seconds": "often"})
    await kept.look()
    signed = await configurations.newest_configurations(office.conn)
    assert list(signed) == [("camden", MINE)]
    opened = open_configuration(
        signed["camden", MINE],
        tenant="camden",
        device=MINE,
        anchor=office.city.authority.council_certificate("camden"),
        now=int(time.time()),
    )
    assert (opened.version, opened.settings) == (version, good)
    said = troubles(caplog)
    assert "uplink.batch_seconds" in said["configuration", f"{NEIGHBOUR} {bad}"]
    caplog.clear()
    assert await kept.look()
    assert troubles(caplog) == {}  # said once, and nothing to be tried again


def troubles(caplog: pytest.LogCaptureFixture) -> dict[tuple[str, str], str]:
    """Return what was said not to be done: by duty and subject, why."""
    facts = [record.__dict__ for record in caplog.records if record.message == "duty not done"]
    return {(each["duty"], each["subject"]): each["error"] for each in facts}


async def request(office: Office, device: str, settings: dict[str, object]) -> int:
    return await configurations.request_configuration(
        office.conn, device=device, settings=settings, actor=ACTOR, lifetime=timedelta(days=1)
    )


@on_plain
async def test_roots_that_end_within_a_year_are_an_alarm_and_every_end_a_metric(
    dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    past = Authority(tmp_path, "Old", clock=lambda: now - timedelta(days=1500))
    past.service_root()
    root = past.council_certificate("camden")
    past.key_set_signer("camden")
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        kept = Upkeep(Authority(tmp_path, "Old"), pool, None)
        assert await kept.look(), "nothing that another try would mend"
        said = troubles(caplog)
        assert set(said) == {("certificate age", "service-root")}
        assert "ends" in said["certificate age", "service-root"]
        ends = "enrolment_certificate_expiry_timestamp_seconds"
        assert (
            metric(ends, certificate="councils/camden/root") == root.not_valid_after_utc.timestamp()
        )
        caplog.clear()
        (tmp_path / "councils/camden/key-set-signer.pem").write_text("damaged")
        await kept.look()
        assert "key-set-signer" in troubles(caplog)["certificates", ""]


@on_mosquitto
@on_plain
async def test_list_that_cannot_be_reissued_is_an_alarm_on_its_fourth_day(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is gone, the list in force grows old: seven days after it everybody is out."""
    issued = datetime.now(UTC) - timedelta(days=4)
    message = office.city.authority.issue_revocation_list(
        "camden", number=1, revoked=(), now=issued
    )
    await certificates.put_revocation_list(
        office.conn,
        tenant="camden",
        number=1,
        this_update=issued,
        next_update=issued + timedelta(days=7),
        message=message,
    )
    directory = office.city.directory / "authority"
    (directory / "councils" / "camden" / "root.key").unlink()
    rootless = Authority(directory, "Test city")

    assert not await Upkeep(rootless, office.pool, None).look()

    said = troubles(caplog)
    assert "root.key" in said["revocation list", "camden"]
    assert f"{issued:%Y-%m-%d}" in said["revocation list age", "camden"]
    assert ("revocation list age", "leeds") not in said
    age = time.time() - metric(
        "enrolment_revocation_list_published_timestamp_seconds", tenant="camden"
    )
    assert 4 * 86400 <= age < 4 * 86400 + 60
