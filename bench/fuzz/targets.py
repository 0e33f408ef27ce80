"""What must withstand: each kind of message, fed to the code that meets it first.

A target takes a generator, makes one bent message from the corpus and returns what became of it:
"accepted", or the stable reason of a defined refusal. Anything else is a finding: another
exception, or `UnsoundError`, raised when something was accepted that is not what was sent.

Two kinds of attacker are played. An outsider bends sealed messages. An insider ("inside") holds a
genuine key, or a council's signing key, and seals or signs rubbish properly.
"""

import base64
import copy
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, TypeAlias

from cryptography.x509.oid import ObjectIdentifier

from bench.fuzz.corpus import DEVICE, GROUP, NOW, TENANT, Corpus, Seed, World
from bench.fuzz.mutation import mutate, mutate_text, mutate_value
from bench.fuzz.street import STREET_REASONS, street_feeds
from device_protocol import associated_data, cbor, cose, identity, signed_by_council, topics
from device_protocol.acknowledgement import acknowledgement_key
from device_protocol.configuration import open_configuration, validate
from device_protocol.description import decode_description, encode_description
from device_protocol.errors import RejectionError
from device_protocol.first_boot import FirstBoot, FirstBootError, TokenError, token_sha256
from device_protocol.key_set import open_key_set
from device_protocol.keys import VerifyingKey
from device_protocol.receiver import Channel as KnownChannel
from device_protocol.receiver import ReplayWindow, open_announcement, open_data
from device_protocol.senml import LATEST_MICROSECONDS, Record, decode_cbor
from enrolment.csr import read_request
from enrolment.issuing import PublicKey
from enrolment.refusal import ANSWERS, RefusedError
from ingest.admission import packs
from ingest.admission.decision import Rules, admit
from ingest.admission.descriptions import check_description
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Gateway, Snapshot, Stream
from ingest.admission.state import Channel, ReceiverState, Tally
from ingest.receiving.delivery import Delivery

Feed: TypeAlias = Callable[[Random], tuple[bytes, Callable[[], str]]]
"""Draws a message; returns it and what feeds it, apart, so that only the feeding is measured."""

ACCEPTED: Final = "accepted"
REASONS: Final = frozenset(
    kind.reason
    for family in RejectionError.__subclasses__()
    for kind in (family, *family.__subclasses__())
) | {ACCEPTED, "first-boot", "token", *ANSWERS, *STREET_REASONS}
"""Everything that may come of a message."""


class UnsoundError(Exception):
    """Something was accepted that nobody sent."""


@dataclass(frozen=True, slots=True)
class Target:
    """name: for reports. share: how often it is drawn, beside the others."""

    name: str
    feed: Feed
    share: int = 1


def all_targets(corpus: Corpus, vectors: Sequence[World]) -> list[Target]:
    """Return every target, over the corpus and the messages of the vectors."""
    worlds = [corpus.world, *vectors]
    return [
        Target("K and D", _Envelopes(worlds), 6),
        Target("D inside", _Inside(corpus), 5),
        Target("K inside", _AnnouncedInside(corpus), 3),
        Target("A", _Acknowledgements(corpus), 2),
        Target("R", _key_sets(corpus), 2),
        Target("C", _configurations(corpus), 2),
        Target("certification request", _Requests(corpus), 2),
        Target("first boot", _FirstBoots(corpus), 2),
        Target("token", _Tokens(corpus), 1),
        Target("description", _Descriptions(corpus), 2),
        Target("SenML", _Packs(corpus), 3),
        *(Target(*each) for each in street_feeds()),
    ]


class _Envelopes:
    """Messages K and D as an outsider bends them, or their topics."""

    def __init__(self, worlds: Sequence[World]) -> None:
        self._worlds = worlds
        self._others = [seed.message for world in worlds for seed in world.seeds]
        self._topics = [seed.topic for world in worlds for seed in world.seeds]
        self._known = {(seed.topic, seed.message) for world in worlds for seed in world.seeds}

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        world = random.choice(self._worlds)
        seed = random.choice(world.seeds)
        if random.random() < 0.15:  # noqa: PLR2004 - mostly the message, sometimes its topic
            seed = replace(seed, topic=mutate_text(random, seed.topic, self._topics))
        else:
            seed = replace(seed, message=mutate(random, seed.message, self._others))
        return seed.message, lambda: self._feed(world, seed)

    def _feed(self, world: World, seed: Seed) -> str:
        try:
            topic = topics.parse(seed.topic)
            _open(world, topic, seed)
        except RejectionError as refusal:
            return refusal.reason
        if (seed.topic, seed.message) not in self._known:
            raise UnsoundError("a message that nobody sealed was opened")
        return ACCEPTED


