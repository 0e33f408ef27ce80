"""Batches that fail or go unanswered, and what a restart finds: counters, keys, windows."""

import secrets
import time
from datetime import timedelta

import psycopg
import pytest

from ingest.admission.outcome import Outcome
from ingest.epoch_keys import EpochKeys, ServiceKeyError
from ingest.store import Stored, load_state
from storage import batches, epochs
from storage.database import Connection, connect
from tests.integration.ingest_centre import KEYS, NOW, RULES, START, Centre
from tests.simulators.gateway import SimulatedGateway, reading, series


async def test_failed_transaction_leaves_nothing_and_can_be_repeated(
    dsn: str, centre: Centre, gateway: SimulatedGateway
) -> None:
    outcome = centre.admit(gateway.report(series([1, 2], start=START)))
    async with await connect(dsn, autocommit=True, application_name="test") as conn:
        await batches.prepare(conn)
        await batches.make_room(conn, outcome.columns.observations)
        async with conn.transaction() as transaction:
            await centre.store._write(conn, outcome, followed=True)
            raise psycopg.Rollback(transaction)
        assert await centre.rows("SELECT count(*) FROM observation") == [(0,)]
        assert await centre.rows("SELECT highest_seq FROM epoch") == [(1,)]
        assert await centre.rows("SELECT count(*) FROM rollup_log") == [(0,)]
        assert await centre.rows("SELECT count(*) FROM unpublished_batch") == [(0,)]
        async with conn.transaction():
            await centre.store._write(conn, outcome, followed=True)
    assert await centre.rows("SELECT count(*) FROM observation") == [(2,)]
    assert await centre.rows("SELECT highest_seq FROM epoch") == [(2,)]
    assert await centre.rows("SELECT count(*) FROM unpublished_batch") == [(1,)]


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

    async def dying(conn: Connection, outcome: Outcome, *, followed: bool) -> Stored:
        nonlocal attempts
        attempts += 1
        stored = await original(conn, outcome, followed=followed)
        if attempts == 1:
            pid = conn.info.backend_pid
            finish = "COMMIT" if committed else "SELECT 1"
            transaction = await batches.begun(conn)
            centre.store._unsettled = (transaction.id, stored)
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
