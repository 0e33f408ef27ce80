"""First-boot files: whom a gateway recognises, and the archive of many."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from api.administration.issuer import load_issuer, zip_of
from api.settings import ApiSettings, EnrolmentSettings
from device_protocol.first_boot import FirstBoot, draw_token
from runtime.settings import SettingsError, load

URL = "https://enrol.example.org:8445"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    path = tmp_path / "region-root.pem"
    path.write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    return path


def test_an_invitation_names_the_service_and_the_root(root: Path) -> None:
    issuer = load_issuer(EnrolmentSettings(url_base=URL, region_root_file=root))
    assert issuer is not None
    token = draw_token()
    made = issuer.first_boot(tenant="camden", device="k7q2m9xd4t", token=token)
    der = x509.load_pem_x509_certificate(root.read_bytes()).public_bytes(Encoding.DER)
    assert made.region_root_sha256 == hashlib.sha256(der).digest()
    assert (made.url, made.token) == (f"{URL}/.well-known/est/camden", token)
    with zipfile.ZipFile(io.BytesIO(zip_of([made]))) as files:
        assert files.namelist() == ["k7q2m9xd4t-first-boot.toml"]
        assert FirstBoot.from_toml(files.read(files.namelist()[0]).decode()) == made


def test_without_an_address_there_is_no_issuer() -> None:
    assert load_issuer(EnrolmentSettings()) is None


def test_an_address_that_cannot_be_used_stops_the_start(root: Path) -> None:
    with pytest.raises(ValueError, match="url"):
        load_issuer(EnrolmentSettings(url_base="https://user@host", region_root_file=root))


@pytest.mark.parametrize("table", [f'url_base = "{URL}"', 'region_root_file = "region-root.pem"'])
def test_address_and_root_come_together(tmp_path: Path, root: Path, table: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(f'dsn = "a"\n[enrolment]\n{table}\n')
    with pytest.raises(SettingsError, match="together"):
        load(ApiSettings, path)
