"""One stage for each module and kind of broker: real broker, real database, real ingest."""

from collections.abc import AsyncIterator, Iterator

import pytest

import ingest.pipeline
import ingest.service
from ingest.admission.decision import Rules
from storage.database import connect
from tests.attack.stage import Stage, collected
from tests.integration.conftest import DatabaseServer, database_server
from tests.integration.fix_brokers import City
from tests.integration.region import make_region

__all__ = ["database_server"]

PARKED_SECONDS = 2


@pytest.fixture(scope="module")
def impatient() -> Iterator[None]:
    """Let the centre write counts and give up waiting sooner than in production."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.service, "_FLUSH_SECONDS", 0.1)
        patch.setattr(ingest.pipeline, "_HOUSEKEEPING_SECONDS", 0)

        def rules(**told: object) -> Rules:
            return Rules(parked_seconds=PARKED_SECONDS, **told)  # type: ignore[arg-type]

        patch.setattr(ingest.service, "Rules", rules)
        yield


@pytest.fixture(scope="module")
async def stage(
    city: City,
    database_server: DatabaseServer,
    tmp_path_factory: pytest.TempPathFactory,
    impatient: None,
) -> AsyncIterator[Stage]:
    """A city where good traffic flows, to be attacked."""
    dsn = await database_server.create()
    directory = tmp_path_factory.mktemp("region")
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        region = await make_region(city, dsn, directory, conn)
        with collected("security") as log:
            stage = Stage(city, region, log, set())
            await stage.start_ingest()
            try:
                yield stage
            finally:
                await stage.stop_ingest()
    await database_server.drop(dsn)
