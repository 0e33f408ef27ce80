"""A gateway enrols, again and again cut short, and is never left without a way on.

Against a certificate service that can be misused; the real one is tried in the end.
"""

import asyncio
import dataclasses
import itertools
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from device_protocol.first_boot import FirstBoot, draw_token
from device_protocol.keys import VerifyingKey
from edge_agent import durable
from edge_agent.clock import Clock, ClockQuality
from edge_agent.credentials.enrolment import Enrolled, WrongDirectoryError, enrol
from edge_agent.credentials.est import (
    EnrolmentError,
    RefusedError,
    UnreachableError,
    UntrustedError,
    UnusableError,
)
from edge_agent.credentials.identity import BusyError, IdentityDirectory
from edge_agent.credentials.keystore import Identity, Keystore, NoIdentityError
from edge_agent.credentials.renewal import renew
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    ThingSettings,
    TrustSettings,
)
from enrolment.authority import Authority
from storage import registry
from storage.network_view import gateway_facts
from tests.integration.conftest import SERVERS
from tests.integration.fix_enrolment import running_service
from tests.simulators.est_server import Answer, EstServer, certs_only, est_server
from tests.simulators.power import FailingOs, PowerCut

DEVICE = "k7q2m9xd4t"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test")) as running:
        yield running


@pytest.fixture(autouse=True)
def _behaving(service: EstServer) -> None:
    service.lost.clear()
    service.instead.clear()
    service.spoil.clear()
    service.asked.clear()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "identity"


def identity_in(directory: Path) -> Identity:
    """Return what an agent would be whose settings point into `directory`."""
    current = directory / "current"
    settings = AgentSettings(
        tenant="camden",
        device=DEVICE,
        state_directory=directory,
        broker=BrokerSettings(
            host="localhost",
            port=8883,
            ca_file=current / "region-root.pem",
            certificate_file=current / "gateway.pem",
            key_file=current / "gateway.key",
        ),
        trust=TrustSettings(council_root_file=current / "council-root.pem"),
        thing=(
            ThingSettings(
                urn="urn:dev:example:lamp-1",
                name="Lamp 1",
                description="A lamp post.",
                longitude=-0.13,
                latitude=51.52,
                place_name="Gower Street",
            ),
        ),
    )
    return Keystore(settings, Clock(directory / "clock")).load()


