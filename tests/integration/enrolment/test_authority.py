"""The certificate authority over a real directory: what it keeps, renews and refuses to replace."""

import os
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from device_protocol.errors import SignerError
from device_protocol.identity import (
    CONFIGURATION_SIGNING_OID,
    KEY_SET_SIGNING_OID,
    check_chain,
    device_of,
    renewal_due,
)
from device_protocol.keys import VerifyingKey
from enrolment import files, policy
from enrolment.authority import Authority, CredentialFiles, KeyKind, enrol_locally, network_of
from enrolment.files import (
    CredentialError,
    PrivateKey,
    read_certificate,
    read_key,
    write_certificate,
)
from enrolment.issuing import build_certificate
from tests.integration.fix_network import contents

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_SECONDS = str(int(NOW.timestamp()))


def authority(directory: Path, *, days_later: float = 0) -> Authority:
    return Authority(directory, "London", clock=lambda: NOW + timedelta(days=days_later))


def everything(held: Authority) -> list[CredentialFiles]:
    held.council_root("camden")
    return [
        held.broker_server(["broker.example.org"]),
        held.enrolment_server(["enrol.example.org"]),
        held.service_client("ingest"),
        held.service_client("ingest", "camden"),
        held.key_set_signer("camden"),
        held.configuration_signer("camden"),
    ]


def test_second_run_keeps_everything(tmp_path: Path) -> None:
    everything(authority(tmp_path))
    before = contents(tmp_path)
    everything(authority(tmp_path, days_later=30))
    assert contents(tmp_path) == before


def test_what_is_due_is_made_anew_with_a_new_key_and_roots_stay(tmp_path: Path) -> None:
    everything(authority(tmp_path))
    before = contents(tmp_path)
    everything(authority(tmp_path, days_later=61))  # two thirds of 90 days
    changed = {path.name for path, content in contents(tmp_path).items() if content != before[path]}
    assert changed == {
        f"{stem}.{kind}"
        for stem in (
            *("server", "enrolment-server", "ingest", "ingest.camden"),
            *("key-set-signer", "configuration-signer"),
        )
        for kind in ("pem", "key")
    }


def test_new_host_makes_a_new_server_certificate(tmp_path: Path) -> None:
    held = authority(tmp_path)
    first = read_certificate(held.broker_server(["one.example.org"]).certificate)
    second = read_certificate(held.broker_server(["two.example.org"]).certificate)
    assert first.serial_number != second.serial_number


@pytest.mark.parametrize("lost", ["key", "pem"])
def test_half_a_credential_is_made_whole(tmp_path: Path, lost: str) -> None:
    credential = authority(tmp_path).service_client("ingest")
    (credential.key if lost == "key" else credential.certificate).unlink()
    again = authority(tmp_path).service_client("ingest")
    certificate = read_certificate(again.certificate)
    assert read_key(again.key).public_key() == certificate.public_key()


def test_crash_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    credential = authority(tmp_path).service_client("ingest")
    files.write_key(credential.key, KeyKind.P256.generate())  # the new key came, its partner not
    again = authority(tmp_path).service_client("ingest")
    certificate = read_certificate(again.certificate)
    assert read_key(again.key).public_key() == certificate.public_key()


def test_credential_of_a_replaced_root_is_not_kept(tmp_path: Path) -> None:
    credential = authority(tmp_path).service_client("ingest")
    for path in tmp_path.glob("service-root.*"):
        path.unlink()
    authority(tmp_path).service_client("ingest")
    root = read_certificate(tmp_path / "service-root.pem")
    read_certificate(credential.certificate).verify_directly_issued_by(root)


def test_lost_root_key_is_reported_and_never_replaced(tmp_path: Path) -> None:
    root = authority(tmp_path).council_root("camden")
    before = root.read_bytes()
    (tmp_path / "councils/camden/root.key").unlink()
    with pytest.raises(CredentialError, match=r"root\.key holds no usable private key"):
        authority(tmp_path).council_root("camden")
    assert root.read_bytes() == before


def test_root_with_another_key_is_reported(tmp_path: Path) -> None:
    authority(tmp_path).council_root("camden")
    files.write_key(tmp_path / "councils/camden/root.key", KeyKind.P256.generate())
    with pytest.raises(CredentialError, match="is not the key of"):
        authority(tmp_path).council_root("camden")


def test_root_that_could_speak_for_another_council_is_refused(tmp_path: Path) -> None:
    authority(tmp_path).council_root("leeds")
    (tmp_path / "councils/leeds").rename(tmp_path / "councils/camden")
    with pytest.raises(CredentialError, match="not what policy wants"):
        authority(tmp_path).council_root("camden")


