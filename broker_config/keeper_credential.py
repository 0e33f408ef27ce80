"""The keeper's own key and certificate: the only ones let in where client ids are free.

Whoever may choose any client id can end, and take over, any session. So the listener for it
trusts neither the services' root nor anybody else's: its one anchor is this self-signed
certificate, and its key is made beside the broker's files and never leaves that machine.
What the keeper does with it is `broker_config.keeper`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker_config.mosquitto import KEEPER_CERTIFICATE_FILE
from broker_config.network import KEEPER
from runtime.atomic_files import write_atomically

KEY_FILE = "keeper.key"

_LIFETIME = timedelta(days=3650)  # Mosquitto reads its anchors once, when it starts
_BACKDATED = timedelta(days=1)
_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o640


@dataclass(frozen=True, slots=True)
class KeeperCredential:
    """Where the keeper's certificate and key lie."""

    certificate: Path
    key: Path


def keeper_credential(directory: Path) -> KeeperCredential:
    """Return the credential kept in `directory`, made on first use.

    A running Mosquitto believes a new one only after a restart.

    Raises:
        OSError: a file cannot be written.
    """
    found = KeeperCredential(directory / KEEPER_CERTIFICATE_FILE, directory / KEY_FILE)
    if not (found.certificate.exists() and found.key.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificate = _self_signed(key, datetime.now(UTC))
        write_atomically(found.key, pem, _KEY_MODE)
        write_atomically(
            found.certificate,
            certificate.public_bytes(serialization.Encoding.PEM),
            _CERTIFICATE_MODE,
        )
    return found


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, KEEPER)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
