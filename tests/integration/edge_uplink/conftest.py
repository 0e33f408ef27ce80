"""A gateway in a city of the test's own, and the centre that hears it."""

from pathlib import Path

import pytest

from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import Gateway, centre_of
from tests.simulators.centre import Centre


@pytest.fixture
def gateway(own_city: City, tmp_path: Path) -> Gateway:
    return Gateway(own_city, tmp_path)


@pytest.fixture
def centre(own_city: City) -> Centre:
    return centre_of(own_city)
