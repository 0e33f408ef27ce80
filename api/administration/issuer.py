"""Where gateways enrol, and whom they recognise there: what every invitation must say."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from api.settings import EnrolmentSettings
from device_protocol.first_boot import EST_PATH, FirstBoot, check_url


@dataclass(frozen=True, slots=True)
class Issuer:
    """Makes first-boot files. url_base: of the enrolment service, without a slash at the end."""

    url_base: str
    region_root_sha256: bytes

    def first_boot(self, *, tenant: str, device: str, token: str) -> FirstBoot:
        """Return what a gateway needs to enrol.

        Raises:
            FirstBootError: the address is too long for a QR code.
        """
        return FirstBoot(
            url=f"{self.url_base}{EST_PATH}{tenant}",
            tenant=tenant,
            device=device,
            token=token,
            region_root_sha256=self.region_root_sha256,
        )


def load_issuer(settings: EnrolmentSettings) -> Issuer | None:
    """Return the issuer that the settings describe, None if they describe none.

    Raises:
        OSError: the region root's file cannot be read.
        ValueError: it holds no certificate, or the address cannot be used.
    """
    if settings.region_root_file is None:
        return None
    check_url(f"{settings.url_base}{EST_PATH}council")
    root = x509.load_pem_x509_certificate(settings.region_root_file.read_bytes())
    sha256 = hashlib.sha256(root.public_bytes(Encoding.DER)).digest()
    return Issuer(settings.url_base, sha256)


def zip_of(first_boots: Sequence[FirstBoot]) -> bytes:
    """Return a ZIP archive with each gateway's first-boot file, named after its device."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for one in first_boots:
            files.writestr(f"{one.device}-first-boot.toml", one.to_toml())
    return archive.getvalue()
