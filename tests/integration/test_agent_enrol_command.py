"""`kerbstone agent enrol`, as people, scripts and systemd call it."""

import getpass
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line.__main__ import main
from device_protocol.first_boot import FirstBoot, draw_token
from edge_agent.credentials.identity import SIGNING_CERTIFICATE, IdentityDirectory
from edge_agent.sensors.host import HostSettings
from edge_agent.settings import AgentSettings, check
from enrolment.authority import Authority
from runtime.settings import load
from tests.simulators.est_server import Answer, EstServer, est_server

DEVICE = "k7q2m9xd4t"
SITE = {
    "site": "LC/0451",
    "label": "Gower Street",
    "place_name": "Bloomsbury",
    "longitude": -0.13,
    "latitude": 51.52,
}
Enrol = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test")) as running:
        yield running


@pytest.fixture(autouse=True)
def _behaving(service: EstServer) -> None:
    service.lost.clear()
    service.instead.clear()
    service.asked.clear()
    service.site = dict(SITE)


@pytest.fixture
def enrol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Enrol:
    """Call the command; return its status and what it said as JSON."""

    def enrol(*arguments: object) -> tuple[int, Any]:
        words = ["agent", "enrol", "--directory", str(tmp_path / "identity"), "--json"]
        status = main([*words, *map(str, arguments)])
        out = capsys.readouterr()
        assert out.err == ""
        return status, json.loads(out.out)

    return enrol