def test_a_gateway_enrols_with_a_key_that_only_it_has(service: EstServer, directory: Path) -> None:
    invitation = service.invite(DEVICE)
    enrolled = enrol(invitation, directory)
    assert enrolled == Enrolled("camden", DEVICE, directory)
    assert service.asked == ["cacerts", "cacerts", "network.json", "simpleenroll", "site.json"]
    current = enrolled.current
    certificate = x509.load_pem_x509_certificate(current.certificate_file.read_bytes())
    assert certificate == service.certificates[-1]
    assert identity_in(directory).signer.algorithm == -19
    assert stat.S_IMODE(current.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert current.document("network.json")["broker"]["host"] == "localhost"
    assert current.document("site.json") == {"device": DEVICE, "site": "Lamp 1"}
    assert current.region_root_file.read_bytes() == service.authority.region_root().read_bytes()
    assert current.council_root_file.read_bytes() == (
        service.authority.council_root("camden").read_bytes()
    )
    secrets = [path for path in directory.rglob("*") if path.suffix in {".key", ".toml"}]
    assert [path.resolve() for path in secrets] == [current.key_file.resolve()]


def test_neither_logs_nor_what_stays_on_the_disk_tell_a_token_or_others_a_key(
    service: EstServer, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = os.umask(0)  # a careless one
    try:
        invitation = service.invite(DEVICE)
        wrong = dataclasses.replace(invitation, token=draw_token())
        with pytest.raises(RefusedError) as refused:
            enrol(wrong, directory)
        enrol(invitation, directory)
        renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    finally:
        os.umask(before)
    everything = json.dumps([vars(each) for each in caplog.records], default=str)
    everything += str(refused.value) + repr(invitation)
    kept = [path for path in directory.rglob("*") if path.is_file() and path.suffix != ".toml"]
    everything += "".join(path.read_text() for path in kept)
    for token in (invitation.token, wrong.token):
        assert token[:5] not in everything
        assert token[-6:] not in everything
    keys = [path for path in kept if "PRIVATE KEY" in path.read_text()]
    assert {path.name for path in keys} == {"gateway.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    folders = [directory, *(path for path in directory.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert not IdentityDirectory(directory).first_boot_file.exists()


def test_an_invitation_is_followed_once(service: EstServer, directory: Path) -> None:
    invitation = service.invite(DEVICE)
    enrol(invitation, directory)
    renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    issued = len(service.certificates)
    service.asked.clear()
    again = enrol(invitation, directory)
    assert again.was_already
    assert service.asked == []
    assert len(service.certificates) == issued


def test_a_new_invitation_gives_the_same_gateway_new_keys(
    service: EstServer, directory: Path
) -> None:
    enrol(service.invite(DEVICE), directory)
    first = identity_in(directory)
    enrol(service.invite(DEVICE), directory, kind="p-256")
    second = identity_in(directory)
    assert second.signer.algorithm == -9
    assert second.signer.kid != first.signer.kid


def test_the_directory_of_another_gateway_is_left_alone(
    service: EstServer, directory: Path
) -> None:
    enrol(service.invite(DEVICE), directory)
    before = identity_in(directory).signer.kid
    with pytest.raises(WrongDirectoryError, match=r"of gateway k7q2m9xd4t .* of w3n8b5rc6h"):
        enrol(service.invite("w3n8b5rc6h"), directory)
    assert identity_in(directory).signer.kid == before


def test_a_lost_answer_does_not_cost_the_token(service: EstServer, directory: Path) -> None:
    invitation = service.invite(DEVICE)
    issued = len(service.certificates)
    service.lost.add("simpleenroll")
    with pytest.raises(UnreachableError, match="does not answer"):
        enrol(invitation, directory)
    assert len(service.certificates) == issued + 1
    service.lost.clear()
    held = IdentityDirectory(directory).invitation()
    assert held == invitation
    enrol(held, directory)
    assert len(service.certificates) == issued + 1
    assert identity_in(directory).not_after > 0


@pytest.mark.parametrize(
    ("trouble", "error", "words"),
    [
        (
            ("simpleenroll", Answer(401, b"Device or token is wrong.")),
            RefusedError,
            r"401.: Device or token is wrong\. Check device and token",
        ),
        (("simpleenroll", Answer(403, b'{"detail": "expired"}')), RefusedError, r"expired\. Check"),
        (("simpleenroll", Answer(503, b"later")), UnreachableError, "asks to wait .503.: later"),
        (("simpleenroll", Answer(202, b"", {"Retry-After": "7"})), UnreachableError, "in 7 sec"),
        (("simpleenroll", Answer(200, b"no base 64!")), UnusableError, "no PKCS #7"),
        (("simpleenroll", Answer(200, b"AAAA")), UnusableError, "no PKCS #7"),
        (("simpleenroll", Answer(200, b"x" * 70_000)), UnusableError, "over 65536 bytes"),
        (("cacerts", Answer(404, b"No such council here.")), RefusedError, "No such council"),
        (("network.json", Answer(200, b"[]")), UnusableError, "no JSON object"),
        (("network.json", Answer(200, b"{")), UnusableError, "not JSON"),
        (("site.json", Answer(500, b"\x1b[31mbug")), UnreachableError, r"500.: \[31mbug"),
    ],
)
def test_what_goes_wrong_is_said_and_can_be_repeated(
    service: EstServer,
    directory: Path,
    trouble: tuple[str, Answer],
    error: type[EnrolmentError],
    words: str,
) -> None:
    operation, answer = trouble
    invitation = service.invite(DEVICE)
    service.instead[operation] = answer
    with pytest.raises(error, match=words) as caught:
        enrol(invitation, directory)
    if isinstance(caught.value, UnreachableError) and answer.headers:
        assert caught.value.wait_seconds == 7
    assert invitation.token not in str(caught.value)
    with pytest.raises(NoIdentityError):
        identity_in(directory)
    service.instead.clear()
    assert enrol(invitation, directory).device == DEVICE
    assert identity_in(directory)


def test_a_certificate_that_is_not_ours_is_not_taken(service: EstServer, directory: Path) -> None:
    own = service.invite(DEVICE)
    enrol(own, directory)
    held = identity_in(directory).signer.kid
    authority = service.authority
    stranger = service.certificates[-1]
    service.spoil["simpleenroll"] = lambda _: certs_only([stranger])
    with pytest.raises(UnusableError, match="another key than asked"):
        enrol(service.invite(DEVICE), directory)
    service.spoil["simpleenroll"] = lambda _: certs_only([stranger, stranger])
    with pytest.raises(UnusableError, match="2 certificates instead of one"):
        enrol(service.invite(DEVICE), directory)

    def of_another_device(_: bytes) -> bytes:
        key: Any = service.certificates[-1].public_key()
        return certs_only([authority.issue_gateway("camden", "w3n8b5rc6h", key)])

    service.spoil["simpleenroll"] = of_another_device
    with pytest.raises(UnusableError, match="another gateway's"):
        enrol(service.invite(DEVICE), directory)

    def of_another_council(_: bytes) -> bytes:
        key: Any = service.certificates[-1].public_key()
        return certs_only([authority.issue_gateway("leeds", DEVICE, key)])

    service.spoil["simpleenroll"] = of_another_council
    with pytest.raises(UnusableError, match="none of its roots"):
        enrol(service.invite(DEVICE), directory)
    assert identity_in(directory).signer.kid == held


def cut_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[], None],
    *,
    prepare: Callable[[], None],
    after: Callable[[], None],
    merciful: bool,
) -> int:
    """Do `work` with the power going before each of its steps in turn; return how many there are.

    prepare: before each try. after: once the machine has started again.
    """
    for cut_at in itertools.count():
        prepare()
        disk = FailingOs(cut_at, merciful=merciful)
        monkeypatch.setattr(durable, "os", disk)
        try:
            work()
        except PowerCut:
            is_cut = True
        else:
            is_cut = False
        monkeypatch.setattr(durable, "os", os)
        after()
        if not is_cut:
            return cut_at
    raise AssertionError


@pytest.mark.parametrize("merciful", [True, False])
def test_power_may_go_at_any_step_of_a_first_enrolment(
    service: EstServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    merciful: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    numbers = itertools.count()
    directory = tmp_path
    invitation: FirstBoot

    def prepare() -> None:
        nonlocal directory, invitation
        directory = tmp_path / str(next(numbers))
        invitation = service.invite(DEVICE)

    def after() -> None:
        if (directory / "current").exists():
            assert identity_in(directory)  # whole, or not there
        issued = len(service.certificates)
        enrol(invitation, directory)
        assert len(service.certificates) <= issued + 1
        assert identity_in(directory)
        assert IdentityDirectory(directory).invitation() is None
        assert not list((directory / "pending").glob("*"))

    steps = cut_everywhere(
        monkeypatch,
        lambda: void(enrol(invitation, directory)),
        prepare=prepare,
        after=after,
        merciful=merciful,
    )
    assert steps > 50


@pytest.mark.parametrize("merciful", [True, False])
@pytest.mark.parametrize("how", ["renewal", "invitation"])
def test_power_may_go_at_any_step_of_a_change_and_the_gateway_is_somebody_throughout(
    service: EstServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    merciful: bool,  # noqa: FBT001  # a parameter of the test
    how: str,
) -> None:
    enrol(service.invite(DEVICE), directory)
    clock = Clock(directory / "clock")
    invitation: FirstBoot
    before: bytes

    def prepare() -> None:
        nonlocal invitation, before
        invitation = service.invite(DEVICE)
        before = identity_in(directory).signer.kid

    def work() -> None:
        if how == "invitation":
            enrol(invitation, directory)
        else:
            renew(directory, service.url, kind="ed25519", clock=clock)

    def after() -> None:
        held = identity_in(directory).signer.kid
        known = {before, kid_of(service.certificates[-1])}
        assert held in known
        if held == before:
            work()
        elif how == "invitation":
            assert enrol(invitation, directory).was_already
        assert identity_in(directory).signer.kid == kid_of(service.certificates[-1]) != before

    assert cut_everywhere(monkeypatch, work, prepare=prepare, after=after, merciful=merciful) > 30
    assert len(list((directory / "generations").iterdir())) == 2


def kid_of(certificate: x509.Certificate) -> bytes:
    return VerifyingKey.from_public(certificate.public_key()).kid


def void(_: object) -> None:
    """Forget a result."""


def test_a_renewal_brings_a_fresh_key_and_keeps_the_rest(
    service: EstServer, directory: Path
) -> None:
    enrolled = enrol(service.invite(DEVICE), directory)
    before = identity_in(directory)
    old = IdentityDirectory(directory).current()
    assert old is not None
    renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    after = identity_in(directory)
    assert after.signer.kid != before.signer.kid
    assert enrolled.current.document("site.json")["site"] == "Lamp 1"
    assert old.key_file.exists()  # for whoever has just read its certificate
    renew(directory, service.url, kind="p-256", clock=Clock(directory / "clock"))
    assert not old.directory.exists()
    assert identity_in(directory).signer.algorithm == -9


def test_a_lost_answer_to_a_renewal_is_asked_for_again_with_the_same_key(
    service: EstServer, directory: Path
) -> None:
    """The service certifies only so many keys in a life, and repeats what it certified."""
    enrol(service.invite(DEVICE), directory)
    clock = Clock(directory / "clock")

    def ask() -> bytes:
        renew(directory, service.url, kind="ed25519", clock=clock)
        return identity_in(directory).signer.kid

    service.lost.add("simplereenroll")
    for _ in range(3):
        with pytest.raises(UnreachableError):
            ask()
    service.lost.clear()
    kid = ask()
    assert [kid_of(each) for each in service.certificates[-4:]] == [kid] * 4
    service.lost.add("simplereenroll")
    with pytest.raises(UnreachableError):
        ask()
    lost = kid_of(service.certificates[-1])
    service.lost.clear()
    service.instead["simplereenroll"] = Answer(409, b"This key is taken.")
    with pytest.raises(RefusedError):
        ask()
    service.instead.clear()
    assert ask() not in (kid, lost), "a key that was refused is not asked for again"


def test_a_renewal_under_another_root_is_refused(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory)
    before = identity_in(directory).signer.kid

    def by_another(_: bytes) -> bytes:
        key: Any = service.certificates[-1].public_key()
        return certs_only([service.authority.issue_gateway("leeds", DEVICE, key)])

    service.spoil["simplereenroll"] = by_another
    with pytest.raises(UnusableError, match="unusable certificate"):
        renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))
    assert identity_in(directory).signer.kid == before