def test_private_keys_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        everything(authority(tmp_path))
        enrol_locally(authority(tmp_path), "camden", "k7q2m9xd4t", tmp_path / "gateway")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.key")}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.pem")} == {0o644}


@pytest.mark.parametrize(
    ("kind", "made"),
    [(KeyKind.ED25519, Ed25519PrivateKey), (KeyKind.P256, EllipticCurvePrivateKey)],
)
def test_gateway_gets_all_it_needs_and_the_authority_keeps_no_key_of_it(
    tmp_path: Path, kind: KeyKind, made: type
) -> None:
    held = authority(tmp_path / "authority")
    gateway = enrol_locally(held, "camden", "k7q2m9xd4t", tmp_path / "gateway", kind=kind)
    key, certificate = (
        read_key(gateway.credential.key),
        read_certificate(gateway.credential.certificate),
    )
    assert isinstance(key, made)
    assert key.public_key() == certificate.public_key()
    assert device_of(certificate) == "k7q2m9xd4t"
    certificate.verify_directly_issued_by(read_certificate(gateway.council_root))
    assert gateway.service_root.read_bytes() == held.service_root().read_bytes()
    pem = gateway.credential.key.read_bytes()
    assert all(pem not in content for content in contents(tmp_path / "authority").values())


def test_enrolling_again_renews_with_a_new_key(tmp_path: Path) -> None:
    held = authority(tmp_path / "authority")
    first = read_key(enrol_locally(held, "camden", "k7", tmp_path / "gateway").credential.key)
    second = read_key(enrol_locally(held, "camden", "k7", tmp_path / "gateway").credential.key)
    assert first.public_key() != second.public_key()


def test_broker_is_given_every_councils_root(tmp_path: Path) -> None:
    given = authority(tmp_path).broker_certificates(["camden", "leeds"])
    assert set(given.council_roots) == {"camden", "leeds"}
    for path in (given.service_root, given.server_certificate, *given.council_roots.values()):
        read_certificate(path)
    read_key(given.server_key)


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(CredentialError, match="damaged holds no usable private key"):
        read_key(path)
    with pytest.raises(CredentialError, match="damaged holds no certificate"):
        read_certificate(path)


# The region root, and keys under a passphrase


PASSPHRASE = b"three words and a lamp post"
OTHERS = b"another passphrase"


def closed(
    directory: Path, *, passphrase: bytes = PASSPHRASE, region: bytes | None = None
) -> Authority:
    return Authority(
        directory,
        "London",
        passphrase=passphrase,
        region_passphrase=region,
        clock=lambda: NOW,
    )


def offline(directory: Path) -> Path:
    """Make an authority and take its region root's key away; return where to."""
    closed(directory, region=OTHERS).service_root()
    away = directory / "safe"
    (directory / "region-root.key").rename(away)
    return away


def verified(trusted: Path, credential: CredentialFiles, purpose: str, *between: Path) -> bool:
    """Ask openssl whether a certificate, with its file's chain, leads to what is trusted."""
    chain = [part for path in between for part in ("-untrusted", path)]
    done = openssl(
        *("verify", "-purpose", purpose, "-attime", NOW_SECONDS, "-no-CApath"),
        *("-CAfile", trusted, *chain, credential.certificate),
    )
    return done.returncode == 0


def openssl(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], input=given, check=False, capture_output=True)


def test_servers_and_services_lead_to_the_region_root_by_their_own_chain(tmp_path: Path) -> None:
    held = authority(tmp_path)
    for credential, purpose in (
        (held.broker_server(), "sslserver"),
        (held.enrolment_server(["enrol.example.org"]), "sslserver"),
        (held.service_client("ingest"), "sslclient"),
    ):
        assert verified(held.region_root(), credential, purpose, credential.certificate)
        assert verified(held.service_root(), credential, purpose)
        assert not verified(held.council_root("camden"), credential, purpose)


def test_service_root_can_make_no_authority_below_itself(tmp_path: Path) -> None:
    held = authority(tmp_path)
    service_root = read_certificate(held.service_root())
    key = read_key(tmp_path / "service-root.key")
    rogue = CredentialFiles.named(tmp_path / "rogue")
    rogue_key = KeyKind.P256.generate()
    below = build_certificate(
        policy.service_root("Elsewhere"), rogue_key.public_key(), key, service_root, NOW
    )
    leaf = build_certificate(
        policy.broker_server("London", []), rogue_key.public_key(), rogue_key, below, NOW
    )
    write_certificate(rogue.certificate, leaf, below, service_root)
    assert not verified(held.region_root(), rogue, "sslserver", rogue.certificate)


