"""The enrolment service and clients that others wrote: strongSwan's, and curl with openssl."""

import base64
from pathlib import Path

import pytest

from enrolment import policy
from enrolment.authority import CredentialFiles
from enrolment.files import read_certificate, read_key
from enrolment.issuing import is_as
from tests.integration.conftest import SERVERS
from tests.integration.enrolment_service import Enrolment, command

pytestmark = [
    pytest.mark.interoperability,
    pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session"),
]


async def strongswan_roots(service: Enrolment, directory: Path) -> Path:
    """Fetch the roots with `pki --estca`; return the council's."""
    await command(
        *("pki", "--estca", "--url", f"{service.url}/camden"),
        *("--cacert", service.authority.region_root(), "--outform", "pem"),
        *("--caout", directory / "root.pem"),
    )
    files = [*directory.glob("root*")]  # noqa: ASYNC240 - three files of our own
    held = {read_certificate(path).subject.rfc4514_string(): path for path in files}
    assert len(held) == 3
    return held["CN=camden IoT root,O=camden"]


async def test_strongswan_enrols_and_renews(service: Enrolment, tmp_path: Path) -> None:
    invitation = await service.invite("strongswan")
    root = await strongswan_roots(service, tmp_path)
    assert root.exists()
    credential = CredentialFiles.named(tmp_path / "first")
    userpass = f"{invitation.device}:{invitation.token}"
    await strongswan_est(service, credential, "--userpass", userpass)
    first = read_certificate(credential.certificate)
    assert is_as(first, policy.gateway("camden", invitation.device))

    newer = CredentialFiles.named(tmp_path / "second")
    shown = ("--cert", credential.certificate, "--key", credential.key)
    await strongswan_est(service, newer, *shown)
    second = read_certificate(newer.certificate)
    assert is_as(second, policy.gateway("camden", invitation.device))
    assert second.public_key() != first.public_key()
    assert second.public_key() == read_key(newer.key).public_key()


async def test_openssl_and_curl_enrol_and_renew(service: Enrolment, tmp_path: Path) -> None:
    invitation = await service.invite("curl")
    first = CredentialFiles.named(tmp_path / "first")
    user = f"{invitation.device}:{invitation.token}"
    await openssl_enrol(service, first, "simpleenroll", "--user", user)
    second = CredentialFiles.named(tmp_path / "second")
    shown = ("--cert", first.certificate, "--key", first.key)
    await openssl_enrol(service, second, "simplereenroll", *shown)
    for credential in (first, second):
        certificate = read_certificate(credential.certificate)
        assert is_as(certificate, policy.gateway("camden", invitation.device))
        assert certificate.public_key() == read_key(credential.key).public_key()
    root = service.authority.council_root("camden")
    verified = await command(
        *("openssl", "verify", "-purpose", "sslclient", "-CAfile", root), second.certificate
    )
    assert verified.endswith(b": OK\n")


async def strongswan_est(
    service: Enrolment, credential: CredentialFiles, *shown: str | Path
) -> None:
    """Make a key, and have it certified by `pki --est`."""
    key = await command("pki", "--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
    credential.key.write_bytes(key)
    request = await command(
        "pki", "--req", "--type", "priv", "--in", credential.key, "--dn", "CN=x"
    )
    pem = await command(
        *("pki", "--est", "--url", f"{service.url}/camden", "--outform", "pem"),
        *("--cacert", service.authority.region_root()),
        *("--cacert", service.authority.council_root("camden")),
        *shown,
        given=request,
    )
    credential.certificate.write_bytes(pem)


async def openssl_enrol(
    service: Enrolment, credential: CredentialFiles, operation: str, *shown: str | Path
) -> None:
    """Do what an engineer would at a shell: key, request, POST, certificate out of PKCS #7."""
    await command("openssl", "genpkey", "-algorithm", "ed25519", "-out", credential.key)
    request = await command(
        *("openssl", "req", "-new", "-key", credential.key, "-subj", "/CN=x", "-outform", "DER")
    )
    answer = await command(
        *("curl", "--silent", "--show-error", "--fail", *shown),
        *(
            "--cacert",
            service.authority.region_root(),
            "--header",
            "Content-Type: application/pkcs10",
        ),
        *("--data-binary", "@-", service.est(operation)),
        given=base64.encodebytes(request),
    )
    pem = await command(
        "openssl", "pkcs7", "-inform", "DER", "-print_certs", given=base64.b64decode(answer)
    )
    credential.certificate.write_bytes(pem)
