"""Suite 3: X-Wing keys, what is delivered to them, and who accepts it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM
from cryptography.hazmat.primitives.hpke import Suite as Hpke
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import associated_data, cbor, cose, delivery, keys, recipient_pem, suites
from device_protocol.delivery import EpochKey, HybridWrapped
from device_protocol.epoch import Epoch
from device_protocol.errors import (
    AeadError,
    AlgorithmError,
    NotRecipientError,
    RejectionError,
    SizeError,
    StructureError,
    UnwrapError,
)
from device_protocol.hybrid import HybridPrivateKey, HybridPublicKey
from device_protocol.identity import KEY_SET_SIGNING_OID
from device_protocol.key_set import (
    KeySet,
    Recipient,
    certificate_chain,
    open_key_set,
    sign_key_set,
)
from device_protocol.keys import RecipientKey, RecipientPublicKey, SigningKey, VerifyingKey
from device_protocol.limits import MAX_OTHER_BYTES
from device_protocol.receiver import Announcement, Policy, Receiver
from tests.unit.device_protocol.conftest import NOW, Suite, make_suite

DATA = Path(__file__).parents[2] / "data" / "cose"
EPOCH_ID = bytes(range(8))
KEY = EpochKey(
    epoch_id=EPOCH_ID, content_algorithm=24, key=bytes(range(32)), base_iv=bytes(range(12))
)
AAD = associated_data.wrapped("bristol", "k7q2m9xd4t", "main", 41, EPOCH_ID)
MINE = RecipientKey(HybridPrivateKey(bytes(range(32))))
OTHER = RecipientKey(HybridPrivateKey(bytes(range(1, 33))))
ONLY_3 = Policy(delivery_algorithms=suites.delivery_algorithms((3,)))


@pytest.fixture(params=[1, 2], ids=["ed25519", "p256"])
def classic(request: pytest.FixtureRequest) -> Suite:
    """A gateway of either kind, as suite 3 signs like suite 1 or 2."""
    return make_suite(request.param)


def _receiver(classic: Suite, policy: Policy | None = ONLY_3) -> Receiver:
    return Receiver(
        devices=[classic.registered()], recipients=[MINE, classic.recipient], policy=policy
    )


def _announce(receiver: Receiver, classic: Suite, epoch: Epoch) -> Announcement:
    accepted = receiver.receive(
        classic.announcement_topic, epoch.announcement, retained=False, now=NOW
    )
    assert isinstance(accepted, Announcement)
    return accepted


# Keys


def test_a_seed_makes_the_key_of_the_published_vector() -> None:
    """First vector of the X-Wing draft; its seed is the first output of SHAKE-128 of nothing."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = HybridPrivateKey(seed).public_key().public_bytes_raw()
    assert public.startswith(
        bytes.fromhex("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")
    )
    assert len(public) == 1216


def test_its_cose_key_is_an_algorithm_key_pair() -> None:
    decoded = cbor.decode(MINE.cose_key)
    assert decoded == {1: 7, 3: -65601, -1: MINE.private.public_key().public_bytes_raw()}  # type: ignore[union-attr]
    assert MINE.kid == keys.thumbprint(MINE.cose_key)
    again = RecipientPublicKey.from_cose_key(MINE.cose_key)
    assert again == MINE.public()
    assert (again.kind, MINE.kind) == (keys.X_WING, keys.X_WING)


@pytest.mark.parametrize(
    "change",
    [
        {3: -25},
        {3: None},
        {-1: bytes(1215)},
        {-1: b"\xff" * 1216},
        {2: b"kid"},
        {-2: bytes(32)},
    ],
    ids=str,
)
def test_a_cose_key_of_another_form_is_refused(change: dict[int, Any]) -> None:
    members = cbor.decode(MINE.cose_key)
    assert isinstance(members, dict)
    changed = {key: value for key, value in (members | change).items() if value is not None}
    with pytest.raises(StructureError):
        RecipientPublicKey.from_cose_key(cbor.encode(changed))


def test_nobody_signs_with_it() -> None:
    with pytest.raises(StructureError):
        VerifyingKey.from_cose_key(MINE.cose_key)


