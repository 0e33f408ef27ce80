"""Message R: for whom a council's gateways seal their readings (envelope, sections 6 and 9).

Signed by a certificate under the council's own root, with a key usage no device has. Choosing
recipients and publishing the set is done elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509

from device_protocol import associated_data, cbor, identity, keys, signed_by_council, topics
from device_protocol.errors import (
    KeySetExpiredError,
    KeySetRollbackError,
    StructureError,
    TopicError,
)
from device_protocol.keys import RecipientPublicKey, SigningKey
from device_protocol.signed_by_council import certificate_chain

__all__ = [
    "ROLES",
    "SUITES",
    "KeySet",
    "Recipient",
    "certificate_chain",
    "open_key_set",
    "sign_key_set",
]

ROLES = ("region", "council", "partner")
SUITES = frozenset((1, 2, 3, 4))

_VERSION_OF_FORM = 1
_FORM, _VERSION, _ISSUED_AT, _SOFT_EXPIRY, _HARD_EXPIRY, _SUITES, _GROUPS = 1, 2, 4, 5, 6, 7, 8
_KEY, _ROLE, _FROM, _UNTIL = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who can open what is sealed from `valid_from` to `valid_until` (Unix seconds).

    Raises:
        StructureError: a role other than region, council and partner.
    """

    key: RecipientPublicKey
    role: str
    valid_from: int
    valid_until: int

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise StructureError(f"role {self.role!r}, known: {ROLES}")


@dataclass(frozen=True, slots=True)
class KeySet:
    """The recipients of every group of a council.

    version: rises with every set.
    issued_at, soft_expiry, hard_expiry: Unix seconds. Past the soft one a gateway goes on and
        reports it; past the hard one it refuses the set.
    suites: those gateways may use; the highest they support is used.

    Raises:
        StructureError: no suite or an unknown one, no group, a group without recipients or
            with a name that fits no topic.
    """

    version: int
    issued_at: int
    soft_expiry: int
    hard_expiry: int
    suites: tuple[int, ...]
    groups: Mapping[str, tuple[Recipient, ...]]

    def __post_init__(self) -> None:
        if not self.suites or not SUITES.issuperset(self.suites):
            raise StructureError(f"suites {self.suites}, known: {sorted(SUITES)}")
        if not self.groups or not all(self.groups.values()):
            raise StructureError("no group, or one without recipients")
        for group in self.groups:
            try:
                topics.checked("group", group)
            except TopicError as error:
                raise StructureError(str(error)) from error

    def valid(self, group: str, now: int) -> tuple[Recipient, ...]:
        """Return the recipients of `group` whose time `now` is; none if it is unknown."""
        return tuple(
            recipient
            for recipient in self.groups.get(group, ())
            if recipient.valid_from <= now <= recipient.valid_until
        )

    def recipients(self, group: str, now: int) -> tuple[RecipientPublicKey, ...]:
        """Return the keys of `valid`, of every kind there is."""
        return tuple(recipient.key for recipient in self.valid(group, now))


def sign_key_set(
    key_set: KeySet, *, tenant: str, signer: SigningKey, chain: Sequence[bytes]
) -> bytes:
    """Return message R; `chain` holds DER certificates, that of `signer` first.

    Raises:
        SizeError: it would be over 16 384 bytes.
    """
    return signed_by_council.sign(
        _encode(key_set),
        external_aad=associated_data.key_set(tenant),
        signer=signer,
        chain=chain,
    )


def open_key_set(
    message: bytes, *, tenant: str, anchor: x509.Certificate, now: int, newer_than: int = 0
) -> KeySet:
    """Open message R of the topic's `tenant` at `now` (Unix seconds).

    Raises:
        SizeError, EncodingError, StructureError: not a message R.
        SignerError, SignerTimeError: its certificates do not lead to `anchor`, or the leaf has
            no right to sign key sets.
        AlgorithmError, SignatureError: its signature is not the leaf's.
        KeySetRollbackError: its version is not above `newer_than`.
        KeySetExpiredError: past its hard expiry.
    """
    payload = signed_by_council.open_signed(
        message,
        external_aad=associated_data.key_set(tenant),
        anchor=anchor,
        now=now,
        usage=identity.KEY_SET_SIGNING_OID,
    )
    key_set = _decode(payload)
    if key_set.version <= newer_than:
        raise KeySetRollbackError(f"version {key_set.version}, held already: {newer_than}")
    if now > key_set.hard_expiry:
        raise KeySetExpiredError(f"hard expiry {key_set.hard_expiry}, now {now}")
    return key_set


def _encode(key_set: KeySet) -> bytes:
    return cbor.encode(
        {
            _FORM: _VERSION_OF_FORM,
            _VERSION: key_set.version,
            _ISSUED_AT: key_set.issued_at,
            _SOFT_EXPIRY: key_set.soft_expiry,
            _HARD_EXPIRY: key_set.hard_expiry,
            _SUITES: key_set.suites,
            _GROUPS: {
                group: [
                    {
                        _KEY: cbor.decode(recipient.key.cose_key),
                        _ROLE: recipient.role,
                        _FROM: recipient.valid_from,
                        _UNTIL: recipient.valid_until,
                    }
                    for recipient in recipients
                ]
                for group, recipients in key_set.groups.items()
            },
        }
    )


def _decode(payload: bytes) -> KeySet:
    found = cbor.fields(
        cbor.decode(payload),
        (_FORM, _VERSION, _ISSUED_AT, _SOFT_EXPIRY, _HARD_EXPIRY, _SUITES, _GROUPS),
    )
    if cbor.unsigned(found[_FORM]) != _VERSION_OF_FORM:
        raise StructureError(f"key set of form {found[_FORM]}, known: {_VERSION_OF_FORM}")
    groups = found[_GROUPS]
    if type(groups) is not dict:
        raise StructureError("groups are no map")
    return KeySet(
        version=cbor.unsigned(found[_VERSION]),
        issued_at=cbor.unsigned(found[_ISSUED_AT]),
        soft_expiry=cbor.unsigned(found[_SOFT_EXPIRY]),
        hard_expiry=cbor.unsigned(found[_HARD_EXPIRY]),
        suites=tuple(cbor.unsigned(suite) for suite in cbor.array(found[_SUITES])),
        groups={
            cbor.text(name): tuple(_recipient(item) for item in cbor.array(items))
            for name, items in groups.items()
        },
    )


def _recipient(item: object) -> Recipient:
    found = cbor.fields(item, (_KEY, _ROLE, _FROM, _UNTIL))
    return Recipient(
        key=RecipientPublicKey.from_public(keys.public_key(found[_KEY])),
        role=cbor.text(found[_ROLE]),
        valid_from=cbor.unsigned(found[_FROM]),
        valid_until=cbor.unsigned(found[_UNTIL]),
    )
