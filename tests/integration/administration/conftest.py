"""An office: a running application, two councils and the people of each."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from api.service import open_app
from api.settings import ApiSettings, EnrolmentSettings
from storage.database import connect
from tests.integration.administration.office import (
    ORIGIN,
    URL_BASE,
    Office,
    furnish,
    hire,
    region_root,
)
from tests.integration.conftest import DatabaseServer


@pytest.fixture(scope="module")
async def office(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Office]:
    dsn = await database_server.create()
    root = region_root()
    root_file = tmp_path_factory.mktemp("office") / "region-root.pem"
    root_file.write_bytes(root.public_bytes(Encoding.PEM))
    settings = ApiSettings(
        dsn=dsn, enrolment=EnrolmentSettings(url_base=URL_BASE, region_root_file=root_file)
    )
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(
            await connect(dsn, autocommit=True, application_name="kerbstone test")
        )
        await furnish(conn)
        app = await stack.enter_async_context(open_app(settings))

        async def browser() -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app)
            return await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url=ORIGIN)
            )

        people = {}
        for name, tenant in (("Ben", "camden"), ("Lea", "leeds"), ("Olu", None)):
            people[name] = await hire(conn, await browser(), name, tenant)
            await people[name].sign_in()
        yield Office(app, conn, people, await browser(), root)
    await database_server.drop(dsn)
