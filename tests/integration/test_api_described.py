"""Requests made up from the API's own description: no fault, and no answer that is not described.

Each operation gets a few, the same in every run. For more, at random:
KERBSTONE_TEST_API_EXAMPLES=500 pytest tests/integration/test_api_described.py
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi.document import document, operations
from api.service import run
from api.settings import ApiSettings
from storage.database import connect
from tests.integration.conftest import DatabaseServer
from tests.simulators.street import seed

EXAMPLES = int(os.environ.get("KERBSTONE_TEST_API_EXAMPLES", "0"))
FEW = 6
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)
endless = {"/live"}
schema = schemathesis.openapi.from_dict(
    document("http://localhost", [one for one in operations() if one.path not in endless])
)
schema.config.phases.update(phases=["examples", "fuzzing"])


class _Served:
    """The web process in a thread of its own, so that tests may wait for its answers."""

    def __init__(self, dsn: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.root = f"http://127.0.0.1:{self._port}"
        self._settings = ApiSettings(dsn=dsn, port=self._port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="served")

    def _run(self) -> None:
        self._task = self._loop.create_task(run(self._settings))
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def start(self) -> None:
        self._thread.start()
        async with httpx.AsyncClient() as client:
            for _ in range(400):
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.root}/healthz")).json().get("live"):
                        return
                await asyncio.sleep(0.05)
        raise AssertionError("the service does not answer")

    async def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.to_thread(self._thread.join)


@pytest.fixture(scope="module")
async def root(database_server: DatabaseServer) -> AsyncIterator[str]:
    """Where a seeded city is served."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await seed(conn, days=2)
    served = _Served(dsn)
    await served.start()
    yield served.root
    await served.stop()
    await database_server.drop(dsn)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES or FEW,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_described(case: schemathesis.Case[Any], root: str) -> None:
    case.call_and_validate(base_url=root, checks=CHECKS, timeout=30)


async def test_the_document_is_served_as_it_is_tested(root: str) -> None:
    async with httpx.AsyncClient(base_url=root) as client:
        assert (await client.get("/openapi.json")).json() == document(root)


@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("?council=nowhere", 200), ("?since=soon", 400)]
)
async def test_the_stream_answers_as_described(root: str, query: str, status: int) -> None:
    described = document(root)["paths"]["/live"]["get"]["responses"]
    async with (
        httpx.AsyncClient(base_url=root) as client,
        client.stream("GET", f"/live{query}") as answer,
    ):
        assert answer.status_code == status
        [media_type] = described[str(status)]["content"]
        assert answer.headers["content-type"].partition(";")[0] == media_type
    async with httpx.AsyncClient(base_url=root) as client:
        head = await client.head("/live")
    assert (head.status_code, head.content) == (200, b"")
