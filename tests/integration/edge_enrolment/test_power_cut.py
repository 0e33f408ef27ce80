"""A gateway's enrolment and renewal, cut short at every step, leave it a way on."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from device_protocol.first_boot import FirstBoot
from edge_agent import durable
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.identity import IdentityDirectory
from edge_agent.credentials.renewal import renew
from tests.integration.edge_enrolment.identities import DEVICE, identity_in, kid_of
from tests.simulators.est_server import EstServer
from tests.simulators.power import FailingOs, PowerCut


def cut_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[], None],
    *,
    prepare: Callable[[], None],
    after: Callable[[], None],
    merciful: bool,
) -> int:
    """Do `work` with the power going before each of its steps in turn; return how many there are.

    prepare: before each try. after: once the machine has started again.
    """
    for cut_at in itertools.count():
        prepare()
        disk = FailingOs(cut_at, merciful=merciful)
        monkeypatch.setattr(durable, "os", disk)
        try:
            work()
        except PowerCut:
            is_cut = True
        else:
            is_cut = False
        monkeypatch.setattr(durable, "os", os)
        after()
        if not is_cut:
            return cut_at
    raise AssertionError


@pytest.mark.parametrize("merciful", [True, False])
def test_power_may_go_at_any_step_of_a_first_enrolment(
    service: EstServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    merciful: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    numbers = itertools.count()
    directory = tmp_path
    invitation: FirstBoot

    def prepare() -> None:
        nonlocal directory, invitation
        directory = tmp_path / str(next(numbers))
        invitation = service.invite(DEVICE)

    def after() -> None:
        if (directory / "current").exists():
            assert identity_in(directory)  # whole, or not there
        issued = len(service.certificates)
        enrol(invitation, directory)
        assert len(service.certificates) <= issued + 1
        assert identity_in(directory)
        assert IdentityDirectory(directory).invitation() is None
        assert not list((directory / "pending").glob("*"))

    steps = cut_everywhere(
        monkeypatch,
        lambda: void(enrol(invitation, directory)),
        prepare=prepare,
        after=after,
        merciful=merciful,
    )
    assert steps > 50


@pytest.mark.parametrize("merciful", [True, False])
@pytest.mark.parametrize("how", ["renewal", "invitation"])
def test_power_may_go_at_any_step_of_a_change_and_the_gateway_is_somebody_throughout(
    service: EstServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    merciful: bool,  # noqa: FBT001  # a parameter of the test
    how: str,
) -> None:
    enrol(service.invite(DEVICE), directory)
    clock = Clock(directory / "clock")
    invitation: FirstBoot
    before: bytes

    def prepare() -> None:
        nonlocal invitation, before
        invitation = service.invite(DEVICE)
        before = identity_in(directory).signer.kid

    def work() -> None:
        if how == "invitation":
            enrol(invitation, directory)
        else:
            renew(directory, service.url, kind="ed25519", clock=clock)

    def after() -> None:
        held = identity_in(directory).signer.kid
        known = {before, kid_of(service.certificates[-1])}
        assert held in known
        if held == before:
            work()
        elif how == "invitation":
            assert enrol(invitation, directory).was_already
        assert identity_in(directory).signer.kid == kid_of(service.certificates[-1]) != before

    assert cut_everywhere(monkeypatch, work, prepare=prepare, after=after, merciful=merciful) > 30
    assert len(list((directory / "generations").iterdir())) == 2


def void(_: object) -> None:
    """Forget a result."""
