"""In which suite a gateway seals: the highest that is allowed and leaves nobody out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_protocol import keys, recipient_pem
from device_protocol.key_set import KeySet, Recipient
from device_protocol.keys import SigningKey
from edge_agent.clock import Clock
from edge_agent.delivery.key_sets import KeySets, NoRecipientsError
from tests.unit.edge_agent.conftest import FakeTime

SIGNER = SigningKey.from_private(Ed25519PrivateKey.generate())
P256_SIGNER = SigningKey.from_private(ec.generate_private_key(ec.SECP256R1()))

Choose = Callable[..., set[tuple[str, str]]]
"""From suites, recipients as (role, kind) and whether suite 3 is on, to those sealed for."""


@pytest.fixture
def choose(tmp_path: Path, clock: Clock, fake_time: FakeTime) -> Choose:
    def choose(
        allowed: tuple[int, ...],
        *recipients: tuple[str, str],
        suite_3: bool = True,
        signer: SigningKey = SIGNER,
    ) -> set[tuple[str, str]]:
        now = int(fake_time.wall)
        key_sets = KeySets(
            tmp_path,
            tenant="camden",
            council_root_file=tmp_path / "root.pem",
            clock=clock,
            suite_3=suite_3,
        )
        made = [
            Recipient(recipient_pem.generate(kind).public(), role, now - 1, now + 1)
            for role, kind in recipients
        ]
        key_sets.current = KeySet(1, now, now + 9, now + 9, allowed, {"main": tuple(made)})
        chosen = key_sets.recipients("main", signer)
        return {(each.role, each.key.kind) for each in made if each.key in chosen}

    return choose


REGION = [("region", kind) for kind in (keys.X25519, keys.P256, keys.X_WING)]
COUNCIL = [("council", kind) for kind in (keys.X25519, keys.P256, keys.X_WING)]


def test_suite_3_is_used_where_everybody_has_a_key_of_it(choose: Choose) -> None:
    everybody = {("region", keys.X_WING), ("council", keys.X_WING)}
    assert choose((1, 2, 3), *REGION, *COUNCIL) == everybody
    assert choose((1, 2, 3), *REGION, *COUNCIL, signer=P256_SIGNER) == everybody


def test_it_is_off_unless_switched_on_and_allowed(choose: Choose) -> None:
    classic = {("region", keys.X25519), ("council", keys.X25519)}
    assert choose((1, 2, 3), *REGION, *COUNCIL, suite_3=False) == classic
    assert choose((1, 2), *REGION, *COUNCIL) == classic
    of_p256 = {("region", keys.P256), ("council", keys.P256)}
    assert choose((1, 2), *REGION, *COUNCIL, signer=P256_SIGNER) == of_p256


def test_nobody_is_left_out_for_its_sake(choose: Choose) -> None:
    only_classic = ("council", keys.X25519)
    assert choose((1, 3), *REGION, only_classic) == {("region", keys.X25519), only_classic}
    partners = [("partner", keys.X25519), ("partner", keys.X25519), ("partner", keys.X_WING)]
    chosen = choose((1, 3), *REGION, *partners)
    assert chosen == {("region", keys.X25519), ("partner", keys.X25519)}
    partners.append(("partner", keys.X_WING))
    chosen = choose((1, 3), *REGION, *partners)
    assert chosen == {("region", keys.X_WING), ("partner", keys.X_WING)}


def test_a_party_that_rotates_its_classic_key_does_not_switch_it_off(choose: Choose) -> None:
    assert choose((1, 3), *REGION, ("region", keys.X25519)) == {("region", keys.X_WING)}


def test_a_council_that_allows_nothing_else_gets_nothing_else(choose: Choose) -> None:
    assert choose((3,), *REGION, ("council", keys.X25519)) == {("region", keys.X_WING)}
    with pytest.raises(NoRecipientsError, match=r"0 recipients .* suite 3"):
        choose((3,), ("council", keys.X25519))
    with pytest.raises(NoRecipientsError, match="does not allow suite 1"):
        choose((3,), *REGION, suite_3=False)
    with pytest.raises(NoRecipientsError, match="does not allow suite 2"):
        choose((1,), *REGION, suite_3=True, signer=P256_SIGNER)
