import argparse
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_line.network import passphrases, recipient_keys, status
from command_line.network.commands.gateway import parsed
from command_line.network.commands.terminal import MisusedError, confirm, show, table
from command_line.network.councils import CouncilError, check_code
from command_line.network.options import InitOptions
from command_line.network.passphrases import PassphraseError
from command_line.network.rotation import Adoption
from command_line.network.setup import operator
from device_protocol.keys import P256, X25519, X_WING
from enrolment.files import CredentialError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_settings_are_json_scalars_or_else_text() -> None:
    assert parsed(["a=5", "b=0.5", "c=true", "d=host.example.org", "e=a=b", 'f="5"']) == {
        "a": 5,
        "b": 0.5,
        "c": True,
        "d": "host.example.org",
        "e": "a=b",
        "f": "5",
    }


@pytest.mark.parametrize("pairs", [["a"], ["=5"], ["a=1", "a=2"], [""]])
def test_settings_that_are_none_are_refused(pairs: list[str]) -> None:
    with pytest.raises(MisusedError, match="--set"):
        parsed(pairs)


@pytest.mark.parametrize(
    ("gss", "name"),
    [
        ("E09000007", "Camden"),
        ("E09000007", "London Borough of Camden"),
        ("E06000023", "Bristol"),
        ("W06000015", "Cardiff"),
        ("E10000008", "Devon"),
    ],
)
def test_a_councils_code_goes_with_its_name(gss: str, name: str) -> None:
    check_code(gss, name)


@pytest.mark.parametrize(
    ("gss", "name", "named"),
    [
        ("E09000007", "Croydon", "is Camden, not Croydon"),
        ("E09000999", "Camdem", "Camden is E09000007"),
        ("X", "Nowhere at all", "ONS register"),
        ("E09000007", "", "is Camden"),
    ],
)
def test_a_wrong_code_is_refused_with_the_right_one(gss: str, name: str, named: str) -> None:
    with pytest.raises(CouncilError, match=named):
        check_code(gss, name)
    check_code(gss, name, unlisted=True)


def test_columns_are_as_wide_as_they_must_be() -> None:
    at = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    assert table(("A", "LONGER"), [("x", at), (None, ""), ("wide", 3)]) == [
        "A     LONGER",
        "x     2026-05-01 12:30 UTC",
        "-     -",
        "wide  3",
    ]


def test_json_says_times_octets_and_values_of_our_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(json=True)
    adopted = Adoption(tenant="camden", key_set_version=1, signed=True, stragglers=("a",))
    at = datetime(2026, 5, 1, tzinfo=UTC)
    show(arguments, {"at": at, "kid": b"\x01", "path": Path("/x"), "one": adopted}, ["unseen"])
    assert capsys.readouterr().out == (
        '{"at": "2026-05-01T00:00:00+00:00", "kid": "01", "path": "/x", "one": {"tenant": '
        '"camden", "key_set_version": 1, "signed": true, "stragglers": ["a"]}}\n'
    )


def test_nothing_is_confirmed_by_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = argparse.Namespace(yes=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("destroy\n"))
    with pytest.raises(MisusedError, match="--yes"):
        confirm(asked, "Sure?", "destroy")
    for typed in ("", "\n", "yes\n", "Destroy\n"):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        with pytest.raises(MisusedError, match="nothing was done"):
            confirm(asked, "Sure?", "destroy")
    monkeypatch.setattr("sys.stdin", Terminal("destroy\n"))
    confirm(asked, "Sure?", "destroy")
    confirm(argparse.Namespace(yes=True), "Sure?", "destroy")


def test_the_operator_is_who_logged_in_also_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert operator() == "operator anna"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setenv("LOGNAME", "ben")
    assert operator() == "operator ben"


@pytest.mark.parametrize(
    ("host", "url", "public"),
    [
        ("a.example.org", "", "https://a.example.org:8445"),
        ("2001:db8::1", "", "https://[2001:db8::1]:8445"),
        ("a.example.org", "https://e.example.org", "https://e.example.org"),
    ],
)
def test_gateways_enrol_at_the_brokers_host_unless_told(host: str, url: str, public: str) -> None:
    options = InitOptions(
        directory=Path("/x"),
        name="x",
        host=host,
        dsn="",
        enrolment_url=url,
        passphrase=None,
        region_passphrase=None,
    )
    assert options.public_url == public


def test_what_ends_is_named_with_what_renews_it() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)

    def alarm(name: str, *, due: bool = True) -> str:
        each = status.CertificateStatus(name=name, until=now + timedelta(days=20), due=due)
        return "".join(status._certificate_alarms((each,), now))

    assert alarm("ingest", due=False) == ""
    assert alarm("ingest").endswith("ends 2026-05-21; run `kerbstone network rotate services`")
    assert "rotate services --region-root-key" in alarm("service-root")
    assert "another network" in alarm("region-root")


def test_adoption_is_complete_once_signed_and_followed() -> None:
    def adopted(*, signed: bool, stragglers: tuple[str, ...]) -> bool:
        return Adoption(
            tenant="x", key_set_version=2, signed=signed, stragglers=stragglers
        ).complete

    assert adopted(signed=True, stragglers=())
    assert not adopted(signed=False, stragglers=())
    assert not adopted(signed=True, stragglers=("a",))


# Files


def test_a_drawn_passphrase_is_drawn_once(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    first = passphrases.drawn(file)
    assert len(first) >= 32
    assert passphrases.drawn(file) == first
    assert passphrases.drawn(tmp_path / "other") != first


@pytest.mark.parametrize(
    ("content", "mode", "named"),
    [("short", 0o600, "at least 12"), ("long enough it is", 0o640, "chmod 600"), (None, 0, "read")],
)
def test_a_passphrase_that_protects_nothing_is_refused(
    tmp_path: Path, content: str | None, mode: int, named: str
) -> None:
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(PassphraseError, match=named):
        passphrases.read(file)


@pytest.mark.parametrize("kind", [X25519, P256, X_WING])
def test_a_recipients_key_is_named_by_its_kid_and_gone_when_destroyed(
    tmp_path: Path, kind: str
) -> None:
    made = recipient_keys.make(tmp_path, kind, prefix="main")
    assert made.path.name == f"main-{kind}-{made.key.kid.hex()}.key"
    [found] = recipient_keys.read_all(tmp_path)
    assert found.key.cose_key == made.key.cose_key
    before = made.path.read_bytes()
    with made.path.open("rb") as held:  # what another process had open is overwritten, too
        recipient_keys.destroy(found)
        assert held.read() != before
    assert recipient_keys.read_all(tmp_path) == []


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "main.key").write_text("no key")
    with pytest.raises(CredentialError, match=r"main\.key"):
        recipient_keys.read_all(tmp_path)
