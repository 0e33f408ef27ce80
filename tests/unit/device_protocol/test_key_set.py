from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_protocol import associated_data, cbor, cose
from device_protocol.errors import (
    AlgorithmError,
    EncodingError,
    KeySetExpiredError,
    KeySetRollbackError,
    RejectionError,
    SignatureError,
    SignerError,
    SignerTimeError,
    SizeError,
    StructureError,
)
from device_protocol.identity import KEY_SET_SIGNING_OID
from device_protocol.key_set import (
    KeySet,
    Recipient,
    certificate_chain,
    open_key_set,
    sign_key_set,
)
from device_protocol.keys import RecipientKey, SigningKey

NOW = 1_795_000_000
DAY = 86_400
TENANT = "bristol"


@pytest.fixture(scope="module", params=["ed25519", "p256"])
def signer(request: pytest.FixtureRequest, council: Any) -> Any:
    key = (
        Ed25519PrivateKey.generate()
        if request.param == "ed25519"
        else ec.generate_private_key(ec.SECP256R1())
    )
    return council.issue("key sets", key=key, eku=(KEY_SET_SIGNING_OID,))


@pytest.fixture(scope="module")
def key_set() -> KeySet:
    from_now_on = {"valid_from": NOW - DAY, "valid_until": NOW + 30 * DAY}
    region = Recipient(key=_public(1), role="region", **from_now_on)
    council = Recipient(key=_public(2), role="council", **from_now_on)
    partner = Recipient(key=_public(3), role="partner", valid_from=0, valid_until=NOW - 1)
    return KeySet(
        version=7,
        issued_at=NOW,
        soft_expiry=NOW + 30 * DAY,
        hard_expiry=NOW + 60 * DAY,
        suites=(1, 2),
        groups={"main": (region, council, partner), "council": (council,)},
    )


def _public(seed: int) -> Any:
    if seed == 3:
        return RecipientKey(ec.derive_private_key(seed, ec.SECP256R1())).public()
    return RecipientKey(X25519PrivateKey.from_private_bytes(bytes([seed]) * 32)).public()


def _sign(key_set: KeySet, signer: Any, *above: Any, tenant: str = TENANT) -> bytes:
    chain = certificate_chain([signer.certificate, *(each.certificate for each in above)])
    return sign_key_set(key_set, tenant=tenant, signer=SigningKey(signer.key), chain=chain)


def _open(message: bytes, council: Any, *, now: int = NOW, newer_than: int = 0) -> KeySet:
    return open_key_set(
        message, tenant=TENANT, anchor=council.certificate, now=now, newer_than=newer_than
    )


def _forge(signer: Any, payload: object, **changes: Any) -> bytes:
    """Put a message R together by hand."""
    encoded = payload if isinstance(payload, bytes) else cbor.encode(payload)
    key = SigningKey(signer.key)
    x5chain = certificate_chain([signer.certificate])[0]
    headers = {cose.ALG: key.algorithm, cose.X5CHAIN: x5chain} | changes.pop("headers", {})
    protected = cbor.encode({label: value for label, value in headers.items() if value is not None})
    covered = cose.to_be_signed(protected, associated_data.key_set(TENANT), encoded)
    message = cose.Sign1(protected, {}, encoded, key.sign(covered))
    return replace(message, **changes).encode()


def test_what_is_signed_is_what_is_opened(key_set: KeySet, signer: Any, council: Any) -> None:
    assert _open(_sign(key_set, signer), council) == key_set
    assert _open(_sign(key_set, signer, council), council) == key_set


def test_recipients_are_those_valid_now(key_set: KeySet) -> None:
    assert key_set.recipients("main", NOW) == (_public(1), _public(2))
    assert key_set.recipients("main", NOW - 1) == (_public(1), _public(2), _public(3))
    assert key_set.recipients("main", NOW + 31 * DAY) == ()
    assert key_set.recipients("council", NOW) == (_public(2),)
    assert key_set.recipients("none", NOW) == ()


# cryptography only warns, as yet, of what RFC 5280 forbids in a damaged certificate.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_flipped_bit_is_refused(key_set: KeySet, signer: Any, council: Any) -> None:
    message = _sign(key_set, signer)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 8 * len(message) - 1))
    def check(bit: int) -> None:
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RejectionError) as refusal:
            _open(bytes(flipped), council)
        assert refusal.value.code in {101, 102, 203, 204, 400, 402}

    check()


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_damaged_certificate_raises_nothing_but_a_refusal(
    key_set: KeySet, signer: Any, council: Any
) -> None:
    message = _sign(key_set, signer)
    certificate = certificate_chain([signer.certificate])[0]
    begin = message.index(certificate)
    for position in range(begin, begin + len(certificate)):
        for bit in (1, 128):
            damaged = bytearray(message)
            damaged[position] ^= bit
            with pytest.raises(RejectionError) as refusal:
                _open(bytes(damaged), council)
            assert refusal.value.code in {102, 203, 204, 402}


