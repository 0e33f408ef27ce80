"""A worker's number in the database: one holder at a time, and nobody writes on after another."""

import pytest

from ingest.workers.claim import Claim, ClaimError
from storage.database import OUTAGES, connect
from storage.ingest_workers import WorkerTakenError, take_worker

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def claim(*, worker: int = 0, workers: int = 2, scope: str = "") -> Claim:
    return Claim(scope=scope, worker=worker, workers=workers, patience_seconds=0.3)


async def test_number_has_one_holder_until_its_connection_ends(dsn: str) -> None:
    async with await connect(dsn, autocommit=True, application_name="second") as second:
        async with await connect(dsn, autocommit=True, application_name="first") as first:
            await claim().take(first)
            with pytest.raises(ClaimError, match="worker 0 of 2 is already running"):
                await claim().take(second)
        await claim().take(second)


async def test_other_numbers_and_other_scopes_do_not_meet(dsn: str) -> None:
    async with (
        await connect(dsn, autocommit=True, application_name="first") as first,
        await connect(dsn, autocommit=True, application_name="second") as second,
        await connect(dsn, autocommit=True, application_name="third") as third,
    ):
        await claim(worker=0).take(first)
        await claim(worker=1).take(second)
        await claim(worker=0, workers=5, scope="council").take(third)


async def test_sets_of_other_sizes_are_kept_apart(dsn: str) -> None:
    async with (
        await connect(dsn, autocommit=True, application_name="first") as first,
        await connect(dsn, autocommit=True, application_name="second") as second,
    ):
        await claim(worker=1, workers=2).take(first)
        with pytest.raises(WorkerTakenError) as taken:
            await take_worker(second, scope="", worker=0, workers=4)
        assert taken.value.others == (2,)


async def test_own_session_that_the_server_has_not_missed_is_ended(dsn: str) -> None:
    held = claim()
    lost = await connect(dsn, autocommit=True, application_name="lost")
    await held.take(lost)
    async with await connect(dsn, autocommit=True, application_name="again") as again:
        await held.take(again)
    with pytest.raises(OUTAGES, match="terminating connection"):
        await lost.execute("SELECT 1")
    await lost.close()


async def test_whoever_lost_its_number_to_another_writes_no_more(dsn: str) -> None:
    held = claim()
    async with await connect(dsn, autocommit=True, application_name="first") as first:
        await held.take(first)
    async with await connect(dsn, autocommit=True, application_name="first again") as again:
        await held.take(again)  # nobody had it meanwhile
    async with await connect(dsn, autocommit=True, application_name="rival") as rival:
        await claim().take(rival)
    async with await connect(dsn, autocommit=True, application_name="first") as late:
        with pytest.raises(ClaimError, match="run by another process meanwhile"):
            await held.take(late)