@pytest.fixture
def file(service: EstServer, tmp_path: Path) -> Path:
    """Return a new first-boot file."""
    path = tmp_path / "first-boot.toml"
    path.write_text(service.invite(DEVICE).to_toml())
    return path


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a person will type, unseen, when asked."""
    answers: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda _: answers.pop(0))
    return answers


def test_a_file_makes_a_gateway_with_settings_that_run(
    enrol: Enrol, file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "etc" / "agent.toml"
    status, said = enrol("--first-boot", file, "--config", config)
    assert status == 0
    assert said["device"] == DEVICE
    assert said["config_written"]
    assert said["config_mistakes"] == []
    assert check(config) == []
    settings = load(AgentSettings, config)
    assert settings.broker.certificate_file.exists()
    assert settings.broker.key_file.exists()
    assert settings.broker.ca_file.exists()
    assert settings.trust.council_root_file.exists()
    assert settings.enrolment.directory == tmp_path / "identity"
    assert settings.state_directory == tmp_path / "etc" / "state"
    [thing] = settings.thing
    assert (thing.urn, thing.name) == ("urn:dev:kerbstone:camden:LC/0451", "Gower Street")
    assert (thing.longitude, thing.latitude, thing.place_name) == (-0.13, 51.52, "Bloomsbury")
    [sensor] = settings.sensor
    assert isinstance(sensor, HostSettings)
    assert sensor.thing == thing.urn

    status, said = enrol("--first-boot", file, "--config", config)
    assert (status, said["was_already"], said["config_written"]) == (0, True, False)


def test_what_the_council_did_not_say_is_named(
    enrol: Enrol, file: Path, service: EstServer, tmp_path: Path
) -> None:
    service.site = {"site": "LC 451, by the tree", "label": "", "longitude": None}
    status, said = enrol("--first-boot", file, "--config", tmp_path / "agent.toml")
    assert status == 0
    assert len(said["config_mistakes"]) == 2
    assert "longitude: is missing" in said["config_mistakes"][0]
    text = (tmp_path / "agent.toml").read_text()
    assert "urn:dev:kerbstone:camden:LC-451-by-the-tree-" in text


def test_the_code_may_be_typed_and_is_not_shown(
    service: EstServer,
    typing: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    invitation = service.invite(DEVICE)
    typing.append(f" {invitation.to_uri()}\n")
    assert main(["agent", "enrol", "--directory", str(tmp_path / "identity")]) == 0
    out = capsys.readouterr().out
    assert f"Gateway {DEVICE} (camden) is enrolled." in out
    assert invitation.token not in out


def test_the_parts_may_be_given_and_the_token_asked_for(
    enrol: Enrol, service: EstServer, typing: list[str]
) -> None:
    invitation = service.invite(DEVICE)
    typing.append(invitation.token.lower())
    parts = ("--url", invitation.url, "--device", DEVICE)
    digest = ("--region-root-sha256", invitation.region_root_sha256.hex())
    assert enrol(*parts, *digest)[0] == 0
    assert typing == []
    again = service.invite(DEVICE)
    assert enrol(*parts, *digest, "--token", again.token)[0] == 0
    assert enrol("--code", service.invite(DEVICE).to_uri())[0] == 0


def test_systemd_s_credential_is_followed_and_not_copied(
    enrol: Enrol,
    service: EstServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "first-boot.toml").write_text(service.invite(DEVICE).to_toml())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    service.lost.add("simpleenroll")
    assert enrol()[0] == 75
    assert IdentityDirectory(tmp_path / "identity").invitation() is None
    service.lost.clear()
    assert enrol()[0] == 0
    service.asked.clear()
    assert enrol()[1]["was_already"]  # at every start of the unit
    assert service.asked == []


def test_after_a_lost_answer_the_command_alone_goes_on(
    enrol: Enrol, file: Path, service: EstServer
) -> None:
    service.lost.add("simpleenroll")
    status, said = enrol("--first-boot", file)
    assert (status, said["error"]) == (75, "unreachable")
    service.lost.clear()
    file.unlink()
    assert enrol()[0] == 0


def test_a_refusal_is_said_with_its_remedy(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = FirstBoot.from_toml(file.read_text())
    file.write_text(wrong.to_toml().replace(wrong.token, draw_token()))
    words = ["agent", "enrol", "--directory", str(tmp_path / "identity")]
    assert main([*words, "--first-boot", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("kerbstone agent enrol: the service refuses (401)")
    assert "ask the council for a new invitation" in said


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(403, b"no"), "refused"), (Answer(200, b"AAAA"), "unusable")],
)
def test_each_kind_of_failure_has_a_name(
    enrol: Enrol, file: Path, service: EstServer, answer: Answer, error: str
) -> None:
    service.instead["simpleenroll"] = answer
    status, said = enrol("--first-boot", file)
    assert (status, said["error"]) == (1, error)


def test_an_impostor_is_named_as_one(
    enrol: Enrol, file: Path, service: EstServer, tmp_path: Path
) -> None:
    with est_server(Authority(tmp_path / "impostor", "Test")) as impostor:
        file.write_text(file.read_text().replace(service.url, impostor.url))
        status, said = enrol("--first-boot", file)
    assert (status, said["error"]) == (1, "untrusted")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "there is no invitation"),
        (("--url", "https://localhost/.well-known/est/camden"), "--device, --region-root-sha256"),
        (("--code", "x", "--token", "y"), "not twice"),
        (("--code", "kerbstone://nonsense"), "not the code of an invitation"),
        (("--code", "CODE", "--pkcs11-token", "street"), "belong together"),
        (("--first-boot", "missing.toml"), "No such file"),
    ],
)
def test_misuse_is_explained(
    enrol: Enrol, file: Path, words: tuple[str, ...], problem: str
) -> None:
    code = FirstBoot.from_toml(file.read_text()).to_uri()
    status, said = enrol(*(code if word == "CODE" else word for word in words))
    assert status == 2
    assert problem in said["problem"]


def test_a_directory_that_cannot_be_made_is_named_with_what_to_do(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    words = ["agent", "enrol", "--first-boot", str(file), "--directory", str(in_the_way)]
    assert main(words) == 1
    assert f"{in_the_way} cannot be used: File exists; is --directory" in capsys.readouterr().err


def test_settings_that_cannot_be_written_do_not_hide_that_it_is_enrolled(
    enrol: Enrol, file: Path, tmp_path: Path
) -> None:
    status, said = enrol("--first-boot", file, "--config", file / "agent.toml")
    assert (status, said["error"]) == (1, "file")
    assert "is enrolled, but" in said["problem"]
    status, said = enrol("--first-boot", file, "--config", tmp_path / "agent.toml")
    assert (status, said["was_already"], said["config_written"]) == (0, True, True)


def test_settings_of_another_gateway_are_not_given_its_keys(
    enrol: Enrol, file: Path, service: EstServer, tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    assert enrol("--first-boot", file, "--config", config)[0] == 0
    file.write_text(service.invite("w3n8b5rc6h").to_toml())
    status, said = enrol("--first-boot", file, "--config", config)
    assert status == 2
    assert f"is of gateway {DEVICE}, the invitation of w3n8b5rc6h" in said["problem"]
    config.unlink()
    status, said = enrol("--first-boot", file)
    assert (status, said["error"]) == (1, "other gateway")
    assert "enrol into another directory" in said["problem"]


def test_a_key_in_hardware_is_not_replaced_by_a_file_unasked(
    enrol: Enrol, file: Path, service: EstServer, tmp_path: Path
) -> None:
    assert enrol("--first-boot", file)[0] == 0
    store = IdentityDirectory(tmp_path / "identity")
    current = store.current()
    assert current is not None
    signing = current.directory / SIGNING_CERTIFICATE
    signing.write_bytes(current.certificate_file.read_bytes())  # as with a token
    assert enrol("--first-boot", file)[1]["was_already"]  # at every start of the unit
    service.asked.clear()

    file.write_text(service.invite(DEVICE).to_toml())
    status, said = enrol("--first-boot", file)
    assert (status, said["error"]) == (1, "token")
    assert "--config with the settings that name it ([signer])" in said["problem"]
    assert service.asked == []  # the token is not spent
    assert store.current() == current
    assert store.invitation() is None

    signing.unlink()
    assert enrol("--first-boot", file)[0] == 0
