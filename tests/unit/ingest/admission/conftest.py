"""A gateway, and a centre that knows it."""

import pytest

from tests.simulators.gateway import SimulatedGateway, public
from tests.unit.ingest.admission.centre import NOW, RECIPIENT, Centre


@pytest.fixture
def gateway() -> SimulatedGateway:
    return SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])


@pytest.fixture
def centre(gateway: SimulatedGateway) -> Centre:
    """A centre that has stored the gateway's announcement."""
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    return centre
