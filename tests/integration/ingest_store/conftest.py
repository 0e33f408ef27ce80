"""A centre that stores, and a gateway that has described itself to it."""

from collections.abc import AsyncIterator

import pytest

from ingest.store import Store
from storage.database import Connection
from tests.integration.ingest_centre import KEYS, Centre
from tests.simulators.gateway import SimulatedGateway, datastream, description


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
