"""Enrolling on a machine that does not know what time it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.clock import Clock, ClockQuality
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.est import UntrustedError
from enrolment.authority import Authority
from tests.integration.edge_enrolment.identities import DEVICE
from tests.simulators.est_server import est_server


def unsure_clock(directory: Path, now: datetime) -> Clock:
    """Return the clock of a machine that believes it is `now` and has nobody to ask."""
    return Clock(directory / "clock", wall=now.timestamp, source=lambda: ClockQuality.NONE)


def test_a_machine_without_a_clock_enrols_with_a_service_of_its_future(
    directory: Path, tmp_path: Path
) -> None:
    """OpenSSL, with the machine's clock, would say "not yet valid"."""
    now = datetime.now(UTC)
    future = Authority(tmp_path / "authority", "Test", clock=lambda: now + timedelta(days=40))
    directory.mkdir()
    with est_server(future) as service:
        invitation = service.invite(DEVICE)
        sure = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
        with pytest.raises(UntrustedError, match="not yet valid"):
            enrol(invitation, directory, clock=sure)
        clock = unsure_clock(directory, now)
        enrol(invitation, directory, clock=clock)
    assert clock.now() > now + timedelta(days=39)  # learnt from what its root signed
    later = unsure_clock(directory, now)
    assert later.now() > now + timedelta(days=39)  # and kept


def test_a_server_certificate_that_ended_before_the_floor_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    past = Authority(tmp_path / "authority", "Test", clock=lambda: now - timedelta(days=100))
    directory.mkdir()
    with est_server(past) as service:
        with pytest.raises(UntrustedError, match="certificate ended"):
            enrol(service.invite(DEVICE), directory, clock=unsure_clock(directory, now))
        assert "simpleenroll" not in service.asked