def test_everything_goes_on_while_the_region_roots_key_is_away(tmp_path: Path) -> None:
    offline(tmp_path)
    held = closed(tmp_path)
    everything(held)
    held.issue_gateway("camden", "k7q2m9xd4t", KeyKind.P256.generate().public_key())
    assert read_certificate(held.region_root()).subject.rfc4514_string() == (
        "CN=London region root,O=London"
    )


def test_new_service_root_needs_the_region_roots_key_and_says_so(tmp_path: Path) -> None:
    away = offline(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(CredentialError, match="bring the region root's key"):
        closed(tmp_path).renew_service_root()
    assert contents(tmp_path) == before

    away.rename(tmp_path / "region-root.key")
    with pytest.raises(CredentialError, match="encrypted and no passphrase"):
        closed(tmp_path).renew_service_root()
    held = closed(tmp_path, region=OTHERS)
    old = held.broker_server()
    old_certificate = read_certificate(old.certificate)
    held.renew_service_root()
    new = held.broker_server()
    assert read_certificate(new.certificate) != old_certificate
    assert verified(held.region_root(), new, "sslserver", new.certificate)


def test_keys_that_sign_are_encrypted_and_those_that_start_servers_are_not(tmp_path: Path) -> None:
    held = closed(tmp_path, region=OTHERS)
    everything(held)
    held.configuration_signer("camden")
    encrypted = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*.key")
        if b"ENCRYPTED" in path.read_bytes()
    }
    assert encrypted == {
        "region-root.key",
        "service-root.key",
        "councils/camden/root.key",
        "councils/camden/key-set-signer.key",
        "councils/camden/configuration-signer.key",
    }
    key = tmp_path / "region-root.key"
    assert openssl("pkey", "-in", key, "-passin", "stdin", "-noout", given=OTHERS).returncode == 0


def test_wrong_passphrase_opens_nothing_and_changes_nothing(tmp_path: Path) -> None:
    offline(tmp_path)
    closed(tmp_path).key_set_signer("camden")
    before = contents(tmp_path)
    for held in (closed(tmp_path, passphrase=OTHERS), authority(tmp_path)):
        for ask in (held.service_root, lambda held=held: held.council_root("camden")):
            with pytest.raises(CredentialError, match=r"no usable private key|no passphrase"):
                ask()
    assert contents(tmp_path) == before


def test_open_key_is_refused_where_a_passphrase_is_given(tmp_path: Path) -> None:
    authority(tmp_path).council_root("camden")
    with pytest.raises(CredentialError, match=r"is not encrypted .* openssl pkcs8 -topk8 -scrypt"):
        closed(tmp_path).council_root("camden")


def test_remedy_for_an_open_key_works(tmp_path: Path) -> None:
    """What the message says to type makes a key that the authority opens."""
    authority(tmp_path).council_root("camden")
    key = tmp_path / "councils/camden/root.key"
    typed = ("pkcs8", "-topk8", "-scrypt", "-in", key, "-out", f"{key}.new")
    assert openssl(*typed, "-passout", "stdin", given=PASSPHRASE).returncode == 0
    Path(f"{key}.new").replace(key)
    closed(tmp_path).council_root("camden")


def test_region_root_wants_a_passphrase_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="needs a passphrase of its own"):
        closed(tmp_path).region_root()
    assert contents(tmp_path) == {}


def test_short_passphrase_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="passphrase of 5 bytes"):
        closed(tmp_path, region=b"short").region_root()
    assert contents(tmp_path) == {}


def test_key_is_decrypted_once_until_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = closed(tmp_path, region=OTHERS)
    held.council_root("camden")
    decrypted: list[Path] = []
    original = files.read_key

    def counted(path: Path, passphrase: bytes | None = None) -> PrivateKey:
        decrypted.append(path)
        return original(path, passphrase)

    monkeypatch.setattr(files, "read_key", counted)
    for _ in range(5):
        held.issue_gateway("camden", "k7q2m9xd4t", KeyKind.P256.generate().public_key())
    assert decrypted == []
    files.write_key(tmp_path / "councils/camden/root.key", KeyKind.P256.generate(), PASSPHRASE)
    with pytest.raises(CredentialError, match="is not the key of"):
        held.council_root("camden")
    assert len(decrypted) == 1


def test_directory_of_an_earlier_release_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """There the service root signed itself and no region root was."""
    key = KeyKind.P256.generate()
    root = build_certificate(
        policy.service_root("London"), key.public_key(), key, None, NOW - timedelta(days=9)
    )
    files.write_key(tmp_path / "service-root.key", key)
    write_certificate(tmp_path / "service-root.pem", root)
    before = contents(tmp_path)
    with pytest.raises(CredentialError, match=r"of an earlier release.*make a new one and enrol"):
        authority(tmp_path).service_client("ingest")
    assert contents(tmp_path) == before


