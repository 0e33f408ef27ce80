from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_protocol import cbor, cose
from device_protocol.errors import AeadError, AlgorithmError, RejectionError, StructureError

KEY, NONCE = bytes(32), bytes(12)

LENGTHS = st.sampled_from((0, 1, 23, 24, 255, 256, 65_535, 65_536))
STRINGS = st.one_of(LENGTHS.map(bytes), st.binary(max_size=30))
UNPROTECTED = st.sampled_from(({}, {1: 3}, [], b""))
DAMAGE = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=2)


@pytest.mark.parametrize("algorithm", sorted(cose.CONTENT_ALGORITHMS))
def test_a_ciphertext_opens_under_its_own_key_nonce_and_data(algorithm: int) -> None:
    sealed = cose.encrypt(algorithm, KEY, NONCE, b"text", b"aad")
    assert cose.decrypt(algorithm, KEY, NONCE, sealed, b"aad") == b"text"
    for key, nonce, ciphertext, aad in (
        (b"\1" * 32, NONCE, sealed, b"aad"),
        (KEY, b"\1" * 12, sealed, b"aad"),
        (KEY, NONCE, sealed[:-1], b"aad"),
        (KEY, NONCE, b"", b"aad"),
        (KEY, NONCE, sealed, b""),
    ):
        with pytest.raises(AeadError):
            cose.decrypt(algorithm, key, nonce, ciphertext, aad)


@pytest.mark.parametrize("algorithm", [0, 1, 2, 10, -1])
def test_no_other_content_algorithm_is_offered(algorithm: int) -> None:
    with pytest.raises(AlgorithmError):
        cose.encrypt(algorithm, KEY, NONCE, b"", b"")


def test_nonce_of_the_worked_example() -> None:
    base_iv = bytes.fromhex("2922f17fa60e2d01ef4a96a9")
    assert cose.nonce(base_iv, b"\1").hex() == "2922f17fa60e2d01ef4a96a8"
    assert cose.nonce(base_iv, b"\x10\0\0").hex() == "2922f17fa60e2d01ef5a96a9"


def test_an_empty_header_map_is_covered_as_the_empty_string() -> None:
    assert cose.to_be_signed(b"\xa0", b"", b"") == cose.to_be_signed(b"", b"", b"")
    assert cose.protected_headers(b"") == cose.protected_headers(b"\xa0") == {}


def _either(take: Any, *arguments: Any) -> object:
    """Return what a function returns, or the refusal it raises."""
    try:
        return take(*arguments)
    except RejectionError as error:
        return type(error), str(error)


def _damaged(data: bytes, damage: list[tuple[int, int]], tail: bytes) -> bytes:
    changed = bytearray(data)
    for at, byte in damage:
        changed[at % len(changed)] = byte
    return bytes(changed) + tail


def _taken_apart(data: bytes, tag: int | None, length: int) -> tuple[object, ...]:
    """Return the items of a structure as the decoder of all CBOR reads it."""
    item = cbor.decode(data)
    if tag is not None:
        if type(item) is not cbor.Tag or item.number != tag:
            raise StructureError(f"not tagged {tag}")
        item = item.value
    protected, unprotected, *rest = cbor.array(item, length)
    found = [cbor.octets(protected)]
    if type(unprotected) is not dict:
        raise StructureError(f"{type(unprotected).__name__} where a header map belongs")
    return (*found, unprotected, *map(cbor.octets, rest))


@given(
    signed=st.booleans(),
    tagged=st.booleans(),
    strings=st.tuples(STRINGS, STRINGS, STRINGS),
    unprotected=UNPROTECTED,
    damage=DAMAGE,
    tail=STRINGS,
)
@example(signed=True, tagged=True, strings=(b"",) * 3, unprotected={}, damage=[], tail=b"\0")
@example(
    signed=False, tagged=False, strings=(b"a",) * 3, unprotected={}, damage=[(0, 0xD0)], tail=b""
)
def test_structures_are_read_like_any_cbor(
    *,
    signed: bool,
    tagged: bool,
    strings: tuple[bytes, ...],
    unprotected: object,
    damage: list[tuple[int, int]],
    tail: bytes,
) -> None:
    """Also where a shorter way is taken: the same items, or the same refusal."""
    tag, strings = (18, strings) if signed else (16, strings[:2])
    items = (strings[0], unprotected, *strings[1:])
    whole = cbor.encode(cbor.Tag(tag, items) if tagged else items)
    decode = partial(cose.decode_sign1 if signed else cose.decode_encrypt0, tagged=tagged)
    for data in (whole, _damaged(whole, damage, tail)):
        found: Any = _either(decode, data)
        if not isinstance(found, tuple):
            rest = (found.payload, found.signature) if signed else (found.ciphertext,)
            found = (found.protected, found.unprotected, *rest)
        assert found == _either(_taken_apart, data, tag if tagged else None, len(items))


@given(st.sampled_from(("Encrypt0", "Encrypt")), STRINGS, STRINGS, STRINGS)
def test_what_is_covered_is_encoded_like_any_cbor(
    context: str, protected: bytes, external_aad: bytes, payload: bytes
) -> None:
    covered = b"" if protected == b"\xa0" else protected
    whole = cbor.encode((context, covered, external_aad))
    assert cose.associated_data(context, protected, external_aad) == whole
    whole = cbor.encode(("Signature1", covered, external_aad, payload))
    assert cose.to_be_signed(protected, external_aad, payload) == whole
