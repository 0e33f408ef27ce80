"""A gateway that listens for what sensors push."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.edge_http_push.pushing import Gateway, running


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway
