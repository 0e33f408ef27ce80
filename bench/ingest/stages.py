"""What each stage of ingest costs its own processor, message by message, without any server.

The same functions ingest calls, on messages sealed for the purpose, one after the other in one
thread. Receiving and storing are told apart by the processes' own processor time (`flow`).
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.load import GROUP, STEP, STREAMS, Plan, payloads, sensor_urn
from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, RecipientPublicKey, SigningKey, VerifyingKey
from device_protocol.receiver import Device, Policy, Signer, open_data
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR
from ingest.admission.decision import Rules, admit
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Gateway, Snapshot, Stream
from ingest.admission.state import ReceiverState
from ingest.receiving.delivery import Delivery
from storage.batches import copy_payload

_MESSAGES: Final = 1000  # a batch as large as ingest makes them by default
_ROUNDS: Final = 5
_TENANT: Final = "camden"
_DEVICE: Final = "bench-gateway-0"
_DAY: Final = 86_400


class _Bench:
    """One gateway's batch of sealed messages, and a centre that knows it."""

    def __init__(self, times: int) -> None:
        self.now = int(time.time())
        self.signer = SigningKey.from_private(Ed25519PrivateKey.generate())
        recipient = RecipientKey.from_private(X25519PrivateKey.generate())
        self.epoch = Epoch.begin(
            tenant=_TENANT,
            device=_DEVICE,
            group=GROUP,
            counter=1,
            issued_at=self.now,
            clock=2,
            key_set_version=1,
            recipients=[RecipientPublicKey.from_cose_key(recipient.cose_key)],
            signer=self.signer,
            previous=None,
        )
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        start -= _MESSAGES * times * STEP
        plan = Plan((), "", _MESSAGES, times, start.isoformat())
        self.deliveries = [
            self._delivery(self.epoch.seal(payload, CONTENT_FORMAT_SENML_CBOR).message)
            for payload in payloads(_DEVICE, plan, seed=0)
        ]
        streams = {
            f"{sensor_urn(_DEVICE)}:no2-{n}": Stream(n + 1, "ug/m3", "ug/m3", 0.0, 1000.0)
            for n in range(STREAMS)
        }
        self.verifier = VerifyingKey.from_cose_key(self.signer.cose_key)
        key = self.verifier
        self.snapshot = Snapshot(
            devices={
                (_TENANT, _DEVICE): Device(
                    _TENANT,
                    _DEVICE,
                    revoked=False,
                    signers={key.kid: Signer(key, self.now - _DAY, self.now + _DAY)},
                )
            },
            gateways={(_TENANT, _DEVICE): Gateway(1, 1, b"", streams)},
            tenants=frozenset({_TENANT}),
        )
        self.rules = Rules(recipients={recipient.kid: recipient})
        self.state = ReceiverState()
        topic = topics.announcement(_TENANT, _DEVICE, GROUP)
        announced = self._admit(
            [Delivery("bench", topic, self.epoch.announcement, retained=True, received_at=self.now)]
        )
        self.state.apply(announced.channels, announced.parking, announced.kept)

    def _delivery(self, message: bytes) -> Delivery:
        topic = topics.data(_TENANT, _DEVICE, GROUP)
        return Delivery("bench", topic, message, retained=False, received_at=self.now)

    def _admit(self, deliveries: Sequence[Delivery]) -> Outcome:
        return admit(
            deliveries,
            snapshot=self.snapshot,
            state=self.state,
            rules=self.rules,
            now=self.now,
        )

    def admit(self) -> Outcome:
        """Decide about the whole batch; the state stays as it is, so that it can be repeated."""
        return self._admit(self.deliveries)

    def open(self) -> None:
        """Decrypt, verify and check every message, up to its payload."""
        channel = self.state.channels[_TENANT, _DEVICE, GROUP]
        topic = topics.parse(self.deliveries[0].topic)
        for delivery in self.deliveries:
            open_data(
                topic,
                delivery.message,
                retained=False,
                devices=self.snapshot.devices,
                epochs=channel.epochs,
                windows=channel.windows,
                policy=Policy(),
                now=self.now,
            )


def measure_stages(times: int) -> dict[str, Any]:
    """Return microseconds of each stage for a message of `times` moments, and for 1,000 readings.

    receiving and the transaction are not among them.
    """
    bench = _Bench(times)
    covered = bench.deliveries[0].message
    signature = bench.signer.sign(covered)
    verify = _best(lambda: bench.verifier.verify(signature, covered), _MESSAGES)
    opened = _best(bench.open, 1) / _MESSAGES
    admitted = _best(bench.admit, 1) / _MESSAGES
    observations = bench.admit().columns.observations
    payload = _best(lambda: copy_payload(observations), 1) / _MESSAGES
    answer = _best(lambda: _acknowledge(bench.epoch), _MESSAGES)
    stages = {
        "decrypt_and_parse": opened - verify,
        "verify_signature": verify,
        "decode_check_and_lay_out": admitted - opened,
        "copy_payload": payload,
        "seal_one_acknowledgement": answer,
    }
    readings = STREAMS * times
    return {
        "readings_per_message": readings,
        "us_per_message": {name: round(found * 1e6, 1) for name, found in stages.items()},
        "ms_per_1000_readings": {
            name: round(found * 1e6 / readings, 3)
            for name, found in stages.items()
            if name != "seal_one_acknowledgement"  # one for each gateway of a batch
        },
    }


def _acknowledge(epoch: Epoch) -> None:
    seal_acknowledgement(
        Acknowledgement(contiguous_seq=1, highest_counter=1, last_refusal=0, time=0),
        tenant=_TENANT,
        device=_DEVICE,
        group=GROUP,
        epoch_id=epoch.epoch_id,
        epoch_key=bytes(32),
    )


def _best(run: Callable[[], object], repetitions: int) -> float:
    """Return the processor seconds of one call, the least of several rounds."""
    found = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(repetitions):
            run()
        found.append((time.thread_time() - began) / repetitions)
    return min(found)