def test_a_key_of_small_order_is_refused_when_it_is_to_be_used() -> None:
    raw = MINE.public()._key.public_bytes_raw()  # type: ignore[union-attr]
    with pytest.raises(StructureError, match="small order"):
        HybridPublicKey(raw[:1184] + bytes(32)).seal(b"", b"")


@given(plaintext=st.binary(max_size=200), info=st.binary(max_size=200))
def test_what_is_sealed_is_what_is_opened(plaintext: bytes, info: bytes) -> None:
    encapsulated, ciphertext = MINE.public().seal(plaintext, info)
    assert len(encapsulated) == 1120
    assert MINE.open(encapsulated, ciphertext, info) == plaintext
    for key, sealed in (
        (OTHER, (encapsulated, ciphertext, info)),
        (MINE, (encapsulated, ciphertext, info + b"x")),
        (MINE, (encapsulated[:-1], ciphertext, info)),
        (MINE, (encapsulated, ciphertext[:-1], info)),
    ):
        with pytest.raises(AeadError):
            key.open(*sealed)


def test_each_kind_of_key_does_what_it_can() -> None:
    recipient = make_suite(1).recipient
    with pytest.raises(TypeError):
        recipient.public().seal(b"", b"")
    with pytest.raises(TypeError):
        MINE.public().agree()
    with pytest.raises(UnwrapError):
        recipient.open(bytes(1120), bytes(16), b"")
    with pytest.raises(UnwrapError):
        MINE.agree(recipient.public().agree()[0])


@pytest.mark.parametrize("kind", [keys.X25519, keys.P256, keys.X_WING])
def test_a_private_key_is_kept_as_pem(kind: str) -> None:
    key = recipient_pem.generate(kind)
    pem = recipient_pem.encode_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert max(map(len, pem.splitlines())) <= 64
    assert recipient_pem.decode_pem(pem).cose_key == key.cose_key
    assert recipient_pem.decode_pem(pem.replace(b"\n", b"\r\n")).cose_key == key.cose_key
    assert key.kind == kind


@pytest.mark.parametrize("cut", [0, 40, 60, 100, -40, -30])
def test_a_damaged_pem_is_refused(cut: int) -> None:
    pem = recipient_pem.encode_pem(MINE)
    with pytest.raises(StructureError):
        recipient_pem.decode_pem(pem[:cut])


def test_a_pem_of_something_else_is_refused() -> None:
    for pem in (b"", b"x", b"\xff", recipient_pem.encode_pem(MINE).replace(b"A", b"!")):
        with pytest.raises(StructureError):
            recipient_pem.decode_pem(pem)
    with pytest.raises(StructureError, match="known"):
        recipient_pem.generate("rsa")


# Delivery


def _wrap() -> bytes:
    return delivery.wrap(KEY, MINE.public(), external_aad=AAD)


def _unwrap(box: bytes, key: RecipientKey = MINE, aad: bytes = AAD) -> EpochKey:
    return delivery.unwrap(delivery.parse(box), key, epoch_id=EPOCH_ID, external_aad=aad)


def test_a_box_is_the_structure_of_the_envelope() -> None:
    box = cbor.decode(_wrap())
    assert isinstance(box, cbor.Tag)
    assert box.number == 16
    protected, unprotected, ciphertext = cbor.array(box.value, 3)
    assert cbor.decode(cbor.octets(protected)) == {1: -65601, 4: MINE.kid}
    assert list(unprotected) == [-4]  # type: ignore[call-overload]
    assert len(unprotected[-4]) == 1120  # type: ignore[index]
    info = cbor.encode(["Encrypt0", protected, AAD])
    assert MINE.open(unprotected[-4], cbor.octets(ciphertext), info) == KEY.encode()  # type: ignore[index]


def test_only_the_recipient_opens_its_box_and_only_in_its_place() -> None:
    assert _unwrap(_wrap()) == KEY
    with pytest.raises(UnwrapError):
        _unwrap(_wrap(), OTHER)
    with pytest.raises(UnwrapError):
        _unwrap(_wrap(), make_suite(1).recipient)
    elsewhere = associated_data.wrapped("bristol", "k7q2m9xd4t", "main", 42, EPOCH_ID)
    with pytest.raises(UnwrapError):
        _unwrap(_wrap(), aad=elsewhere)
    with pytest.raises(UnwrapError, match="0000000000000000"):
        _unwrap(delivery.wrap(replace(KEY, epoch_id=bytes(8)), MINE.public(), external_aad=AAD))


