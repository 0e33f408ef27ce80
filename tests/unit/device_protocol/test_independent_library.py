"""What our sealer makes, `cwt` opens: a COSE library that shares no code with ours.

It knows neither the fully-specified algorithm numbers (-19, -9) nor the partial IV. So its keys
carry the older numbers of the same algorithms, which it does not compare with the header's, and
the nonce computed from the partial IV is handed to it as the IV.
"""

from typing import Any

import cbor2
import pytest
from cwt import COSE, COSEKey, VerifyError

from device_protocol import associated_data, cose
from device_protocol.acknowledgement import (
    Acknowledgement,
    acknowledgement_key,
    seal_acknowledgement,
)
from device_protocol.epoch import partial_iv
from device_protocol.receiver import Announcement

PAYLOAD = b"\x81\xa1\x02\x18\x2a"


def _signer(suite: Any) -> Any:
    older = {1: -8, 2: -7}[suite.number]
    return COSEKey.new(cbor2.loads(suite.signer.cose_key) | {2: suite.signer.kid, 3: older})


def _recipient(suite: Any) -> Any:
    key = suite.recipient._key
    secret = (
        key.private_bytes_raw()
        if suite.number == 1
        else key.private_numbers().private_value.to_bytes(32, "big")
    )
    members = {2: suite.recipient.kid, 3: -25, -4: secret}
    return COSEKey.new(cbor2.loads(suite.recipient.cose_key) | members)


def _place(suite: Any) -> tuple[str, str, str]:
    return suite.tenant, suite.device, suite.group


def test_signature_of_an_announcement(suite: Any) -> None:
    epoch = suite.begin()
    aad = associated_data.announcement(*_place(suite))
    body = COSE.new().decode(epoch.announcement, _signer(suite), external_aad=aad)
    assert cbor2.loads(body)[3] == epoch.epoch_id


def test_epoch_key_in_an_announcement(suite: Any) -> None:
    epoch = suite.begin(counter=41)
    body = cbor2.loads(cose.decode_sign1(epoch.announcement).payload)
    box = body[9][1]  # the first is the stranger's
    aad = associated_data.wrapped(*_place(suite), 41, epoch.epoch_id)
    context = {"alg": "A256GCM", "supp_pub": {"key_data_length": 256}}
    found = cbor2.loads(
        COSE.new().decode(box, _recipient(suite), context=context, external_aad=aad)
    )
    opened = suite.receiver().receive(
        suite.announcement_topic, epoch.announcement, retained=False, now=suite.now
    )
    assert isinstance(opened, Announcement)
    assert found == {
        1: 4,
        2: epoch.epoch_id,
        3: suite.content_algorithm,
        5: opened.epoch.base_iv,
        -1: opened.epoch.key,
    }


def test_data_with_the_nonce_passed_as_iv(suite: Any) -> None:
    epoch = suite.begin()
    opened = suite.receiver().receive(
        suite.announcement_topic, epoch.announcement, retained=False, now=suite.now
    )
    assert isinstance(opened, Announcement)
    epoch.seal(PAYLOAD, 112)
    sealed = epoch.seal(PAYLOAD, 112)

    outer = cose.decode_encrypt0(sealed.message)
    nonce = cose.nonce(opened.epoch.base_iv, partial_iv(sealed.seq))
    tagged = cbor2.CBORTag(16, [outer.protected, {5: nonce}, outer.ciphertext])
    key = COSEKey.new({1: 4, 2: epoch.epoch_id, 3: suite.content_algorithm, -1: opened.epoch.key})
    signed = COSE.new().decode(tagged, key, external_aad=associated_data.data(*_place(suite)))

    aad = associated_data.signed(*_place(suite), epoch.epoch_id, sealed.seq)
    inner = cbor2.CBORTag(18, cbor2.loads(signed))
    assert COSE.new().decode(inner, _signer(suite), external_aad=aad) == PAYLOAD


def test_acknowledgement(suite: Any) -> None:
    epoch_id, epoch_key = bytes(8), bytes(range(32))
    message = seal_acknowledgement(
        Acknowledgement(812, 41, 0, suite.now),
        tenant=suite.tenant,
        device=suite.device,
        group=suite.group,
        epoch_id=epoch_id,
        epoch_key=epoch_key,
    )
    key = COSEKey.new({1: 4, 2: epoch_id, 3: 5, -1: acknowledgement_key(epoch_key, epoch_id)})
    aad = associated_data.acknowledgement(*_place(suite), epoch_id)
    payload = COSE.new().decode(message, key, external_aad=aad)
    assert cbor2.loads(payload) == {1: 812, 2: 41, 3: 0, 4: suite.now}


def test_it_refuses_an_announcement_moved_to_another_group(suite: Any) -> None:
    aad = associated_data.announcement(suite.tenant, suite.device, "other")
    with pytest.raises(VerifyError):
        COSE.new().decode(suite.begin().announcement, _signer(suite), external_aad=aad)