def _open(world: World, topic: topics.Topic, seed: Seed) -> None:
    if topic.kind is topics.Kind.ANNOUNCEMENT:
        open_announcement(
            topic,
            seed.message,
            devices=world.devices,
            channel=KnownChannel(),
            recipients=world.recipients,
            policy=world.policy,
            now=seed.now,
        )
        return
    open_data(
        topic,
        seed.message,
        retained=False,
        devices=world.devices,
        epochs=world.epochs.get((topic.tenant, topic.device, topic.group), {}),
        windows={},
        policy=world.policy,
        now=seed.now,
    )


def _gateway() -> Gateway:
    """Return the gateway whose messages are bent, as the registry has it."""
    sensor = f"urn:dev:{DEVICE}:air"
    streams = {
        f"{sensor}:no2": Stream(1, "ug/m3", "ug/m3", 0.0, 1000.0),
        f"{sensor}:pm10": Stream(2, "ug/m3", "ug/m3", 0.0, 1000.0),
    }
    return Gateway(1, 1, b"", streams)


class _Admitted:
    """All of ingest's checks (`ingest.admission`), with one gateway and its datastreams."""

    def __init__(self, corpus: Corpus) -> None:
        self._snapshot = Snapshot(
            devices=corpus.devices,
            gateways={(TENANT, DEVICE): _gateway()},
            tenants=frozenset({TENANT}),
        )
        self._rules = Rules(recipients={corpus.recipient.kid: corpus.recipient})
        channel = Channel()
        channel.begin(corpus.epoch, Tally(clock=2), ReplayWindow())
        self._known = {(TENANT, DEVICE, GROUP): channel}

    def admit(self, topic: str, message: bytes, *, announced: bool) -> str:
        """Return the reason of the refusal, whole or in part, or that it was accepted."""
        outcome = admit(
            [Delivery("fuzz", topic, message, retained=False, received_at=NOW)],
            snapshot=self._snapshot,
            state=ReceiverState(self._known if announced else None),
            rules=self._rules,
            now=NOW,
        )
        taken = outcome.accepted + len(outcome.refusals) + outcome.parked + len(outcome.deferred)
        if taken != 1:
            raise UnsoundError(f"one message was counted {taken} times")
        return _reason(outcome)


def _reason(outcome: Outcome) -> str:
    if outcome.refusals:
        return outcome.refusals[0].reason
    return outcome.reading_refusals[0].reason if outcome.reading_refusals else ACCEPTED


class _Inside:
    """Message D, properly sealed, of a pack or description that is bent."""

    def __init__(self, corpus: Corpus) -> None:
        self._admitted = _Admitted(corpus)
        self._epoch = corpus.announced
        self._payloads = ((corpus.readings, 112), (corpus.description, 60))
        self._others = (corpus.readings, corpus.description)
        self._topic = topics.data(TENANT, DEVICE, GROUP)

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        payload, content_format = random.choice(self._payloads)
        if random.random() < 0.05:  # noqa: PLR2004 - seldom another format
            content_format = random.choice((0, 60, 112, 65_535, 1 << 31, (1 << 64) - 1))
        bent = mutate(random, payload, self._others)[:65_000]
        message = copy.copy(self._epoch).seal(bent, content_format).message
        return message, lambda: self._admitted.admit(self._topic, message, announced=True)


class _AnnouncedInside:
    """Message K, properly signed, of an announcement that is bent."""

    def __init__(self, corpus: Corpus) -> None:
        self._admitted = _Admitted(corpus)
        self._signer = corpus.signer
        self._body = cose.decode_sign1(corpus.announced.announcement).payload
        self._genuine = corpus.announced.announcement
        self._topic = topics.announcement(TENANT, DEVICE, GROUP)

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        bent = mutate(random, self._body, (self._body,))[:16_000]
        headers = cbor.encode({cose.ALG: self._signer.algorithm, cose.KID: self._signer.kid})
        aad = associated_data.announcement(TENANT, DEVICE, GROUP)
        signature = self._signer.sign(cose.to_be_signed(headers, aad, bent))
        message = cose.Sign1(headers, {}, bent, signature).encode()
        return message, lambda: self._admitted.admit(self._topic, message, announced=False)