BOX = _wrap()


@given(st.integers(0, 8 * len(BOX) - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    flipped = bytearray(BOX)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RejectionError) as refusal:
        _unwrap(bytes(flipped))
    assert refusal.value.code in {101, 102, 306, 400}


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_a_refusal(tail: bytes) -> None:
    with pytest.raises(RejectionError):
        delivery.parse(b"\xd0" + tail)


@pytest.mark.parametrize(
    "changes",
    [
        {"protected": b""},
        {"protected": cbor.encode({1: -65601})},
        {"protected": cbor.encode({1: -65601, 4: bytes(7)})},
        {"protected": cbor.encode({1: -65601, 4: bytes(8), 5: bytes(12)})},
        {"protected": cbor.encode({1: "HPKE", 4: bytes(8)})},
        {"unprotected": {}},
        {"unprotected": {-4: 1}},
        {"unprotected": {-4: bytes(1120), 4: bytes(8)}},
    ],
    ids=str,
)
def test_headers_are_exactly_those_of_the_envelope(changes: dict[str, Any]) -> None:
    with pytest.raises(StructureError):
        delivery.parse(replace(cose.decode_encrypt0(BOX), **changes).encode())


def test_another_algorithm_in_a_box_is_refused() -> None:
    protected = cbor.encode({1: 53, 4: MINE.kid})
    with pytest.raises(AlgorithmError):
        _unwrap(replace(cose.decode_encrypt0(BOX), protected=protected).encode())


# Epochs and receivers


def test_an_epoch_in_suite_3_is_announced_and_opened(classic: Suite) -> None:
    receiver = _receiver(classic)
    epoch = classic.begin(recipients=[OTHER.public(), MINE.public()])
    assert _announce(receiver, classic, epoch).suite == 3
    sealed = epoch.seal(b"\x80", 112)
    opened = receiver.receive(classic.data_topic, sealed.message, retained=False, now=NOW)
    assert getattr(opened, "payload", None) == b"\x80"


def test_a_receiver_that_does_not_allow_suite_3_refuses_it(classic: Suite) -> None:
    receiver = _receiver(classic, policy=None)
    with pytest.raises(AlgorithmError, match="-65601"):
        _announce(receiver, classic, classic.begin(recipients=[MINE.public()]))
    accepted = _announce(receiver, classic, classic.begin())  # and goes on with what it allows
    assert accepted.suite == classic.number


def test_a_receiver_that_allows_suite_3_only_refuses_a_downgrade(classic: Suite) -> None:
    receiver = _receiver(classic)
    with pytest.raises(AlgorithmError, match="-25"):
        _announce(receiver, classic, classic.begin())


def test_a_classic_box_beside_a_hybrid_one_is_refused(classic: Suite) -> None:
    both = Policy(delivery_algorithms=suites.delivery_algorithms((1, 2, 3)))
    receiver = _receiver(classic, both)
    mixed = classic.begin(recipients=[MINE.public(), classic.stranger.public()])
    with pytest.raises(AlgorithmError):
        _announce(receiver, classic, mixed)
    _announce(receiver, classic, classic.begin(recipients=[MINE.public()]))


def test_a_stranger_to_a_hybrid_epoch_is_no_recipient(classic: Suite) -> None:
    with pytest.raises(NotRecipientError):
        _announce(_receiver(classic), classic, classic.begin(recipients=[OTHER.public()]))


def test_eight_recipients_fit_into_an_announcement(classic: Suite) -> None:
    everybody = [recipient_pem.generate(keys.X_WING).public() for _ in range(7)]
    epoch = classic.begin(recipients=[*everybody, MINE.public()])
    assert len(epoch.announcement) <= MAX_OTHER_BYTES
    _announce(_receiver(classic), classic, epoch)


def test_a_key_set_carries_both_kinds_of_key(council: Any, classic: Suite) -> None:

    signer = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    recipients = tuple(
        Recipient(key.public(), role, NOW - 1, NOW + 1)
        for role in ("region", "council")
        for key in (recipient_pem.generate(keys.X_WING), recipient_pem.generate(keys.X25519))
    )
    key_set = KeySet(
        1, NOW, NOW + 9, NOW + 9, (1, 2, 3), {"main": recipients, "council": recipients}
    )
    message = sign_key_set(
        key_set,
        tenant="bristol",
        signer=SigningKey(signer.key),
        chain=certificate_chain([signer.certificate]),
    )
    assert open_key_set(message, tenant="bristol", anchor=council.certificate, now=NOW) == key_set


# What the draft of COSE-HPKE itself says


def _hpke_cases() -> list[dict[str, str]]:
    cases: list[dict[str, str]] = json.loads((DATA / "hpke-draft.json").read_bytes())
    return cases


HPKE = {
    "HPKE-0-KE": Hpke(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_128_GCM),
    "HPKE-3-KE": Hpke(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM),
    "HPKE-4-KE": Hpke(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
}


@pytest.mark.parametrize("case", _hpke_cases(), ids=lambda case: f"{case['alg']} {case['case']}")
def test_a_cose_structure_in_the_info_of_hpke_binds_as_the_draft_has_it(
    case: dict[str, str],
) -> None:
    """Its key encryption mode puts a COSE structure into `info`, as suite 3 does."""
    box = cose.decode_encrypt(bytes.fromhex(case["ciphertext"]))
    (recipient,) = box.recipients
    algorithm = cbor.integer(cose.protected_headers(box.protected)[1])
    encapsulated = cbor.octets(recipient.unprotected[cose.ENCAPSULATED_KEY])
    extra = b"external-info" if "external info" in case["case"] else b""
    info = cbor.encode(["HPKE Recipient", algorithm, recipient.protected, extra])
    opened = HPKE[case["alg"]].decrypt(
        encapsulated + recipient.ciphertext, _draft_key(case["cose_key"]), info
    )
    cipher = AESGCM(opened) if algorithm == 1 else ChaCha20Poly1305(opened)
    external = b"external-aad" if "external aad" in case["case"] else b""
    iv = cbor.octets(box.unprotected[cose.IV])
    found = cipher.decrypt(iv, box.ciphertext, box.associated_data(external))
    assert found == b"hpke test payload"


def _draft_key(encoded: str) -> Any:
    members = cbor.decode(bytes.fromhex(encoded))
    assert isinstance(members, dict)
    if members[1] == 1:
        return x25519.X25519PrivateKey.from_private_bytes(members[-4])
    return ec.derive_private_key(int.from_bytes(members[-4], "big"), ec.SECP256R1())


def test_parsing_tells_the_two_kinds_of_box_apart() -> None:
    assert isinstance(delivery.parse(BOX), HybridWrapped)
    classic = make_suite(1).recipient.public()
    assert isinstance(
        delivery.parse(delivery.wrap(KEY, classic, external_aad=AAD)), delivery.Wrapped
    )


def test_any_flipped_bit_of_an_announcement_is_refused() -> None:
    gateway = make_suite(1)
    epoch = gateway.begin(recipients=[MINE.public()])

    @given(st.integers(0, 8 * len(epoch.announcement) - 1))
    def check(bit: int) -> None:
        flipped = bytearray(epoch.announcement)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RejectionError) as refusal:
            _receiver(gateway).receive(
                gateway.announcement_topic, bytes(flipped), retained=False, now=NOW
            )
        assert refusal.value.code in {101, 102, 203, 400, 402}

    check()


def test_a_key_set_has_room_for_twelve_keys(council: Any) -> None:
    signer = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,))

    def sign(count: int) -> bytes:
        main = tuple(
            Recipient(recipient_pem.generate(keys.X_WING).public(), "council", NOW - 1, NOW + 1)
            for _ in range(count)
        )
        return sign_key_set(
            KeySet(1, NOW, NOW + 9, NOW + 9, (3,), {"main": main}),
            tenant="bristol",
            signer=SigningKey(signer.key),
            chain=certificate_chain([signer.certificate]),
        )

    assert len(sign(12)) <= MAX_OTHER_BYTES
    with pytest.raises(SizeError):
        sign(13)


def test_algorithms_of_no_suite_are_refused() -> None:
    with pytest.raises(AlgorithmError):
        suites.suite_of(-7, -25)
