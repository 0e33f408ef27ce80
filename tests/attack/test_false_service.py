"""Posing as the certificate service, to be told a token: a stranger, and the broker's operator.

The gateway stops both before it says the token; and at the genuine service the same invitation is
good afterwards.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.est import UntrustedError
from edge_agent.credentials.identity import IdentityDirectory
from edge_agent.credentials.renewal import renew
from enrolment.authority import Authority
from tests.simulators.est_server import EstServer, certs_only, est_server

DEVICE = "k7q2m9xd4t"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test")) as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "identity"


def certificate_in(directory: Path) -> bytes:
    current = IdentityDirectory(directory).current()
    assert current is not None
    return current.certificate_file.read_bytes()


def test_pose_as_the_certificate_service_with_another_root(
    service: EstServer, directory: Path, tmp_path: Path
) -> None:
    invitation = service.invite(DEVICE)
    with est_server(Authority(tmp_path / "impostor", "Test")) as impostor:
        with pytest.raises(UntrustedError, match="does not know the root of the invitation"):
            enrol(dataclasses.replace(invitation, url=impostor.url), directory)
        # One that shows the real roots, as anybody can, still cannot speak for them.
        roots = certs_only(
            x509.load_pem_x509_certificates(service.authority.service_root().read_bytes())
        )
        impostor.spoil["cacerts"] = lambda _: roots
        with pytest.raises(UntrustedError, match="is not believed"):
            enrol(dataclasses.replace(invitation, url=impostor.url), directory)
        assert set(impostor.asked) == {"cacerts"}
    enrol(invitation, directory)


def test_pose_as_the_certificate_service_with_the_brokers_certificate(
    service: EstServer, directory: Path
) -> None:
    """The broker's certificate is of the same root, and its host name may be the same."""
    authority = service.authority
    invitation = service.invite(DEVICE)
    with est_server(authority, credential=authority.broker_server()) as broker:
        with pytest.raises(UntrustedError, match="another server of the network"):
            enrol(dataclasses.replace(invitation, url=broker.url), directory)
        enrol(invitation, directory)
        before = certificate_in(directory)
        with pytest.raises(UntrustedError, match="another server of the network"):
            renew(directory, broker.url, kind="ed25519", clock=Clock(directory / "clock"))
        assert broker.asked == ["cacerts"]
    assert certificate_in(directory) == before
