"""The enrolment service over real TLS and a real database."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.conftest import DatabaseServer
from tests.integration.enrolment_service import Enrolment, running_service


@pytest.fixture(scope="module")
async def service(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Enrolment]:
    """One service for all tests of this module; each invites sites of its own."""
    dsn = await database_server.create()
    async with running_service(dsn, tmp_path_factory.mktemp("enrolment")) as running:
        yield running
    await database_server.drop(dsn)