def test_service_root_of_another_region_is_refused(tmp_path: Path) -> None:
    authority(tmp_path / "one").service_root()
    authority(tmp_path / "two").service_root()
    for name in ("service-root.pem", "service-root.key"):
        (tmp_path / "one" / name).replace(tmp_path / "two" / name)
    with pytest.raises(CredentialError, match=r"is not of .*region-root\.pem"):
        authority(tmp_path / "two").broker_server()


def test_network_is_read_from_its_region_root(tmp_path: Path) -> None:
    authority(tmp_path).region_root()
    assert network_of(tmp_path) == "London"
    with pytest.raises(CredentialError, match="holds no certificate"):
        network_of(tmp_path / "elsewhere")


def test_councils_are_found_and_none_is_made_by_asking(tmp_path: Path) -> None:
    held = authority(tmp_path)
    assert held.council_roots() == {}
    root = held.council_root("camden")
    assert held.council_roots() == {"camden": root}
    asked = [held.holds_council(name) for name in ("camden", "leeds", "../camden", "")]
    assert asked == [True, False, False, False]
    assert set(held.council_roots()) == {"camden"}


# Signing for a council


def test_signers_sign_what_receivers_accept(tmp_path: Path) -> None:
    held = closed(tmp_path, region=OTHERS)
    root, now = held.council_certificate("camden"), int(NOW.timestamp())
    for (key, chain), usage in (
        (held.sign_as_key_set_signer("camden"), KEY_SET_SIGNING_OID),
        (held.sign_as_configuration_signer("camden"), CONFIGURATION_SIGNING_OID),
    ):
        check_chain(chain, root, now, usage)
        VerifyingKey.from_public(chain[0].public_key()).verify(key.sign(b"x"), b"x")
    with pytest.raises(SignerError, match="lacks the extended key usage"):
        check_chain(chain, root, now, KEY_SET_SIGNING_OID)


def test_gateway_lives_as_long_as_the_authority_says(tmp_path: Path) -> None:
    held = Authority(tmp_path, "London", gateway_lifetime=timedelta(seconds=60), clock=lambda: NOW)
    made = held.issue_gateway("camden", "k7q2m9xd4t", KeyKind.P256.generate().public_key())
    assert made.not_valid_after_utc == NOW + timedelta(seconds=60)
    assert not renewal_due(made, int(NOW.timestamp()) + 35)
    assert renewal_due(made, int(NOW.timestamp()) + 40)


def test_revocation_list_says_who_is_revoked_and_who_is_held(tmp_path: Path) -> None:
    held = authority(tmp_path)
    since = NOW - timedelta(hours=1)
    der = held.issue_revocation_list(
        "camden",
        number=7,
        revoked=[
            policy.RevokedEntry(9, since, hold=True),
            policy.RevokedEntry(4, since, hold=False),
        ],
        now=NOW,
    )
    listed = x509.load_der_x509_crl(der)
    assert listed.is_signature_valid(held.council_certificate("camden").public_key())  # type: ignore[arg-type]
    assert listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert [entry.serial_number for entry in listed] == [4, 9]
    reasons = [
        entry.extensions.get_extension_for_class(x509.CRLReason).value.reason for entry in listed
    ]
    assert reasons == [x509.ReasonFlags.privilege_withdrawn, x509.ReasonFlags.certificate_hold]
    assert listed.next_update_utc == NOW + timedelta(days=7)
    assert listed.last_update_utc <= NOW


@pytest.mark.parametrize("revoked", [True, False])
def test_openssl_obeys_the_revocation_list(tmp_path: Path, *, revoked: bool) -> None:
    held = authority(tmp_path / "authority")
    gateway = enrol_locally(held, "camden", "k7q2m9xd4t", tmp_path / "gateway").credential
    serial = read_certificate(gateway.certificate).serial_number
    entry = policy.RevokedEntry(serial if revoked else serial + 1, NOW, hold=False)
    der = held.issue_revocation_list("camden", number=1, revoked=[entry], now=NOW)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(
        held.council_root("camden").read_bytes()
        + x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    )
    verifying = ("verify", "-crl_check", "-attime", NOW_SECONDS, "-CAfile", trusted)
    done = openssl(*verifying, gateway.certificate)
    assert (b"certificate revoked" in done.stderr) is revoked
    assert (done.returncode == 0) is not revoked