class _Acknowledgements:
    """Message A, bent on the way, or made by somebody who may open the epoch."""

    def __init__(self, corpus: Corpus) -> None:
        self._epoch = corpus.announced
        self._genuine = corpus.acknowledgement
        self._mac = cose.decode_mac0(self._genuine)
        self._key = acknowledgement_key(corpus.epoch.key, corpus.epoch.epoch_id)
        self._aad = associated_data.acknowledgement(TENANT, DEVICE, GROUP, corpus.epoch.epoch_id)

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        if random.random() < 0.5:  # noqa: PLR2004 - half from outside, half from inside
            message = mutate(random, self._genuine, (self._genuine,))
            return message, lambda: self._feed(message, {self._genuine})
        bent = mutate(random, self._mac.payload, (self._mac.payload,))[:16_000]
        covered = cose.to_be_maced(self._mac.protected, self._aad, bent)
        tag = hmac.digest(self._key, covered, "sha256")
        sealed = cose.Mac0(self._mac.protected, {}, bent, tag).encode()
        return sealed, lambda: self._feed(sealed, {self._genuine, sealed})

    def _feed(self, message: bytes, genuine: set[bytes]) -> str:
        try:
            said = self._epoch.open_acknowledgement(message)
        except RejectionError as refusal:
            return refusal.reason
        numbers = (said.contiguous_seq, said.highest_counter, said.last_refusal, said.time)
        if message not in genuine or min(numbers) < 0:
            raise UnsoundError(f"a forged acknowledgement was taken: {said}")
        return ACCEPTED


class _Council:
    """What a council signs: bent on the way, or made by who holds its signing key."""

    def __init__(
        self,
        corpus: Corpus,
        genuine: bytes,
        usage: ObjectIdentifier,
        aad: bytes,
        follow: Callable[[bytes], None],
    ) -> None:
        self._genuine = genuine
        self._payload = cose.decode_sign1(genuine).payload
        self._signer, self._chain = corpus.council_signer(usage)
        self._aad = aad
        self._follow = follow

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        if random.random() < 0.5:  # noqa: PLR2004 - half from outside, half from inside
            message = mutate(random, self._genuine, (self._genuine,))
            return message, lambda: self._feed(message, {self._genuine})
        change = mutate_value if random.random() < 0.7 else _as_bytes  # noqa: PLR2004
        bent = change(random, self._payload)[:15_000]
        signed = signed_by_council.sign(
            bent, external_aad=self._aad, signer=self._signer, chain=self._chain
        )
        return signed, lambda: self._feed(signed, {self._genuine, signed})

    def _feed(self, message: bytes, genuine: set[bytes]) -> str:
        try:
            self._follow(message)
        except RejectionError as refusal:
            return refusal.reason
        if message not in genuine:
            raise UnsoundError("a message that the council did not sign was followed")
        return ACCEPTED


def _as_bytes(random: Random, payload: bytes) -> bytes:
    return mutate(random, payload, (payload,))


def _key_sets(corpus: Corpus) -> _Council:
    """Return message R, opened and its recipients chosen as for a new epoch."""

    def follow(message: bytes) -> None:
        key_set = open_key_set(message, tenant=TENANT, anchor=corpus.anchor, now=NOW)
        key_set.recipients(GROUP, NOW)

    aad = associated_data.key_set(TENANT)
    return _Council(corpus, corpus.key_set, identity.KEY_SET_SIGNING_OID, aad, follow)


def _configurations(corpus: Corpus) -> _Council:
    """Return message C, opened and its settings judged."""

    def follow(message: bytes) -> None:
        wanted = open_configuration(
            message, tenant=TENANT, device=DEVICE, anchor=corpus.anchor, now=NOW
        )
        for bad in validate(wanted.settings):
            str(bad)

    aad = associated_data.configuration(TENANT, DEVICE)
    usage = identity.CONFIGURATION_SIGNING_OID
    return _Council(corpus, corpus.configuration, usage, aad, follow)


