"""A gateway's directory leads to one whole identity, and lets go of what is spent."""

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_protocol.first_boot import FirstBoot, FirstBootError, draw_token
from edge_agent.credentials.identity import BusyError, Generation, IdentityDirectory, Origin

ORIGIN = Origin(
    tenant="camden", device="k7q2m9xd4t", url="https://localhost", spent_tokens=("00", "11")
)
INVITATION = FirstBoot(
    url="https://localhost:8445/.well-known/est/camden",
    tenant="camden",
    device="k7q2m9xd4t",
    token=draw_token(bytes),
    region_root_sha256=bytes(32),
)
SPENT = hashlib.sha256(b"token").digest()


@pytest.fixture
def store(tmp_path: Path) -> IdentityDirectory:
    return IdentityDirectory(tmp_path / "identity")


def committed(store: IdentityDirectory, content: bytes = b"site") -> Generation:
    generation = store.begin()
    for name in ("region-root.pem", "council-root.pem", "network.json", "site.json"):
        generation.put(name, content)
    generation.put_origin(ORIGIN)
    return store.commit(generation)


def test_nothing_is_in_use_until_it_is_committed(store: IdentityDirectory) -> None:
    assert store.current() is None
    begun = store.begin()
    assert store.current() is None
    store.commit(begun)
    assert store.current() == begun
    assert (store.path / "current").resolve() == begun.directory.resolve()


def test_what_an_attempt_has_left_is_not_mixed_with_the_next(store: IdentityDirectory) -> None:
    committed(store)
    left = store.begin()
    left.put("gateway.pem", b"half")
    again = store.begin()
    assert again == left
    assert not again.certificate_file.exists()


def test_the_identity_before_is_kept_and_older_ones_are_not(store: IdentityDirectory) -> None:
    first, second, third = committed(store), committed(store), committed(store)
    store.tidy()
    assert not first.directory.exists()
    assert store.generations() == [second, third]


def test_what_a_renewal_does_not_change_is_handed_on(store: IdentityDirectory) -> None:
    first = committed(store, b"as it was")
    second = store.begin()
    first.hand_on(second)
    assert (second.directory / "site.json").read_bytes() == b"as it was"
    assert second.origin() == ORIGIN


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tenant": "camden"}'])
def test_an_origin_that_says_nothing_is_no_origin(store: IdentityDirectory, content: str) -> None:
    generation = committed(store)
    generation.put("enrolment.json", content.encode())
    with pytest.raises(ValueError, match=r"enrolment\.json|Expecting"):
        generation.origin()


def test_a_key_waits_for_its_own_token_alone(store: IdentityDirectory) -> None:
    key = Ed25519PrivateKey.generate()
    store.keep_pending(SPENT, key)
    held = store.pending_key(SPENT)
    assert isinstance(held, Ed25519PrivateKey)
    assert held.private_bytes_raw() == key.private_bytes_raw()
    assert store.pending_key(bytes(32)) is None
    [file] = (store.path / "pending").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SPENT.hex()[:16] not in file.name
    store.keep_pending(bytes(32), Ed25519PrivateKey.generate())
    assert store.pending_key(SPENT) is None
    file.write_text("damaged")
    assert store.pending_key(SPENT) is None


def test_only_the_invitation_that_was_followed_is_forgotten(store: IdentityDirectory) -> None:
    assert store.invitation() is None
    store.keep_invitation(INVITATION)
    assert store.invitation() == INVITATION
    assert stat.S_IMODE(store.first_boot_file.stat().st_mode) == 0o600
    other = FirstBoot.from_toml(INVITATION.to_toml().replace(INVITATION.token, draw_token()))
    store.tidy(other)
    assert store.invitation() == INVITATION
    store.tidy(INVITATION)
    assert store.invitation() is None


def test_an_invitation_nobody_can_read_is_named(store: IdentityDirectory) -> None:
    store.keep_invitation(INVITATION)
    store.first_boot_file.write_bytes(b"\xff")
    with pytest.raises(FirstBootError, match="not UTF-8"):
        store.invitation()


def test_one_at_a_time(store: IdentityDirectory) -> None:
    with store.locked(), pytest.raises(BusyError), store.locked():
        pass
    with store.locked():
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
