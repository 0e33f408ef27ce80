"""How a computer becomes a gateway: from an invitation to a certificate, in any order of failures.

The private key is made here and stays here. The service is recognised by the digest of the
region's root, which the invitation carries, before the token is said to anybody (RFC 7030,
section 4.1.1). The key is on the disk before the token is spent on it, and the service answers
the same token and key with the same certificate again: so whatever is lost, an answer or the
power, the next call goes on. Nothing an agent uses changes before the very last step (see
`credentials.identity`), and spool and epoch counter are not touched: enrolling again with a new
invitation gives the same gateway new keys.

What is said to the service is `edge_agent.credentials.est`'s business; later certificates are
`edge_agent.credentials.renewal`'s.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from device_protocol.errors import RejectionError
from device_protocol.first_boot import FirstBoot, token_sha256
from device_protocol.identity import DAMAGED, device_of
from device_protocol.keys import VerifyingKey
from edge_agent.clock import Clock
from edge_agent.credentials import identity
from edge_agent.credentials.est import (
    EnrolmentError,
    EstClient,
    UntrustedError,
    UnusableError,
    certificate_request,
)
from edge_agent.credentials.identity import Generation, IdentityDirectory, Origin, PrivateKey
from edge_agent.credentials.signer import HardwareToken
from edge_agent.credentials.tls import mutual_context, server_context, unverified_context

KeyKind = Literal["ed25519", "p-256"]

_CLOCK_FILE: Final = "clock"
_FORGED: Final = (InvalidSignature, *DAMAGED)


class WrongDirectoryError(EnrolmentError):
    """The directory belongs to another gateway."""


class TokenMissingError(EnrolmentError):
    """The gateway signs in a PKCS #11 token so far, and none is given for its next key."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A gateway that holds a certificate.

    directory: the one given to `enrol`; the files in use are those in its `current`.
    was_already: this very invitation had been followed before; nothing was asked or changed.
    """

    tenant: str
    device: str
    directory: Path
    was_already: bool = False

    @property
    def current(self) -> Generation:
        """The files in use, under names that stay when they are replaced."""
        return Generation(self.directory / "current")


def enrol(
    first_boot: FirstBoot,
    directory: Path,
    *,
    kind: KeyKind = "ed25519",
    clock: Clock | None = None,
    token: HardwareToken | None = None,
    keep_invitation: bool = True,
) -> Enrolled:
    """Follow an invitation; safe to call again after any failure or power cut.

    kind: of the key for TLS, and for readings unless `token` holds one for them.
    clock: the agent's; without one, a clock whose floor is kept in `directory`.
    keep_invitation: put it into `directory` meanwhile, so that the gateway can go on by itself
    after a power cut; not needed where it will be given again, as by systemd.

    Raises:
        EnrolmentError: no certificate came; what was in use before still is.
        OSError: the directory cannot be written, or the token cannot be used.
    """
    store = IdentityDirectory(directory)
    clock = clock or Clock(directory / _CLOCK_FILE)
    with store.locked():
        held = _held_origin(store, first_boot)
        is_done = held is not None and _digest_of_token(first_boot) in held.spent_tokens
        if not is_done:
            if token is None:
                _check_no_token_was_used(store)
            if keep_invitation:
                store.keep_invitation(first_boot)
            key = _pending_key(store, first_boot, kind)
            generation = store.begin()
            generation.put(identity.REGION_ROOT, _pem(_region_root(first_boot, store, clock)))
            client = _certify(generation, first_boot, key, clock)
            if token is not None:
                add_signing_certificate(generation, client, token, first_boot.device, clock)
            generation.put_origin(_origin(first_boot, held))
            store.commit(generation)
            clock.save_floor()
            if token is not None:
                forget_old_keys(store, token)
        store.tidy(first_boot)
    return Enrolled(first_boot.tenant, first_boot.device, directory, was_already=is_done)


def new_key(kind: KeyKind) -> PrivateKey:
    """Make a private key from the operating system's randomness."""
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def mutual_client(generation: Generation, url: str, clock: Clock) -> EstClient:
    """Return a client that shows the certificate of `generation`.

    Raises:
        UnusableError: its files do not fit each other.
    """
    try:
        context = mutual_context(
            ca_file=generation.region_root_file,
            certificate_file=generation.certificate_file,
            key_file=generation.key_file,
            clock=clock,
        )
    except OSError as error:
        raise UnusableError(f"certificate and key cannot be used: {error}") from error
    return EstClient(url, context, clock)


def add_signing_certificate(
    generation: Generation, client: EstClient, token: HardwareToken, device: str, clock: Clock
) -> None:
    """Make a key in the token, have it certified, and add its certificate to `generation`.

    Raises:
        EnrolmentError, OSError: it failed.
    """
    key = token.generate()
    certificate = client.renew(certificate_request(key, device))
    council_root = x509.load_pem_x509_certificate(generation.council_root_file.read_bytes())
    check_certificate(certificate, key, device, council_root, clock)
    generation.put(identity.SIGNING_CERTIFICATE, _pem(certificate))


def forget_old_keys(store: IdentityDirectory, token: HardwareToken) -> None:
    """Destroy the token's keys that neither the identity in use nor the one before has.

    Raises:
        OSError: it failed.
    """
    kept = []
    for generation in store.generations():
        certificate = _read(generation.directory / identity.SIGNING_CERTIFICATE)
        public_key = certificate.public_key() if certificate else None
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            kept.append(public_key)
    token.keep_only(kept)