class _Requests:
    """Certification requests: the DER bent, or the base64."""

    def __init__(self, corpus: Corpus) -> None:
        self._requests = corpus.requests
        self._keys = {_public(read_request(body)) for body in corpus.requests}

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        body = random.choice(self._requests)
        if random.random() < 0.2:  # noqa: PLR2004 - mostly the DER: base64 is soon dealt with
            bent = mutate(random, body, self._requests)
        else:
            der = [base64.b64decode(each) for each in self._requests]
            bent = base64.b64encode(mutate(random, base64.b64decode(body), der))
        return bent, lambda: self._feed(bent)

    def _feed(self, body: bytes) -> str:
        try:
            key = read_request(body)
        except RefusedError as refusal:
            return refusal.reason
        if _public(key) not in self._keys:
            raise UnsoundError("a key was taken from a request that its holder did not sign")
        return ACCEPTED


class _FirstBoots:
    """First-boot files and the text of QR codes."""

    def __init__(self, corpus: Corpus) -> None:
        self._texts = (corpus.first_boot.to_toml(), corpus.first_boot.to_uri())

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        text = random.choice(self._texts)
        read, write = (
            (FirstBoot.from_toml, FirstBoot.to_toml)
            if text == self._texts[0]
            else (FirstBoot.from_uri, FirstBoot.to_uri)
        )
        bent = mutate_text(random, text, self._texts)

        def feed() -> str:
            try:
                found = read(bent)
            except FirstBootError:
                return "first-boot"
            if read(write(found)) != found:
                raise UnsoundError("a first-boot file does not survive being written again")
            return ACCEPTED

        return bent.encode(), feed


class _Tokens:
    """One-time tokens as people type them."""

    def __init__(self, corpus: Corpus) -> None:
        self._token = corpus.token

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        bent = mutate_text(random, self._token, (self._token,))

        def feed() -> str:
            try:
                token_sha256(bent)
            except TokenError:
                return "token"
            return ACCEPTED

        return bent.encode(), feed


class _Descriptions:
    """Descriptions of gateways, as the payload of a genuine message."""

    def __init__(self, corpus: Corpus) -> None:
        self._description = corpus.description

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        bent = mutate(random, self._description, (self._description,))
        return bent, lambda: self._feed(bent)

    def _feed(self, payload: bytes) -> str:
        try:
            found = decode_description(payload)
        except RejectionError as refusal:
            return refusal.reason
        if decode_description(encode_description(found)) != found:
            raise UnsoundError("a description does not survive being encoded again")
        _, refused = check_description(found)
        return refused[0][1].reason if refused else ACCEPTED


class _Packs:
    """SenML packs, as the payload of a genuine message: the quick way must agree with the other."""

    def __init__(self, corpus: Corpus) -> None:
        self._readings = corpus.readings
        self._gateway = _gateway()

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        bent = mutate(random, self._readings, (self._readings,))
        return bent, lambda: self._feed(bent)

    def _feed(self, payload: bytes) -> str:
        quick = packs.read(payload, self._gateway, earliest=0, latest=LATEST_MICROSECONDS)
        try:
            records = decode_cbor(payload)
        except RejectionError as refusal:
            if quick is not None:
                raise UnsoundError("a pack was read the quick way that is refused") from refusal
            return refusal.reason
        if any(type(record.time_microseconds) is not int for record in records):
            raise UnsoundError("a reading has no time")
        if quick is not None and self._quickly(quick) != self._slowly(records):
            raise UnsoundError("a pack means something else when it is read the quick way")
        return ACCEPTED

    def _quickly(self, found: packs.Readings) -> list[tuple[int, int, float, int]]:
        return [
            (datastream_id, found.start + round(after * 1e6), value, found.qualities.get(row, 0))
            for row, (datastream_id, after, value) in enumerate(
                zip(found.datastream_ids, found.seconds, found.values, strict=True)
            )
        ]

    def _slowly(self, records: list[Record]) -> list[tuple[int, int, object, int]]:
        streams = self._gateway.streams
        return [
            (
                streams[record.name].datastream_id if record.name in streams else 0,
                record.time_microseconds,
                record.value,
                record.quality,
            )
            for record in records
        ]


def _public(key: PublicKey) -> bytes:
    return VerifyingKey.from_public(key).cose_key