@settings(max_examples=60)
@given(message=st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_a_refusal(message: bytes, council: Any) -> None:
    with pytest.raises(RejectionError):
        _open(message, council)


def test_another_tenants_set_is_refused(key_set: KeySet, signer: Any, council: Any) -> None:
    with pytest.raises(SignatureError):
        _open(_sign(key_set, signer, tenant="bath"), council)


def test_a_device_under_the_same_root_cannot_sign_one(key_set: KeySet, council: Any) -> None:
    device = council.issue("k7q2m9xd4t", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    with pytest.raises(SignerError):
        _open(_sign(key_set, device), council)


def test_expired_signer_is_refused(key_set: KeySet, signer: Any, council: Any) -> None:
    with pytest.raises(SignerTimeError):
        _open(_sign(key_set, signer), council, now=NOW + 7 * DAY)


def test_version_must_be_above_the_one_held(key_set: KeySet, signer: Any, council: Any) -> None:
    message = _sign(key_set, signer)
    assert _open(message, council, newer_than=6).version == 7
    for held in (7, 8):
        with pytest.raises(KeySetRollbackError):
            _open(message, council, newer_than=held)


def test_hard_expiry_ends_a_set_soft_expiry_does_not(
    key_set: KeySet, signer: Any, council: Any
) -> None:
    aged = replace(key_set, soft_expiry=NOW + 1, hard_expiry=NOW + DAY)
    message = _sign(aged, signer)
    assert _open(message, council, now=NOW + DAY) == aged
    with pytest.raises(KeySetExpiredError):
        _open(message, council, now=NOW + DAY + 1)


def test_a_certificate_of_a_key_outside_the_suites_is_refused(council: Any) -> None:
    old = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signer = council.issue("key sets", key=old, eku=(KEY_SET_SIGNING_OID,))
    protected = cbor.encode({1: -37, 33: certificate_chain([signer.certificate])[0]})
    with pytest.raises(SignerError, match="unusable"):
        _open(cose.Sign1(protected, {}, b"\xa0", bytes(64)).encode(), council)


def test_headers_are_exactly_those_of_the_envelope(signer: Any, council: Any) -> None:
    other = {-19: -9, -9: -19}[SigningKey(signer.key).algorithm]
    leaf = certificate_chain([signer.certificate])[0]
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"headers": {1: other}}, AlgorithmError),
        ({"headers": {1: True}}, StructureError),
        ({"headers": {33: None}}, StructureError),
        ({"headers": {4: bytes(8)}}, StructureError),
        ({"headers": {33: b"not DER"}}, StructureError),
        ({"headers": {33: [leaf]}}, StructureError),
        ({"headers": {33: [leaf, 7]}}, StructureError),
        ({"headers": {33: {}}}, StructureError),
        ({"unprotected": {4: b""}}, StructureError),
        ({"signature": bytes(63)}, StructureError),
        ({"signature": bytes(64)}, SignatureError),
    ]
    for changes, error in cases:
        with pytest.raises(error):
            _open(_forge(signer, {}, **changes), council)
    with pytest.raises(SizeError):
        _open(bytes(16_385), council)
    with pytest.raises(EncodingError):
        _open(_forge(signer, b"\xa0\0"), council)


RECIPIENT: dict[int, object] = {
    1: {1: 1, -1: 4, -2: bytes(range(32))},
    2: "region",
    3: 0,
    4: 2**40,
}
SET: dict[int, object] = {
    1: 1,
    2: 7,
    4: NOW,
    5: NOW,
    6: NOW,
    7: [1],
    8: {"main": [RECIPIENT]},
}


def test_a_set_put_together_by_hand_opens(signer: Any, council: Any) -> None:
    assert _open(_forge(signer, SET), council).suites == (1,)


@pytest.mark.parametrize(
    "changes",
    [
        {1: 2},
        {2: -1},
        {3: 0},
        {6: None},
        {7: []},
        {7: [0]},
        {7: [5]},
        {7: 1},
        {8: {}},
        {8: []},
        {8: {"main": []}},
        {8: {"Main": [RECIPIENT]}},
        {8: {1: [RECIPIENT]}},
        {8: {"main": [RECIPIENT | {2: "friend"}]}},
        {8: {"main": [RECIPIENT | {3: -1}]}},
        {8: {"main": [RECIPIENT | {5: 0}]}},
        {8: {"main": [RECIPIENT | {1: {1: 1, -1: 6, -2: bytes(range(32))}}]}},
        {8: {"main": [RECIPIENT | {1: {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)}}]}},
    ],
)
def test_fields_out_of_form_are_refused(signer: Any, council: Any, changes: Any) -> None:
    with pytest.raises(StructureError):
        _open(_forge(signer, SET | changes), council)


def test_a_set_too_large_to_send_is_not_signed(key_set: KeySet, signer: Any) -> None:
    crowd = {f"g{number}": key_set.groups["main"] for number in range(100)}
    with pytest.raises(SizeError):
        _sign(replace(key_set, groups=crowd), signer)