def check_certificate(
    certificate: x509.Certificate,
    key: PrivateKey,
    device: str,
    council_root: x509.Certificate,
    clock: Clock,
) -> None:
    """Return if a certificate is this gateway's, for this key, and good; the clock learns of it.

    Raises:
        UnusableError: it is not.
    """
    try:
        public_key = certificate.public_key()
        if VerifyingKey.from_public(public_key) != VerifyingKey.from_public(key.public_key()):
            raise UnusableError("the service has certified another key than asked")
        if device_of(certificate) != device:
            raise UnusableError("the service has sent another gateway's certificate")
        certificate.verify_directly_issued_by(council_root)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (RejectionError, x509.ExtensionNotFound, *_FORGED) as error:
        raise UnusableError(f"the service has sent an unusable certificate: {error}") from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise UnusableError("the service has sent a certificate that is not for clients")
    clock.raise_floor(certificate.not_valid_before_utc.timestamp())
    if certificate.not_valid_after_utc.timestamp() <= clock.unix():
        raise UnusableError(
            f"the certificate has ended at {certificate.not_valid_after_utc}; check this clock, "
            "and the service's"
        )


def _origin(first_boot: FirstBoot, before: Origin | None) -> Origin:
    return Origin(
        tenant=first_boot.tenant,
        device=first_boot.device,
        url=first_boot.url,
        spent_tokens=(*(before.spent_tokens if before else ()), _digest_of_token(first_boot)),
    )


def _digest_of_token(first_boot: FirstBoot) -> str:
    return token_sha256(first_boot.token).hex()


def _held_origin(store: IdentityDirectory, first_boot: FirstBoot) -> Origin | None:
    """Return how the identity in use came about, if there is one and it says so.

    Raises:
        WrongDirectoryError: it is another gateway's.
    """
    current = store.current()
    if current is None:
        return None
    try:
        held = current.origin()
    except (OSError, ValueError):
        return None  # damaged: enrolling anew repairs it
    if (held.tenant, held.device) != (first_boot.tenant, first_boot.device):
        raise WrongDirectoryError(
            f"{store.path} is of gateway {held.device} ({held.tenant}), the invitation of "
            f"{first_boot.device} ({first_boot.tenant}); enrol into another directory, and give "
            "the new gateway a state directory of its own"
        )
    return held


def _check_no_token_was_used(store: IdentityDirectory) -> None:
    """Return unless the identity in use signs in a token; no file replaces that unasked.

    Raises:
        TokenMissingError: it does.
    """
    current = store.current()
    if current is not None and (current.directory / identity.SIGNING_CERTIFICATE).exists():
        raise TokenMissingError(
            "this gateway's key for readings is in a PKCS #11 token: give --config with the "
            "settings that name it ([signer]), or --pkcs11-module, --pkcs11-token and "
            "--pkcs11-pin-file; to keep the key in a file from now on, enrol into another directory"
        )


def _pending_key(store: IdentityDirectory, first_boot: FirstBoot, kind: KeyKind) -> PrivateKey:
    """Return the key for this token, on the disk by now; the one it was perhaps spent on."""
    spent = token_sha256(first_boot.token)
    key = store.pending_key(spent)
    if key is None:
        key = new_key(kind)
        store.keep_pending(spent, key)
    return key


def _region_root(first_boot: FirstBoot, store: IdentityDirectory, clock: Clock) -> x509.Certificate:
    """Return the certificate of the invitation's digest, fetched from whoever answers."""
    wanted = first_boot.region_root_sha256
    current = store.current()
    held = _read(current.region_root_file) if current else None
    if held is not None and _digest(held) == wanted:
        return held
    for root in EstClient(first_boot.url, unverified_context(), clock).ca_certificates():
        if _digest(root) == wanted:
            return root
    raise UntrustedError(
        "whoever answers does not know the root of the invitation: somebody is in between, or "
        "the invitation is of another network; compare the address, or ask for a new invitation"
    )


def _certify(
    generation: Generation, first_boot: FirstBoot, key: PrivateKey, clock: Clock
) -> EstClient:
    """Spend the token on `key`, fill `generation` with what comes, and return a client for more."""
    service = EstClient(first_boot.url, server_context(generation.region_root_file, clock), clock)
    roots = service.ca_certificates()
    generation.put(identity.NETWORK, service.document(identity.NETWORK))
    certificate = service.enrol(
        certificate_request(key, first_boot.device),
        device=first_boot.device,
        token=first_boot.token,
    )
    council_root = _issuer(certificate, roots)
    check_certificate(certificate, key, first_boot.device, council_root, clock)
    generation.put(identity.COUNCIL_ROOT, _pem(council_root))
    generation.put_key(key)
    generation.put_certificate(certificate)
    mutual = mutual_client(generation, first_boot.url, clock)
    generation.put(identity.SITE, mutual.document(identity.SITE))
    return mutual


def _issuer(certificate: x509.Certificate, roots: list[x509.Certificate]) -> x509.Certificate:
    for root in roots:
        try:
            certificate.verify_directly_issued_by(root)
        except _FORGED:
            continue
        return root
    raise UnusableError("the service has sent a certificate of none of its roots")


def _digest(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def _read(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
