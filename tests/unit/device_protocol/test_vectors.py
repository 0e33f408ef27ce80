import copy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, SigningKey
from device_protocol.vectors import CaseResult, check_vectors


@pytest.mark.parametrize("number", [1, 2])
def test_every_case_gives_exactly_its_code_and_output(
    vectors: dict[int, dict[str, Any]], number: int
) -> None:
    results = check_vectors(vectors[number])
    assert len(results) == 61
    assert [result for result in results if not result.passed] == []
    assert {result.expected for result in results} >= {0, 100, 101, 102, 103, 104, 105, 200, 201}


def test_a_case_that_gives_another_code_is_told(vectors: dict[int, dict[str, Any]]) -> None:
    document = copy.deepcopy(vectors[1])
    document["cases"] = document["cases"][:1]
    document["cases"][0]["expect"] = 401
    (result,) = check_vectors(document)
    assert (result.expected, result.actual, result.passed) == (401, 300, False)
    assert result.detail.startswith("unknown-epoch: ")


def test_a_case_that_is_accepted_unexpectedly_is_told(vectors: dict[int, dict[str, Any]]) -> None:
    document = copy.deepcopy(vectors[1])
    document["cases"] = [case for case in document["cases"] if case["name"] == "K valid"]
    document["cases"][0]["expect"] = 402
    assert check_vectors(document) == [CaseResult("K valid", 402, 0, "accepted")]


def test_a_case_that_gives_another_output_is_told(vectors: dict[int, dict[str, Any]]) -> None:
    document = copy.deepcopy(vectors[1])
    document["cases"] = [case for case in document["cases"] if case["name"] == "K valid"]
    document["cases"][0]["out"]["counter"] = 42
    (result,) = check_vectors(document)
    assert (result.actual, result.passed) == (0, False)
    assert "'counter': 41" in result.detail


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda document: document.pop("receiver"), KeyError),
        (lambda document: document["cases"][0].pop("topic"), KeyError),
        (lambda document: document["cases"][0].update(message="0x"), ValueError),
        (lambda document: document["cases"][0].update(message=None, message_rule="?"), ValueError),
        (lambda document: document["devices"][0]["keys"][0]["public"].pop("-2"), ValueError),
        (lambda document: document.update(devices=7), TypeError),
    ],
)
def test_something_else_than_vectors_is_told_from_a_failure(
    vectors: dict[int, dict[str, Any]], change: Any, error: type[Exception]
) -> None:
    document = copy.deepcopy(vectors[1])
    change(document)
    with pytest.raises(error):
        check_vectors(document)


def test_worked_example_is_reproduced_byte_for_byte(vectors: dict[int, dict[str, Any]]) -> None:
    told = vectors[1]["epoch"]
    drawn = iter(bytes.fromhex(told[part]) for part in ("id", "key", "base_iv"))
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vectors[1]["device_private"]))
    epoch = Epoch.begin(
        tenant="bristol",
        device="k7q2m9xd4t",
        group="main",
        counter=told["counter"],
        content_algorithm=told["alg"],
        issued_at=1_795_000_000,
        clock=2,
        key_set_version=7,
        recipients=[RecipientKey(X25519PrivateKey.generate()).public()],
        signer=SigningKey(private),
        previous=(40, 812),
        random=lambda count: next(drawn, bytes(count)),
    )
    payload = bytes.fromhex(
        "81a40064706d3235016575672f6d33020c217275726e3a6465763a6b3771326d3978643474"
    )
    assert epoch.seal(payload, 112).message == bytes.fromhex(
        "d08351a30118180448dfd2c11537921375064101a0588c30241971eddecde2b99f01ef3669913664a8"
        "0d4f085f37c905606d36b2866ad24b440d1e1584c85e4e68cd9f07d38aa08778ec98fea7a912354f56"
        "e7154b3fc7ff6c9bf82342d3e7d125a8dcfb6b29d3010644eeaaf365eb2611f8bbb50b7eadff9f700b"
        "4fde5f64c7f9e3e6192325a7aec58aa8a0cb748b7b39548a35e22c2841e056371196d598197127fb"
    )
