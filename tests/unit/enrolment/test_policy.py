from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker_config.network import Gateway, service_user
from device_protocol.errors import SignerError
from device_protocol.identity import (
    CONFIGURATION_SIGNING_OID,
    KEY_SET_SIGNING_OID,
    check_chain,
    device_of,
    renewal_due,
)
from enrolment import policy
from enrolment.authority import KeyKind, build_certificate
from enrolment.policy import PolicyError

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LEAVES = {
    "broker": policy.broker_server("London", ["broker.example.org"]),
    "node of a cluster": policy.broker_node("London", "n1", ["n1.example.org"]),
    "enrolment": policy.enrolment_server("London", ["enrol.example.org"]),
    "service": policy.service_client("London", "ingest"),
    "service of one council": policy.service_client("London", "ingest", "camden"),
    "gateway": policy.gateway("camden", "k7q2m9xd4t"),
    "key-set signer": policy.key_set_signer("camden"),
    "configuration signer": policy.configuration_signer("camden"),
}
ROOTS = {
    "region": policy.region_root("London"),
    "services": policy.service_root("London"),
    "council": policy.council_root("camden"),
}


def names_of(profile: policy.Profile) -> set[str]:
    return {str(name.value) for name in profile.names}


def test_gateway_is_called_what_the_brokers_expect() -> None:
    gateway = Gateway("camden", "k7q2m9xd4t")
    profile = policy.gateway(gateway.tenant, gateway.device)
    assert profile.common_name == gateway.device
    assert profile.subject().rfc4514_string() == gateway.subject
    assert names_of(profile) == {gateway.user}


def test_service_is_called_what_the_brokers_expect() -> None:
    everywhere = policy.service_client("London", "ingest")
    assert everywhere.common_name == "ingest"
    in_camden = policy.service_client("London", "ingest", "camden")
    assert names_of(in_camden) == {service_user("ingest", "camden")}


def test_server_certificate_covers_this_machine_and_its_hosts_once() -> None:
    profile = policy.broker_server("London", ["localhost", "broker.example.org", "192.0.2.1"])
    assert [str(name.value) for name in profile.names] == [
        "localhost",
        "127.0.0.1",
        "::1",
        "broker.example.org",
        "192.0.2.1",
    ]
    kinds = [type(name) for name in profile.names]
    assert kinds == [x509.DNSName, x509.IPAddress, x509.IPAddress, x509.DNSName, x509.IPAddress]


def test_each_kind_may_do_one_thing() -> None:
    """But a node: a route is a connection of clients, too, and no other may open one."""
    usages = {kind: profile.usages for kind, profile in LEAVES.items()}
    assert usages == {
        "broker": (ExtendedKeyUsageOID.SERVER_AUTH,),
        "node of a cluster": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        "enrolment": (ExtendedKeyUsageOID.SERVER_AUTH,),
        "service": (ExtendedKeyUsageOID.CLIENT_AUTH,),
        "service of one council": (ExtendedKeyUsageOID.CLIENT_AUTH,),
        "gateway": (ExtendedKeyUsageOID.CLIENT_AUTH,),
        "key-set signer": (KEY_SET_SIGNING_OID,),
        "configuration signer": (CONFIGURATION_SIGNING_OID,),
    }


@pytest.mark.parametrize("profile", LEAVES.values(), ids=LEAVES.keys())
def test_no_leaf_is_an_authority(profile: policy.Profile) -> None:
    held = {type(extension): extension for extension, _ in profile.extensions()}
    assert held[x509.BasicConstraints] == x509.BasicConstraints(ca=False, path_length=None)
    usage = held[x509.KeyUsage]
    assert isinstance(usage, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)


@pytest.mark.parametrize("profile", ROOTS.values(), ids=ROOTS.keys())
def test_root_signs_certificates_and_nothing_else(profile: policy.Profile) -> None:
    held = {type(extension): extension for extension, _ in profile.extensions()}
    below = 1 if profile is ROOTS["region"] else 0
    assert held[x509.BasicConstraints] == x509.BasicConstraints(ca=True, path_length=below)
    usage = held[x509.KeyUsage]
    assert isinstance(usage, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_cert_sign) == (False, True)


def test_council_root_is_confined_in_every_form_a_broker_reads() -> None:
    held = {type(extension): extension for extension, _ in ROOTS["council"].extensions()}
    constraints = held[x509.NameConstraints]
    assert isinstance(constraints, x509.NameConstraints)
    permitted = {type(name): name.value for name in constraints.permitted_subtrees or ()}
    organisation = permitted.pop(x509.DirectoryName)
    assert isinstance(organisation, x509.Name)
    assert organisation.rfc4514_string() == "O=camden"
    kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier)
    assert permitted == dict.fromkeys(kinds, "camden")


def test_gateway_certificate_lives_seven_days_and_begins_five_minutes_ago() -> None:
    validity = LEAVES["gateway"].validity(NOW)
    assert validity.begins == NOW.replace(microsecond=0) - timedelta(minutes=5)
    assert validity.ends == NOW.replace(microsecond=0) + timedelta(days=7)


