from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from enrolment import policy
from enrolment.authority import KeyKind
from enrolment.issuing import build_certificate
from enrolment.peer import gateway_of
from enrolment.policy import Profile
from enrolment.refusal import RefusedError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROOT_KEY = KeyKind.P256.generate()
ROOT = build_certificate(policy.council_root("camden"), ROOT_KEY.public_key(), ROOT_KEY, None, NOW)
GATEWAY = policy.gateway("camden", "k7q2m9xd4t")


def certificate(profile: Profile = GATEWAY) -> x509.Certificate:
    return build_certificate(profile, KeyKind.ED25519.generate().public_key(), ROOT_KEY, ROOT, NOW)


def refusal(held: x509.Certificate, now: datetime = NOW, tenant: str = "camden") -> str:
    with pytest.raises(RefusedError) as refused:
        gateway_of(held, ROOT, tenant, now)
    return refused.value.reason


def test_gateway_is_who_its_certificate_says() -> None:
    assert gateway_of(certificate(), ROOT, "camden", NOW) == "k7q2m9xd4t"


def test_certificate_holds_only_in_its_time() -> None:
    assert refusal(certificate(), NOW + timedelta(days=7, seconds=1)) == "certificate-time"
    assert refusal(certificate(), NOW - timedelta(minutes=6)) == "certificate-time"


def test_another_roots_certificate_is_foreign_even_if_the_root_is_called_the_same() -> None:
    key = KeyKind.P256.generate()
    root = build_certificate(policy.council_root("camden"), key.public_key(), key, None, NOW)
    held = build_certificate(GATEWAY, KeyKind.P256.generate().public_key(), key, root, NOW)
    assert refusal(held) == "certificate-foreign"


def test_self_signed_certificate_is_foreign() -> None:
    key = KeyKind.P256.generate()
    held = build_certificate(GATEWAY, key.public_key(), key, None, NOW)
    assert refusal(held) == "certificate-foreign"


@pytest.mark.parametrize(
    "profile",
    [
        policy.key_set_signer("camden"),
        policy.gateway("leeds", "k7q2m9xd4t"),
        policy.service_client("camden", "ingest"),
    ],
    ids=["signer", "gateway of another council", "service"],
)
def test_what_the_root_signed_for_something_else_is_foreign(profile: Profile) -> None:
    assert refusal(certificate(profile)) == "certificate-foreign"


def test_root_itself_is_no_gateway() -> None:
    assert refusal(ROOT) == "certificate-foreign"