def test_two_cannot_change_one_directory_at_once(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory)
    with (
        IdentityDirectory(directory).locked(),
        pytest.raises(BusyError, match="another process"),
    ):
        renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"))


def test_a_wrong_token_is_refused_with_a_remedy(service: EstServer, directory: Path) -> None:
    invitation = dataclasses.replace(service.invite(DEVICE), token=draw_token())
    with pytest.raises(RefusedError, match="ask the council for a new invitation") as caught:
        enrol(invitation, directory)
    assert caught.value.status == 401


def test_a_server_nobody_runs_is_an_outage(service: EstServer, directory: Path) -> None:
    nowhere = service.url.replace(service.url.split(":")[2].split("/")[0], "1")
    invitation = dataclasses.replace(service.invite(DEVICE), url=nowhere)
    with pytest.raises(UnreachableError, match="localhost:1 does not answer"):
        enrol(invitation, directory)


def test_a_server_that_speaks_something_else_is_no_outage(
    service: EstServer, directory: Path
) -> None:
    def greet(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("localhost", 0)) as listener:
        answering = threading.Thread(target=greet, args=(listener,))
        answering.start()
        port = str(listener.getsockname()[1])
        elsewhere = service.url.replace(service.url.split(":")[2].split("/")[0], port)
        invitation = dataclasses.replace(service.invite(DEVICE), url=elsewhere)
        with pytest.raises(UnreachableError, match=r"as an enrolment .* address and port"):
            enrol(invitation, directory)
        answering.join()