@pytest.mark.parametrize("seconds", [60, 61, 600, 3600])
def test_a_short_life_is_renewed_at_two_thirds_not_when_issued(seconds: int) -> None:
    profile = policy.gateway("camden", "k7q2m9xd4t", timedelta(seconds=seconds))
    key = KeyKind.P256.generate()
    made = build_certificate(profile, key.public_key(), key, None, NOW)
    issued = int(NOW.timestamp())
    assert made.not_valid_before_utc < NOW
    assert not renewal_due(made, issued + seconds * 3 // 5)
    assert renewal_due(made, issued + seconds * 2 // 3)


def test_revoked_and_held_are_told_apart() -> None:
    reasons = [policy.RevokedEntry(1, NOW, hold).reason() for hold in (True, False)]
    assert reasons == [x509.ReasonFlags.certificate_hold, x509.ReasonFlags.privilege_withdrawn]
    left_behind = policy.RevokedEntry(1, NOW, hold=False, superseded=True)
    assert left_behind.reason() is x509.ReasonFlags.superseded


def test_certificate_never_outlives_its_issuer() -> None:
    ends = NOW + timedelta(days=2)
    assert LEAVES["gateway"].validity(NOW, issuer_ends=ends).ends == ends


def test_issuer_that_has_ended_issues_nothing() -> None:
    with pytest.raises(PolicyError, match="ended 2026-03-01"):
        LEAVES["gateway"].validity(NOW, issuer_ends=NOW)


@pytest.mark.parametrize("bad", ["", "Camden", "-camden", "cam/den", "a" * 33, "cam den", "_x"])
def test_tenant_that_no_topic_can_hold_is_refused(bad: str) -> None:
    for ask in (policy.council_root, policy.key_set_signer, policy.configuration_signer):
        with pytest.raises(PolicyError, match="tenant"):
            ask(bad)
    with pytest.raises(PolicyError, match="tenant"):
        policy.gateway(bad, "k7q2m9xd4t")
    if bad:
        with pytest.raises(PolicyError, match="tenant"):
            policy.service_client("London", "ingest", bad)


@pytest.mark.parametrize("bad", ["", "K7", "k7+", "#", "a/b", "a" * 49, "x,O=leeds"])
def test_device_that_no_topic_can_hold_is_refused(bad: str) -> None:
    with pytest.raises(PolicyError, match="device"):
        policy.gateway("camden", bad)


@pytest.mark.parametrize("bad", ["", "Ingest", "in.gest"])
def test_service_with_an_unfit_name_is_refused(bad: str) -> None:
    with pytest.raises(PolicyError, match="service"):
        policy.service_client("London", bad)


@pytest.mark.parametrize("kind", KeyKind)
def test_certificate_says_what_its_profile_says(kind: KeyKind) -> None:
    root_key, key = KeyKind.P256.generate(), kind.generate()
    root = build_certificate(ROOTS["council"], root_key.public_key(), root_key, None, NOW)
    leaf = build_certificate(LEAVES["gateway"], key.public_key(), root_key, root, NOW)
    leaf.verify_directly_issued_by(root)
    assert device_of(leaf) == "k7q2m9xd4t"
    assert leaf.public_key() == key.public_key()
    held = {type(extension.value): extension for extension in leaf.extensions}
    for extension, critical in LEAVES["gateway"].extensions():
        assert held[type(extension)].value == extension
        assert held[type(extension)].critical == critical
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert held[x509.SubjectKeyIdentifier].value == identifier


def test_key_sets_are_signed_under_the_councils_root_only_by_their_signer() -> None:
    root_key, key = KeyKind.P256.generate(), KeyKind.ED25519.generate()
    root = build_certificate(ROOTS["council"], root_key.public_key(), root_key, None, NOW)
    signer = build_certificate(LEAVES["key-set signer"], key.public_key(), root_key, root, NOW)
    gateway = build_certificate(LEAVES["gateway"], key.public_key(), root_key, root, NOW)
    now = int(NOW.timestamp())
    check_chain([signer], root, now, KEY_SET_SIGNING_OID)
    check_chain([signer, root], root, now, KEY_SET_SIGNING_OID)
    with pytest.raises(SignerError, match="lacks the extended key usage"):
        check_chain([gateway], root, now, KEY_SET_SIGNING_OID)


def test_key_on_another_curve_is_refused() -> None:
    root_key = KeyKind.P256.generate()
    root = build_certificate(ROOTS["council"], root_key.public_key(), root_key, None, NOW)
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(PolicyError, match="secp384r1"):
        build_certificate(LEAVES["gateway"], other, root_key, root, NOW)


def test_two_certificates_never_share_a_serial_number() -> None:
    key = Ed25519PrivateKey.generate()
    made = [
        build_certificate(replace(ROOTS["services"]), key.public_key(), key, None, NOW)
        for _ in range(8)
    ]
    assert len({certificate.serial_number for certificate in made}) == 8
