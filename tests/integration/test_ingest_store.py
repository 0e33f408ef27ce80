"""From an admitted batch to the rows in the database, on every edition."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from device_protocol.description import GatewayDescription
from device_protocol.reading import Quality
from ingest.admission.decision import Rules, admit
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Snapshot
from ingest.admission.state import ReceiverState
from ingest.epoch_keys import EpochKeys, ServiceKeyError
from ingest.latest import NewestObservations
from ingest.receiving.delivery import Delivery
from ingest.store import Store, Stored, load_state
from storage import batches, epochs, quarantine, registry
from storage.database import Connection, connect
from tests.simulators.gateway import (
    Message,
    SimulatedGateway,
    datastream,
    description,
    new_recipient_key,
    public,
    reading,
    series,
)

NOW = int(datetime.now(UTC).timestamp())
START = datetime.fromtimestamp(NOW - NOW % 3600 - 7200, UTC)
RECIPIENT = new_recipient_key()
RULES = Rules(recipients={RECIPIENT.kid: RECIPIENT})
KEYS = EpochKeys(secrets.token_bytes(32))


class Centre:
    """Admission and store over a real database, batch by batch, as the pipeline does it."""

    def __init__(self, conn: Connection, store: Store) -> None:
        self.conn = conn
        self.store = store
        self.state = ReceiverState()
        self.snapshot = Snapshot()
        self.newest = NewestObservations()

    async def enrol(self, device: str, *, tenant: str = "camden") -> SimulatedGateway:
        """Return a registered gateway that has announced an epoch and described one sensor."""
        gateway = SimulatedGateway(tenant, device, [public(RECIPIENT)])
        await registry.add_council(self.conn, gss=f"E-{tenant}", tenant=tenant, name=tenant.title())
        await registry.add_gateway(self.conn, tenant=tenant, device=device, label="Test")
        await registry.add_signing_key(
            self.conn,
            device=device,
            key=gateway.verifying_key,
            valid_from=datetime.fromtimestamp(NOW - 3600, UTC),
            valid_until=datetime.fromtimestamp(NOW + 3600, UTC),
        )
        await self.refresh()
        await self.take(gateway.announce(NOW))
        return gateway

    async def describe(
        self, gateway: SimulatedGateway, what: GatewayDescription | None = None
    ) -> Stored:
        """Store a description and read the registry again."""
        _, stored = await self.take(gateway.describe(what or description()))
        await self.refresh()
        return stored

    async def refresh(self) -> None:
        self.snapshot = Snapshot.build(
            await registry.gateways(self.conn),
            await registry.streams(self.conn),
            await registry.newest_key_sets(self.conn),
            {},
            await registry.tenants(self.conn),
        )

    def admit(self, *messages: Message) -> Outcome:
        return admit(
            [
                Delivery("city", m.topic, m.payload, retained=False, received_at=NOW)
                for m in messages
            ],
            snapshot=self.snapshot,
            state=self.state,
            rules=RULES,
            now=NOW,
        )

    async def take(self, *messages: Message) -> tuple[Outcome, Stored]:
        """Admit and store one batch."""
        outcome = self.admit(*messages)
        self.state.apply(outcome.channels, outcome.parking, outcome.kept)
        stored = await self.store.write(outcome)
        self.newest.note(outcome.columns, stored.contradictions)
        return outcome, stored

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        return await (await self.conn.execute(query)).fetchall()  # type: ignore[arg-type]


@pytest.fixture
async def centre(dsn: str, connection: Connection) -> AsyncIterator[Centre]:
    async with Store(dsn, KEYS) as store:
        yield Centre(connection, store)


@pytest.fixture
async def gateway(centre: Centre) -> SimulatedGateway:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.describe(
        gateway,
        description(datastream(valid=(0, 1000)), datastream("bay", "bay_occupied", "bool")),
    )
    return gateway


OBSERVATIONS = (
    "SELECT short_name, time, value FROM observation"
    " JOIN datastream ON id = datastream_id ORDER BY 1, 2"
)
QUARANTINE = "SELECT reason, senml_name, result, unit FROM quarantine ORDER BY id"


async def test_readings_are_stored_with_their_evidence_and_replay_state(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    readings = [*series([41.5, 42], start=START), reading(True, name="bay", unit="", time=START)]  # noqa: FBT003 - a result
    await centre.take(gateway.report(readings))
    later = START + timedelta(minutes=1)
    assert await centre.rows(OBSERVATIONS) == [
        ("bay", START, 1.0),
        ("no2", START, 41.5),
        ("no2", later, 42.0),
    ]
    assert await centre.rows("SELECT quality, result FROM observation_extra") == [(0, True)]
    evidence = "SELECT seq, readings, first_time, last_time, content_format, length(signed) > 64"
    assert await centre.rows(f"{evidence} FROM signed_batch WHERE seq = 2") == [
        (2, 3, START, later, 112, True)
    ]
    assert await centre.rows(
        "SELECT counter, highest_seq, contiguous_seq, received_messages FROM epoch"
    ) == [(1, 2, 2, 2)]
    assert await centre.rows(
        "SELECT bucket, count(DISTINCT datastream_id) FROM rollup_log GROUP BY 1"
    ) == [(START, 2)]


async def test_repeated_readings_are_ignored_also_under_another_message(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    readings = series([1, 2, 3], start=START)
    await centre.take(gateway.report(readings))
    before = await centre.rows("SELECT count(*) FROM rollup_log")
    _, stored = await centre.take(gateway.report(readings))
    assert not stored.contradictions
    assert await centre.rows("SELECT count(*) FROM observation") == [(3,)]
    assert await centre.rows("SELECT count(*) FROM rollup_log") == before
    assert await centre.rows(QUARANTINE) == []


async def test_another_result_for_the_same_time_is_quarantined_and_the_first_stays(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    await centre.take(gateway.report(series([1, 2, 3], start=START)))
    await centre.take(
        gateway.report(
            [*series([1, 9, 3, 4], start=START), reading(2, time=START - timedelta(days=70))]
        )
    )
    values = [row[2] for row in await centre.rows(OBSERVATIONS)]
    assert values == [2.0, 1.0, 2.0, 3.0, 4.0]
    assert await centre.rows(QUARANTINE) == [
        ("conflicting-result", "urn:dev:air:no2", 9.0, "ug/m3")
    ]


async def test_contradicting_truth_values_are_told_apart(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    occupied, free = (reading(state, name="bay", unit="", time=START) for state in (True, False))
    await centre.take(gateway.report([occupied]))
    await centre.take(gateway.report([occupied]))
    assert await centre.rows(QUARANTINE) == []
    await centre.take(gateway.report([free]))
    assert await centre.rows(QUARANTINE) == [
        ("conflicting-result", "urn:dev:air:bay", False, "bool")
    ]
    assert await centre.rows("SELECT result FROM observation_extra") == [(True,)]


async def test_contradicting_texts_are_told_apart(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.describe(gateway, description(datastream("state", "lane_occupancy", "1")))
    for text in ("idle", "idle", "busy"):
        await centre.take(gateway.report([reading(text, name="state", unit="", time=START)]))
    assert await centre.rows("SELECT value FROM observation") == [(None,)]
    assert await centre.rows("SELECT result FROM observation_extra") == [("idle",)]
    assert [row[2] for row in await centre.rows(QUARANTINE)] == ["busy"]


async def test_flag_of_a_repetition_does_not_reach_what_is_stored(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    await centre.take(gateway.report(series([1], start=START)))
    gateway.clock = 0
    await centre.take(gateway.announce(NOW))
    await centre.take(gateway.report(series([1, 2], start=START)))
    assert await centre.rows("SELECT time, quality FROM observation_extra") == [
        (START + timedelta(minutes=1), 2)
    ]


async def test_flags_of_a_gateway_are_stored_and_shown_with_the_latest_value(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    minute = timedelta(minutes=1)
    await centre.take(
        gateway.report(
            [
                reading(1, time=START),
                reading(5000, time=START + minute, quality=Quality.OUT_OF_RANGE),
                reading(3, time=START + 2 * minute, quality=Quality.REPLAYED | Quality.SUSPECT),
            ]
        )
    )
    assert [row[2] for row in await centre.rows(OBSERVATIONS)] == [1.0, 5000.0, 3.0]
    assert await centre.rows("SELECT time, quality FROM observation_extra ORDER BY 1") == [
        (START + minute, 1),
        (START + 2 * minute, 12),
    ]
    assert await centre.rows(QUARANTINE) == []
    await batches.upsert_latest(centre.conn, centre.newest.take())
    assert await centre.rows("SELECT value, quality FROM latest") == [(3.0, 12)]


async def test_bad_readings_and_messages_are_kept_beside_the_good(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    message = gateway.report(
        [reading(5, time=START), reading(2000, time=START), reading(1, name="no3", time=START)]
    )
    broken = gateway.seal(b"\xff", 112)
    await centre.take(message, broken)
    assert len(await centre.rows(OBSERVATIONS)) == 1
    assert await centre.rows(QUARANTINE) == [
        ("out-of-range", "urn:dev:air:no2", 2000, "ug/m3"),
        ("unknown-datastream", "urn:dev:air:no3", 1, "ug/m3"),
        ("payload", None, None, None),
    ]
    assert await centre.rows("SELECT message FROM quarantine WHERE reason = 'payload'") == [
        (broken.payload,)
    ]
    assert await centre.rows("SELECT contiguous_seq FROM epoch") == [(3,)]


async def test_failed_transaction_leaves_nothing_and_can_be_repeated(
    dsn: str, centre: Centre, gateway: SimulatedGateway
) -> None:
    outcome = centre.admit(gateway.report(series([1, 2], start=START)))
    async with await connect(dsn, autocommit=True, application_name="test") as conn:
        await batches.prepare(conn)
        await batches.make_room(conn, outcome.columns.observations)
        async with conn.transaction() as transaction:
            await centre.store._write(conn, outcome)
            raise psycopg.Rollback(transaction)
        assert await centre.rows("SELECT count(*) FROM observation") == [(0,)]
        assert await centre.rows("SELECT highest_seq FROM epoch") == [(1,)]
        assert await centre.rows("SELECT count(*) FROM rollup_log") == [(0,)]
        async with conn.transaction():
            await centre.store._write(conn, outcome)
    assert await centre.rows("SELECT count(*) FROM observation") == [(2,)]
    assert await centre.rows("SELECT highest_seq FROM epoch") == [(2,)]


@pytest.mark.parametrize("committed", [True, False])
async def test_unanswered_commit_is_looked_up_before_it_is_repeated(
    centre: Centre, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    """The connection dies at COMMIT: after it took effect, or before."""
    outcome = centre.admit(
        gateway.report([*series([1, 2], start=START), reading(2000, time=START)])
    )
    original = centre.store._write
    attempts = 0

    async def dying(conn: Connection, outcome: Outcome) -> Stored:
        nonlocal attempts
        attempts += 1
        stored = await original(conn, outcome)
        if attempts == 1:
            pid = conn.info.backend_pid
            finish = "COMMIT" if committed else "SELECT 1"
            transaction = await batches.transaction_id(conn)
            centre.store._unsettled = (transaction, stored)
            await conn.execute(finish)
            await centre.conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        return stored

    monkeypatch.setattr(centre.store, "_write", dying)
    await centre.store.write(outcome)
    assert attempts == (1 if committed else 2)
    assert await centre.rows("SELECT count(*) FROM observation") == [(2,)]
    assert await centre.rows("SELECT count(*) FROM signed_batch") == [(2,)]
    assert await centre.rows("SELECT count(*) FROM quarantine") == [(1,)]


async def test_restart_restores_counters_keys_and_replay_windows(
    dsn: str, centre: Centre, gateway: SimulatedGateway
) -> None:
    messages = [gateway.report(series([n], start=START + timedelta(hours=n))) for n in range(4)]
    await centre.take(messages[0], messages[2])
    restarted = Centre(centre.conn, centre.store)
    restarted.state = await centre.store.load(RULES.policy.window)
    await restarted.refresh()
    outcome, _ = await restarted.take(*messages, gateway.announcement())
    assert [refusal.reason for refusal in outcome.refusals] == ["duplicate"] * 3
    assert outcome.accepted == 2
    [due] = outcome.acknowledgements
    assert due.acknowledgement.contiguous_seq == 5, "the description and four messages"
    assert gateway.epoch is not None
    assert due.epoch_key == gateway.epoch._key.key
    assert await centre.rows("SELECT contiguous_seq, received_messages FROM epoch") == [(5, 5)]


async def test_restored_state_equals_the_state_that_was_kept(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    gateway.clock = 0
    await centre.take(gateway.announce(NOW))
    messages = [gateway.report([]) for _ in range(7)]
    await centre.take(*messages[:3], messages[5])
    await centre.take(gateway.announce(NOW))
    restored = await centre.store.load(RULES.policy.window)
    assert restored.missing() == centre.state.missing() == {"camden": 3}
    [kept], [found] = centre.state.channels.values(), restored.channels.values()
    assert (found.highest_counter, found.announcement_sha256) == (
        kept.highest_counter,
        kept.announcement_sha256,
    )
    assert found.epochs == kept.epochs
    assert found.tallies == kept.tallies
    for epoch_id, window in kept.windows.items():
        again = found.windows[epoch_id]
        assert (again.highest, again.contiguous) == (window.highest, window.contiguous)
        assert dict(again.recent()) == dict(window.recent())


async def test_keys_at_rest_need_the_service_key(centre: Centre, gateway: SimulatedGateway) -> None:
    [(sealed,)] = await centre.rows("SELECT sealed_key FROM epoch")
    assert gateway.epoch is not None
    assert isinstance(sealed, bytes)
    assert gateway.epoch._key.key not in sealed
    other = EpochKeys(secrets.token_bytes(32))
    with pytest.raises(ServiceKeyError):
        await load_state(centre.conn, other, 1024, NOW)
    await centre.conn.execute("UPDATE epoch SET gateway_id = gateway_id + 0")
    with pytest.raises(ServiceKeyError):
        KEYS.open(999, gateway.epoch.epoch_id, sealed)


async def test_closed_epochs_open_nothing_after_a_restore(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    message = gateway.report(series([1], start=START))
    assert await epochs.close_open_epochs(centre.conn) == 1
    centre.state = await load_state(centre.conn, KEYS, 1024, int(time.time()) + 1)
    outcome, _ = await centre.take(message, gateway.announcement())
    assert outcome.parked == 1
    assert [refusal.reason for refusal in outcome.refusals] == ["duplicate"]
    outcome, _ = await centre.take(gateway.announce(NOW))
    assert outcome.accepted == 1


async def test_epoch_id_used_by_another_gateway_is_refused_by_the_store(
    centre: Centre, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await centre.enrol("w3n8b5rc6h")
    assert gateway.epoch is not None
    used = gateway.epoch.epoch_id
    monkeypatch.setattr(
        "tests.simulators.gateway.Epoch.begin",
        _begin_with_id(used),
    )
    _, stored = await centre.take(other.announce(NOW))
    assert stored.refused_epochs == {used}
    assert await centre.rows("SELECT count(*) FROM epoch") == [(2,)]


def _begin_with_id(epoch_id: bytes) -> object:
    from device_protocol.epoch import Epoch  # noqa: PLC0415 - before it is replaced

    begin = Epoch.begin

    def random(size: int) -> bytes:
        return epoch_id if size == len(epoch_id) else secrets.token_bytes(size)

    return lambda **given: begin(**given, random=random)


async def test_numbers_beyond_the_database_stop_nothing(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    huge = (1 << 64) - 1
    await centre.take(gateway.announce(NOW, previous=(huge, huge)))
    await centre.take(gateway.announce(NOW, previous=(huge, 5), counter=(1 << 63) - 1))
    outcome, _ = await centre.take(gateway.seal(b"", huge))
    assert [refusal.reason for refusal in outcome.refusals] == ["content-format"]
    assert await centre.rows("SELECT content_format FROM signed_batch") == [((1 << 31) - 1,)]


async def test_an_epoch_says_for_which_key_set_it_was_sealed(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    for version in (7, (1 << 63) - 1, 1 << 63):
        gateway.key_set_version = version
        await centre.take(gateway.announce(NOW))
    assert await centre.rows("SELECT counter, key_set_version FROM epoch ORDER BY counter") == [
        (1, 1),
        (2, 7),
        (3, (1 << 63) - 1),
        (4, None),
    ]


async def test_long_names_are_clipped(centre: Centre, gateway: SimulatedGateway) -> None:
    name = "n" * 20_000
    await centre.take(gateway.report([reading(1, name=name, time=START)]))
    [(kept, detail)] = await centre.rows("SELECT senml_name, detail FROM quarantine")
    assert len(str(kept)) == len(str(detail)) == 501


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


async def test_readings_before_their_description_leave_quarantine_with_it(
    centre: Centre,
) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    early = [
        *series([1, 2.5], start=START),
        reading(True, name="bay", unit="", time=START),  # noqa: FBT003 - a result
        reading(5000, time=START - timedelta(hours=1)),
        reading(4, name="no3", time=START),
    ]
    await centre.take(gateway.report(early))
    await centre.take(gateway.report([reading(9, time=START)]))
    assert await centre.rows("SELECT count(*) FROM observation") == [(0,)]
    await centre.describe(
        gateway,
        description(datastream(valid=(0, 1000)), datastream("bay", "bay_occupied", "bool")),
    )
    device = (gateway.tenant, gateway.device)
    for _ in range(2):
        await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert await centre.rows(OBSERVATIONS) == [
        ("bay", START, 1.0),
        ("no2", START, 1.0),
        ("no2", START + timedelta(minutes=1), 2.5),
    ]
    assert await centre.rows("SELECT state, reason, result FROM quarantine ORDER BY id") == [
        ("retried", "unknown-datastream", 1),
        ("retried", "unknown-datastream", 2.5),
        ("retried", "unknown-datastream", True),
        ("held", "unknown-datastream", 5000),
        ("held", "unknown-datastream", 4),
        ("retried", "unknown-datastream", 9),
        ("held", "conflicting-result", 9),
    ]


async def test_readings_that_nobody_describes_hold_up_no_others(centre: Centre) -> None:
    """A sensor that is never described fills the quarantine; another is described at last."""
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.take(gateway.report([reading(1, name="no3", time=START)]))
    await centre.conn.execute(
        "INSERT INTO quarantine (received_at, tenant, device, reason, detail, topic, senml_name,"
        "                        phenomenon_time, result, unit)"
        " SELECT received_at, tenant, device, reason, detail, topic, senml_name,"
        "        phenomenon_time + n * interval '1 second', result, unit"
        "   FROM quarantine, generate_series(1, 100000) AS n"
    )
    await centre.take(gateway.report([reading(7, time=START)]))
    await centre.describe(gateway, description(datastream(valid=(0, 1000))))
    device = (gateway.tenant, gateway.device)
    await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert await centre.rows(OBSERVATIONS) == [("no2", START, 7.0)]


async def test_flags_wait_in_quarantine_with_their_reading(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.take(
        gateway.report(
            [
                reading(5000, time=START, quality=Quality.OUT_OF_RANGE),
                reading(7, time=START + timedelta(minutes=1)),
            ]
        )
    )
    assert await centre.rows("SELECT quality FROM quarantine ORDER BY id") == [(1,), (0,)]
    await centre.describe(gateway, description(datastream(valid=(0, 1000))))
    device = (gateway.tenant, gateway.device)
    await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert [row[2] for row in await centre.rows(OBSERVATIONS)] == [5000.0, 7.0]
    assert await centre.rows("SELECT time, quality FROM observation_extra") == [(START, 1)]


async def test_latest_follows_the_newest_and_never_goes_back(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    latest = "SELECT time, value, result, quality FROM latest JOIN datastream ON id = datastream_id"
    await centre.take(gateway.report(series([1, 2, 3], start=START)))
    await centre.take(gateway.report([reading(7, time=START + timedelta(minutes=2))]))
    await batches.upsert_latest(centre.conn, centre.newest.take())
    newest = (START + timedelta(minutes=2), 3.0, None, 0)
    assert await centre.rows(latest) == [newest], "the contradiction is not the latest value"
    await centre.take(gateway.report([reading(9, time=START - timedelta(days=1))]))
    await batches.upsert_latest(centre.conn, centre.newest.take())
    assert await centre.rows(latest) == [newest]


async def test_latest_is_made_good_after_a_stop(centre: Centre, gateway: SimulatedGateway) -> None:
    occupied = reading(True, name="bay", unit="", time=START)  # noqa: FBT003 - a result
    await centre.take(gateway.report([*series([1, 2], start=START), occupied]))
    await batches.reconcile_latest(centre.conn)
    await batches.reconcile_latest(centre.conn)
    assert await centre.rows(
        "SELECT short_name, time, value, result FROM latest"
        " JOIN datastream ON id = datastream_id ORDER BY 1"
    ) == [("bay", START, 1.0, True), ("no2", START + timedelta(minutes=1), 2.0, None)]


async def test_refusals_add_up_by_the_hour(centre: Centre) -> None:
    def count(n: int, at: int, detail: str) -> Sequence[quarantine.RefusalCount]:
        found = quarantine.RefusalCount(
            tenant="camden", device="", reason="aead", n=n, last_at=at, last_detail=detail
        )
        return [found]

    hour = NOW - NOW % 3600
    await quarantine.add_refusals(centre.conn, count(2, hour, "first"))
    await quarantine.add_refusals(centre.conn, count(3, hour + 3599, "later\x00"))
    await quarantine.add_refusals(centre.conn, count(1, hour + 3600, "next hour"))
    assert await centre.rows("SELECT n, last_detail FROM refusal ORDER BY hour") == [
        (5, "later\ufffd"),
        (1, "next hour"),
    ]


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