def unsure_clock(directory: Path, now: datetime) -> Clock:
    """Return the clock of a machine that believes it is `now` and has nobody to ask."""
    return Clock(directory / "clock", wall=now.timestamp, source=lambda: ClockQuality.NONE)


def test_a_machine_without_a_clock_enrols_with_a_service_of_its_future(
    directory: Path, tmp_path: Path
) -> None:
    """OpenSSL, with the machine's clock, would say "not yet valid"."""
    now = datetime.now(UTC)
    future = Authority(tmp_path / "authority", "Test", clock=lambda: now + timedelta(days=40))
    directory.mkdir()
    with est_server(future) as service:
        invitation = service.invite(DEVICE)
        sure = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
        with pytest.raises(UntrustedError, match="not yet valid"):
            enrol(invitation, directory, clock=sure)
        clock = unsure_clock(directory, now)
        enrol(invitation, directory, clock=clock)
    assert clock.now() > now + timedelta(days=39)  # learnt from what its root signed
    later = unsure_clock(directory, now)
    assert later.now() > now + timedelta(days=39)  # and kept


def test_a_server_certificate_that_ended_before_the_floor_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    past = Authority(tmp_path / "authority", "Test", clock=lambda: now - timedelta(days=100))
    directory.mkdir()
    with est_server(past) as service:
        with pytest.raises(UntrustedError, match="certificate ended"):
            enrol(service.invite(DEVICE), directory, clock=unsure_clock(directory, now))
        assert "simpleenroll" not in service.asked


@pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")
async def test_the_real_service_enrols_and_renews(
    dsn: str, tmp_path: Path, directory: Path
) -> None:
    async with running_service(dsn, tmp_path / "region") as region:
        invitation = await region.invite("Lamp 1")
        root = x509.load_pem_x509_certificate(region.authority.region_root().read_bytes())
        first_boot = FirstBoot(
            url=f"{region.url}/.well-known/est/camden",
            tenant="camden",
            device=invitation.device,
            token=invitation.token,
            region_root_sha256=root.fingerprint(hashes.SHA256()),
        )
        enrolled = await asyncio.to_thread(enrol, first_boot, directory)
        current = enrolled.current
        assert current.document("site.json")["site"] == "Lamp 1"
        assert current.document("network.json")["broker"]["host"] == "broker.example.org"
        first = current.certificate_file.read_bytes()
        clock = Clock(directory / "clock")
        url = first_boot.url
        await asyncio.to_thread(renew, directory, url, kind="p-256", clock=clock)
        second = current.certificate_file.read_bytes()
        assert first != second
        [facts] = await gateway_facts(region.conn, device=invitation.device)
        assert facts.status == "active"
        ends = x509.load_pem_x509_certificate(second).not_valid_after_utc
        assert facts.certificate_until == ends

        again = await region.invite("Lamp 1", renew=True)
        assert again.device == invitation.device
        replaced = dataclasses.replace(first_boot, token=again.token)
        await asyncio.to_thread(enrol, replaced, directory)
        assert current.certificate_file.read_bytes() != second
        with pytest.raises(RefusedError, match="used with another key"):
            await asyncio.to_thread(enrol, replaced, tmp_path / "clone")
        await registry.set_gateway_status(
            region.conn, device=invitation.device, status="revoked", actor="operator test"
        )
        with pytest.raises(RefusedError, match="revoked"):
            await asyncio.to_thread(renew, directory, url, kind="p-256", clock=clock)


def test_p256_is_for_hardware_and_for_whoever_asks(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory, kind="p-256")
    public_key = service.certificates[-1].public_key()
    assert isinstance(public_key, EllipticCurvePublicKey)
