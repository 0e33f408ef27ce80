"""A gateway follows its invitation once; what goes wrong is said and can be repeated."""

import dataclasses
import json
import logging
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from device_protocol.first_boot import draw_token
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import Enrolled, WrongDirectoryError, enrol
from edge_agent.credentials.est import EnrolmentError, RefusedError, UnreachableError, UnusableError
from edge_agent.credentials.identity import BusyError, IdentityDirectory
from edge_agent.credentials.keystore import NoIdentityError
from edge_agent.credentials.renewal import renew
from tests.integration.edge_enrolment.identities import DEVICE, identity_in
from tests.simulators.est_server import Answer, EstServer, certs_only


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


def test_p256_is_for_hardware_and_for_whoever_asks(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory, kind="p-256")
    public_key = service.certificates[-1].public_key()
    assert isinstance(public_key, EllipticCurvePublicKey)
