"""A renewal brings a fresh key and keeps the rest; against the real service, too."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from device_protocol.first_boot import FirstBoot
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.est import RefusedError, UnreachableError, UnusableError
from edge_agent.credentials.identity import IdentityDirectory
from edge_agent.credentials.renewal import renew
from storage import registry
from storage.network_view import gateway_facts
from tests.integration.conftest import SERVERS
from tests.integration.edge_enrolment.identities import DEVICE, identity_in, kid_of
from tests.integration.enrolment_service import running_service
from tests.simulators.est_server import Answer, EstServer, certs_only


def test_a_renewal_brings_a_fresh_key_and_keeps_the_rest(
    service: EstServer, directory: Path
) -> None:
    enrolled = enrol(service.invite(DEVICE), directory)
    before = identity_in(directory)
    old = IdentityDirectory(directory).current()
    assert old is not None
    renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    after = identity_in(directory)
    assert after.signer.kid != before.signer.kid
    assert enrolled.current.document("site.json")["site"] == "Lamp 1"
    assert old.key_file.exists()  # for whoever has just read its certificate
    renew(directory, service.url, kind="p-256", clock=Clock(directory / "clock"))
    assert not old.directory.exists()
    assert identity_in(directory).signer.algorithm == -9


def test_a_lost_answer_to_a_renewal_is_asked_for_again_with_the_same_key(
    service: EstServer, directory: Path
) -> None:
    """The service certifies only so many keys in a life, and repeats what it certified."""
    enrol(service.invite(DEVICE), directory)
    clock = Clock(directory / "clock")

    def ask() -> bytes:
        renew(directory, service.url, kind="ed25519", clock=clock)
        return identity_in(directory).signer.kid

    service.lost.add("simplereenroll")
    for _ in range(3):
        with pytest.raises(UnreachableError):
            ask()
    service.lost.clear()
    kid = ask()
    assert [kid_of(each) for each in service.certificates[-4:]] == [kid] * 4
    service.lost.add("simplereenroll")
    with pytest.raises(UnreachableError):
        ask()
    lost = kid_of(service.certificates[-1])
    service.lost.clear()
    service.instead["simplereenroll"] = Answer(409, b"This key is taken.")
    with pytest.raises(RefusedError):
        ask()
    service.instead.clear()
    assert ask() not in (kid, lost), "a key that was refused is not asked for again"


def test_a_renewal_under_another_root_is_refused(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory)
    before = identity_in(directory).signer.kid

    def by_another(_: bytes) -> bytes:
        key: Any = service.certificates[-1].public_key()
        return certs_only([service.authority.issue_gateway("leeds", DEVICE, key)])

    service.spoil["simplereenroll"] = by_another
    with pytest.raises(UnusableError, match="unusable certificate"):
        renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    assert identity_in(directory).signer.kid == before


@pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")
async def test_the_real_service_enrols_and_renews(
    dsn: str, tmp_path: Path, directory: Path
) -> None:
    async with running_service(dsn, tmp_path / "region") as region:
        invitation = await region.invite("Lamp 1")
        root = x509.load_pem_x509_certificate(region.authority.region_root().read_bytes())
        first_boot = FirstBoot(
            url=f"{region.url}/.well-known/est/camden",
            tenant="camden",
            device=invitation.device,
            token=invitation.token,
            region_root_sha256=root.fingerprint(hashes.SHA256()),
        )
        enrolled = await asyncio.to_thread(enrol, first_boot, directory)
        current = enrolled.current
        assert current.document("site.json")["site"] == "Lamp 1"
        assert current.document("network.json")["broker"]["host"] == "broker.example.org"
        first = current.certificate_file.read_bytes()
        clock = Clock(directory / "clock")
        url = first_boot.url
        await asyncio.to_thread(renew, directory, url, kind="p-256", clock=clock)
        second = current.certificate_file.read_bytes()
        assert first != second
        [facts] = await gateway_facts(region.conn, device=invitation.device)
        assert facts.status == "active"
        ends = x509.load_pem_x509_certificate(second).not_valid_after_utc
        assert facts.certificate_until == ends

        again = await region.invite("Lamp 1", renew=True)
        assert again.device == invitation.device
        replaced = dataclasses.replace(first_boot, token=again.token)
        await asyncio.to_thread(enrol, replaced, directory)
        assert current.certificate_file.read_bytes() != second
        with pytest.raises(RefusedError, match="used with another key"):
            await asyncio.to_thread(enrol, replaced, tmp_path / "clone")
        await registry.set_gateway_status(
            region.conn, device=invitation.device, status="revoked", actor="operator test"
        )
        with pytest.raises(RefusedError, match="revoked"):
            await asyncio.to_thread(renew, directory, url, kind="p-256", clock=clock)
