"""A gateway's own client against the real service."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from device_protocol.first_boot import FirstBoot
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import KeyKind as KeyKindName
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.est import UntrustedError
from edge_agent.credentials.renewal import renew
from enrolment import policy
from enrolment.authority import KeyKind
from enrolment.files import read_certificate
from enrolment.issuing import is_as
from storage import registry
from tests.integration.conftest import SERVERS
from tests.integration.enrolment.counts import answered
from tests.integration.enrolment_service import Enrolment

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


@pytest.mark.parametrize("kind", ["ed25519", "p-256"])
async def test_gateway_follows_its_invitation_and_renews(
    service: Enrolment, tmp_path: Path, kind: KeyKindName
) -> None:
    invitation = await service.invite(f"edge-{kind}")
    region_root = read_certificate(service.authority.region_root())
    first_boot = FirstBoot(
        url=service.est("").rstrip("/"),
        tenant="camden",
        device=invitation.device,
        token=invitation.token,
        region_root_sha256=region_root.fingerprint(hashes.SHA256()),
    )
    enrolled = await asyncio.to_thread(enrol, first_boot, tmp_path, kind=kind)
    first = read_certificate(enrolled.current.certificate_file)
    assert enrolled.current.document("site.json")["site"] == f"edge-{kind}"
    assert enrolled.current.document("network.json")["broker"]["port"] == 8884
    clock = Clock(tmp_path / "clock")
    await asyncio.to_thread(renew, tmp_path, first_boot.url, kind=kind, clock=clock)
    second = read_certificate(enrolled.current.certificate_file)
    for certificate in (first, second):
        assert is_as(certificate, policy.gateway("camden", invitation.device))
    assert second.public_key() != first.public_key()
    [row] = await registry.gateways(service.conn, invitation.device)
    assert len(row.keys) == 2


async def test_gateway_refuses_a_service_of_another_region(
    service: Enrolment, tmp_path: Path
) -> None:
    """The token is not said: it is still good afterwards."""
    invitation = await service.invite("edge-elsewhere")
    first_boot = FirstBoot(
        url=service.est("").rstrip("/"),
        tenant="camden",
        device=invitation.device,
        token=invitation.token,
        region_root_sha256=bytes(32),
    )
    before = answered("simpleenroll")
    with pytest.raises(UntrustedError):
        await asyncio.to_thread(enrol, first_boot, tmp_path)
    assert answered("simpleenroll") == before
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200
