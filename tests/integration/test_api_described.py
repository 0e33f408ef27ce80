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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from api.openapi.sensorthings import WRITING
from api.service import run
from api.settings import ApiSettings
from storage import api_keys
from storage.database import connect
from tests.integration.conftest import DatabaseServer
from tests.simulators.street import seed

EXAMPLES = int(os.environ.get("KERBSTONE_TEST_API_EXAMPLES", "0"))
FEW = 4
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)
ENDLESS = {"/live"}


def described(*, writing: bool) -> Any:
    """Return what is made up from the operations that read, or from those that write."""
    chosen = [
        one for one in operations() if one.path not in ENDLESS and (one.group == WRITING) is writing
    ]
    made = schemathesis.openapi.from_dict(document("http://localhost", chosen))
    made.config.phases.update(phases=["examples", "fuzzing"])
    return made


reading, writing = described(writing=False), described(writing=True)
bounded = settings(
    max_examples=EXAMPLES or FEW,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


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


@dataclass(frozen=True)
class Where:
    """Where a seeded city is served, and a key that may write for all of it."""

    root: str
    key: str


@pytest.fixture(scope="module")
async def served(database_server: DatabaseServer) -> AsyncIterator[Where]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await seed(conn, days=2)
        key = api_keys.draw_key()
        await api_keys.add_key(
            conn,
            tenant=None,
            name="test",
            scopes=["read", "write"],
            rate_class="bulk",
            key=key,
            expires_at=datetime.now(UTC) + timedelta(days=1),
            actor="test",
        )
    process = _Served(dsn)
    await process.start()
    yield Where(process.root, key)
    await process.stop()
    await database_server.drop(dsn)


@reading.parametrize()  # type: ignore[untyped-decorator]
@bounded
def test_every_answer_is_described(case: schemathesis.Case[Any], served: Where) -> None:
    case.call_and_validate(base_url=served.root, checks=CHECKS, timeout=30)


@writing.parametrize()  # type: ignore[untyped-decorator]
@bounded
def test_every_answer_to_a_writer_is_described(case: schemathesis.Case[Any], served: Where) -> None:
    case.headers["X-API-Key"] = served.key
    case.call_and_validate(base_url=served.root, checks=CHECKS, timeout=30)


async def test_the_document_is_served_as_it_is_tested(served: Where) -> None:
    async with httpx.AsyncClient(base_url=served.root) as client:
        assert (await client.get("/openapi.json")).json() == document(served.root)


@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("?council=nowhere", 200), ("?since=soon", 400)]
)
async def test_the_stream_answers_as_described(served: Where, query: str, status: int) -> None:
    said = document(served.root)["paths"]["/live"]["get"]["responses"]
    async with (
        httpx.AsyncClient(base_url=served.root) as client,
        client.stream("GET", f"/live{query}") as answer,
    ):
        assert answer.status_code == status
        [media_type] = said[str(status)]["content"]
        assert answer.headers["content-type"].partition(";")[0] == media_type
    async with httpx.AsyncClient(base_url=served.root) as client:
        head = await client.head("/live")
    assert (head.status_code, head.content) == (200, b"")
