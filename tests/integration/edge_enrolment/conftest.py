"""A certificate service that can be misused, and where a gateway keeps its identity."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from enrolment.authority import Authority
from tests.simulators.est_server import EstServer, est_server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test")) as running:
        yield running


@pytest.fixture(autouse=True)
def _behaving(service: EstServer) -> None:
    service.lost.clear()
    service.instead.clear()
    service.spoil.clear()
    service.asked.clear()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "identity"
