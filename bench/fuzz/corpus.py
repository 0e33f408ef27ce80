"""Genuine messages of every kind, and the keys and registry under which they are accepted. Pure.

Everything is drawn from fixed numbers: the same corpus every time, so that a finding's number is
enough to make it again. The vectors (envelope, section 12) add messages of both suites that
another implementation sealed.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from device_protocol import cbor, identity, topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.configuration import Configuration, sign_configuration
from device_protocol.delivery import EpochKey
from device_protocol.description import (
    Datastream,
    GatewayDescription,
    Sensor,
    Thing,
    encode_description,
)
from device_protocol.epoch import Epoch
from device_protocol.errors import RejectionError
from device_protocol.first_boot import FirstBoot, draw_token, token_sha256
from device_protocol.key_set import KeySet, Recipient, sign_key_set
from device_protocol.keys import RecipientKey, RecipientPublicKey, SigningKey, VerifyingKey
from device_protocol.reading import Reading
from device_protocol.receiver import (
    Announcement,
    Channel,
    Device,
    OpenEpoch,
    Policy,
    Signer,
    open_announcement,
)
from device_protocol.senml import encode_cbor

TENANT: Final = "camden"
DEVICE: Final = "k7q2m9xd4t"
GROUP: Final = "main"
NOW: Final = 1_795_000_000
COUNTER: Final = 7
_WEEK: Final = 604_800
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Seed:
    """A genuine message as it was delivered; `place` is its tenant, device and group."""

    topic: str
    message: bytes
    now: int = NOW


@dataclass(frozen=True, slots=True)
class World:
    """Under what some messages are accepted: registry, keys, open epochs by place and id."""

    devices: Mapping[tuple[str, str], Device]
    recipients: Mapping[bytes, RecipientKey]
    epochs: Mapping[tuple[str, str, str], Mapping[bytes, OpenEpoch]]
    policy: Policy
    seeds: tuple[Seed, ...]


class Corpus:
    """Everything drawn once. signer: the gateway's. recipient: the centre's."""

    def __init__(self) -> None:
        self._random = Random(1)  # noqa: S311 - keys of nobody, the same every time
        self.signer = SigningKey.from_private(self._ed25519())
        self.recipient = RecipientKey.from_private(
            X25519PrivateKey.from_private_bytes(self._random.randbytes(32))
        )
        self._keys = self._random.randbytes(28 + 32 * 4)
        self.announced = self.announce()

    def announce(self) -> Epoch:
        """Return a running epoch; every call the same."""
        random = Random(2)  # noqa: S311 - as above
        return Epoch.begin(
            tenant=TENANT,
            device=DEVICE,
            group=GROUP,
            counter=COUNTER,
            issued_at=NOW,
            clock=2,
            key_set_version=1,
            recipients=[RecipientPublicKey.from_cose_key(self.recipient.cose_key)],
            signer=self.signer,
            previous=(COUNTER - 1, 40),
            random=random.randbytes,
        )

    @cached_property
    def epoch(self) -> OpenEpoch:
        """The epoch as the centre knows it."""
        return self.opened.epoch

    @cached_property
    def opened(self) -> Announcement:
        """The announcement as the centre takes it."""
        return open_announcement(
            topics.parse(topics.announcement(TENANT, DEVICE, GROUP)),
            self.announced.announcement,
            devices=self.devices,
            channel=Channel(),
            recipients={self.recipient.kid: self.recipient},
            policy=Policy(),
            now=NOW,
        )

    @property
    def devices(self) -> dict[tuple[str, str], Device]:
        """The registry: one gateway."""
        key = VerifyingKey.from_cose_key(self.signer.cose_key)
        signer = Signer(key, NOW - _WEEK, NOW + _WEEK)
        return {(TENANT, DEVICE): Device(TENANT, DEVICE, revoked=False, signers={key.kid: signer})}

    @cached_property
    def world(self) -> World:
        """One gateway with an announcement and three messages."""
        epoch = self.announce()
        data = topics.data(TENANT, DEVICE, GROUP)
        sealed = [epoch.seal(self.readings, 112), epoch.seal(self.description, 60)]
        seeds = (
            Seed(topics.announcement(TENANT, DEVICE, GROUP), epoch.announcement),
            *(Seed(data, each.message) for each in sealed),
            Seed(data, epoch.seal(encode_cbor([]), 112).message),
        )
        return World(
            self.devices,
            {self.recipient.kid: self.recipient},
            {(TENANT, DEVICE, GROUP): {self.epoch.epoch_id: self.epoch}},
            Policy(),
            seeds,
        )

    @property
    def epoch_key(self) -> EpochKey:
        """What the announcement delivers."""
        epoch = self.epoch
        return EpochKey(epoch.epoch_id, epoch.content_algorithm, epoch.key, epoch.base_iv)

    @property
    def readings(self) -> bytes:
        """A SenML pack of one sensor."""
        noon = datetime.fromtimestamp(NOW - 3600, UTC)
        names = (("no2", 41.5, "ug/m3"), ("pm10", 12.0, "ug/m3"), ("label", "calm", ""))
        return encode_cbor(
            [
                Reading(
                    sensor=f"urn:dev:{DEVICE}:air",
                    name=name,
                    phenomenon_time=noon + timedelta(minutes=minute),
                    result=result,
                    unit=unit,
                )
                for minute in range(4)
                for name, result, unit in names
            ]
        )

    @property
    def description(self) -> bytes:
        """A gateway with one thing, sensor and datastream."""
        stream = Datastream(
            name="no2",
            title="Nitrogen dioxide",
            description="At the kerb",
            observed_property="no2",
            unit="ug/m3",
            period_seconds=60,
            valid_minimum=0.0,
            valid_maximum=1000.0,
        )
        sensor = Sensor(
            urn=f"urn:dev:{DEVICE}:air",
            name="Analyser",
            description="Chemiluminescence",
            metadata="https://example.org/analyser",
            datastreams=(stream,),
        )
        thing = Thing(
            urn=f"urn:dev:{DEVICE}",
            name="Site",
            description="A monitoring site",
            longitude=-0.1259,
            latitude=51.5223,
            place_name="Bloomsbury",
            properties={"owner": "Camden"},
            sensors=(sensor,),
        )
        return encode_description(GatewayDescription(things=(thing,)))

    @property
    def acknowledgement(self) -> bytes:
        """A message A of the running epoch."""
        return seal_acknowledgement(
            Acknowledgement(3, COUNTER, 0, NOW),
            tenant=TENANT,
            device=DEVICE,
            group=GROUP,
            epoch_id=self.epoch.epoch_id,
            epoch_key=self.epoch.key,
        )

    @cached_property
    def anchor(self) -> x509.Certificate:
        """The council's root."""
        return self._certificate("root", 1, self._root_key, None)

    @cached_property
    def key_set(self) -> bytes:
        """A message R."""
        key = RecipientPublicKey.from_cose_key(self.recipient.cose_key)
        entry = Recipient(key, "region", NOW - 60, NOW + _WEEK)
        groups = {"main": (entry,), "council": (entry,)}
        wanted = KeySet(3, NOW, NOW + 3600, NOW + 7200, (1, 2), groups)
        signer, chain = self.council_signer(identity.KEY_SET_SIGNING_OID)
        return sign_key_set(wanted, tenant=TENANT, signer=signer, chain=chain)

    @cached_property
    def configuration(self) -> bytes:
        """A message C."""
        settings = {"uplink.batch_seconds": 5.0, "uplink.batch_readings": 40, "rekey": True}
        signer, chain = self.council_signer(identity.CONFIGURATION_SIGNING_OID)
        return sign_configuration(
            Configuration(4, NOW, NOW + 3600, settings),
            tenant=TENANT,
            device=DEVICE,
            signer=signer,
            chain=chain,
        )

    def council_signer(self, usage: ObjectIdentifier) -> tuple[SigningKey, list[bytes]]:
        """Return who may sign messages of one usage: key and chain."""
        key = Ed25519PrivateKey.from_private_bytes(self._keys[60:92])
        certificate = self._certificate("signer", 2, key, usage)
        return SigningKey.from_private(key), [certificate.public_bytes(Encoding.DER)]

    @cached_property
    def requests(self) -> tuple[bytes, ...]:
        """Certification requests of both kinds of key, as EST clients send them."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEVICE)])
        built = x509.CertificateSigningRequestBuilder().subject_name(name)
        with_names = built.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False
        )
        edwards = Ed25519PrivateKey.from_private_bytes(self._keys[92:124])
        weierstrass = ec.derive_private_key(
            int.from_bytes(self._keys[124:156], "big"), ec.SECP256R1()
        )
        signed = (
            built.sign(edwards, None),
            with_names.sign(edwards, None),
            with_names.sign(weierstrass, hashes.SHA256(), ecdsa_deterministic=True),
        )
        return tuple(base64.b64encode(each.public_bytes(Encoding.DER)) for each in signed)

    @cached_property
    def first_boot(self) -> FirstBoot:
        """What an invited gateway is told."""
        return FirstBoot(
            url="https://network.example:8445/.well-known/est/camden",
            tenant=TENANT,
            device=DEVICE,
            token=self.token,
            region_root_sha256=self._keys[:32],
        )

    @cached_property
    def token(self) -> str:
        """A one-time token."""
        return draw_token(lambda size: self._keys[32 : 32 + size])

    @property
    def token_sha256(self) -> bytes:
        """How the token is kept."""
        return token_sha256(self.token)

    @cached_property
    def _root_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._keys[28:60])

    def _ed25519(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._random.randbytes(32))

    def _certificate(
        self, name: str, serial: int, key: Ed25519PrivateKey, usage: ObjectIdentifier | None
    ) -> x509.Certificate:
        begins = datetime.fromtimestamp(NOW, UTC)
        root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(root)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(begins - _DAY)
            .not_valid_after(begins + 30 * _DAY)
            .add_extension(x509.BasicConstraints(usage is None, None), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self._root_key, None)


def read_vectors(document: Mapping[str, Any]) -> World:
    """Return what a vectors document (envelope, section 12) accepts: its keys, epochs and cases.

    Raises:
        KeyError, TypeError, ValueError: not a vectors document.
    """
    told = document["receiver"]
    policy = Policy(
        content_algorithms=frozenset(told["allowed_content_algs"]),
        max_delay_seconds=told["max_delay_s"],
        window=told["window"],
        content_formats=frozenset(told["allowed_content_types"]),
    )
    recipient = _recipient(document["suite"], bytes.fromhex(told["recipient_private"]))
    world = World(
        {(told["tenant"], told["device"]): _device(told) for told in document["devices"]},
        {recipient.kid: recipient},
        {},
        policy,
        tuple(
            Seed(case["topic"], bytes.fromhex(case["message"]), case["now"])
            for case in document["cases"]
            if case["message"] is not None
        ),
    )
    epochs: dict[tuple[str, str, str], dict[bytes, OpenEpoch]] = {}
    for place, epoch in _announced(world):
        epochs.setdefault(place, {})[epoch.epoch_id] = epoch
    return World(world.devices, world.recipients, epochs, policy, world.seeds)


def _announced(world: World) -> Iterator[tuple[tuple[str, str, str], OpenEpoch]]:
    for seed in world.seeds:
        try:
            topic = topics.parse(seed.topic)
            accepted = open_announcement(
                topic,
                seed.message,
                devices=world.devices,
                channel=Channel(),
                recipients=world.recipients,
                policy=world.policy,
                now=seed.now,
            )
        except RejectionError:
            continue
        yield (topic.tenant, topic.device, topic.group), accepted.epoch


def _recipient(suite: int, private: bytes) -> RecipientKey:
    if suite == 1:
        return RecipientKey.from_private(X25519PrivateKey.from_private_bytes(private))
    return RecipientKey.from_private(
        ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    )


def _device(told: Mapping[str, Any]) -> Device:
    signers = {}
    for key in told["keys"]:
        members = {
            int(label): bytes.fromhex(value) if isinstance(value, str) else value
            for label, value in key["public"].items()
        }
        verifying = VerifyingKey.from_cose_key(cbor.encode(members))
        signers[verifying.kid] = Signer(verifying, key["nbf"], key["exp"])
    return Device(told["tenant"], told["device"], told["revoked"], signers)
