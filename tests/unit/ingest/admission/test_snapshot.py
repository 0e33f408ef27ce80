"""Who may speak, as the registry's rows say."""

from dataclasses import replace

import pytest

from ingest.admission.snapshot import Snapshot
from storage.registry import GatewayRow, SigningKeyRow
from tests.simulators.gateway import new_signing_key

KEY = new_signing_key()


def row(device: str, status: str) -> GatewayRow:
    key = SigningKeyRow(kid=KEY.kid, cose_key=KEY.cose_key, valid_from=0, valid_until=100)
    return GatewayRow(
        id=1,
        council_id=1,
        tenant="camden",
        device=device,
        status=status,
        keys=() if status == "invited" else (key,),
        description_sha256=b"",
    )


def snapshot(*rows: GatewayRow) -> Snapshot:
    return Snapshot.build(
        gateways=rows, streams=[], key_sets={}, configurations={}, tenants=["camden"]
    )


@pytest.mark.parametrize(
    ("status", "revoked"), [("active", False), ("suspended", True), ("revoked", True)]
)
def test_only_an_active_gateway_may_speak(status: str, revoked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = snapshot(row("k7q2m9xd4t", status))
    assert found.devices["camden", "k7q2m9xd4t"].revoked is revoked
    assert list(found.devices["camden", "k7q2m9xd4t"].signers) == [KEY.kid]


def test_a_key_left_behind_is_known_as_such() -> None:
    before = row("k7q2m9xd4t", "active")
    left = replace(before, keys=(replace(before.keys[0], superseded=True),))
    for given, superseded in ((before, False), (left, True)):
        [signer] = snapshot(given).devices["camden", "k7q2m9xd4t"].signers.values()
        assert signer.superseded is superseded


def test_an_invited_gateway_is_unknown_until_it_enrols() -> None:
    before = snapshot(row("k7q2m9xd4t", "active"), row("w3n8b5rc6h", "invited"))
    assert list(before.devices) == list(before.gateways) == [("camden", "k7q2m9xd4t")]
    assert before.known_place("camden", "w3n8b5rc6h") == ("camden", "")
    after = before.with_gateway("w3n8b5rc6h", snapshot(row("w3n8b5rc6h", "active")))
    assert set(after.devices) == {("camden", "k7q2m9xd4t"), ("camden", "w3n8b5rc6h")}
    assert after.known_place("camden", "w3n8b5rc6h") == ("camden", "w3n8b5rc6h")
