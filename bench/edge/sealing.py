"""What packing, signing and encrypting cost, in this process and without any agent."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.edge.place import DEVICE, GROUP, TENANT
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, SigningKey
from device_protocol.reading import Reading
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor

_STREAMS: Final = 10
_BATCH_READINGS: Final = 100
_BATCHES: Final = 200


def measure_sealing() -> dict[str, Any]:
    """Return what packing, signing and encrypting cost, in messages of 100 readings."""
    epoch = Epoch.begin(
        tenant=TENANT,
        device=DEVICE,
        group=GROUP,
        counter=1,
        issued_at=int(time.time()),
        clock=2,
        key_set_version=1,
        recipients=[RecipientKey.from_private(X25519PrivateKey.generate()).public()],
        signer=SigningKey.from_private(Ed25519PrivateKey.generate()),
        previous=None,
    )
    begin = datetime.now(UTC)
    readings = [
        Reading(
            sensor="urn:dev:bench:sensor",
            name=f"stream{index % _STREAMS}",
            phenomenon_time=begin + timedelta(seconds=index),
            result=20.0 + index / 7,
            unit="ug/m3",
        )
        for index in range(_BATCH_READINGS)
    ]
    message = b""
    begun = time.process_time()
    for _ in range(_BATCHES):
        message = epoch.seal(encode_cbor(readings), CONTENT_FORMAT_SENML_CBOR).message
    used = time.process_time() - begun
    return {
        "readings_per_message": _BATCH_READINGS,
        "message_bytes": len(message),
        "microseconds_per_reading": round(used / _BATCHES / _BATCH_READINGS * 1e6, 2),
    }
