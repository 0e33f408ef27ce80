"""An invitation survives both its forms, and whatever is wrong with one is named."""

import hashlib
import os
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.first_boot import (
    DEVICE_ID_ALPHABET,
    MOST_URI_CHARACTERS,
    FirstBoot,
    FirstBootError,
    Service,
    TokenError,
    check_url,
    draw_token,
    new_device_id,
    token_sha256,
)

INVITATION = FirstBoot(
    url="https://enrol.example.org:8445/.well-known/est/camden",
    tenant="camden",
    device="k7q2m9xd4t",
    token=draw_token(lambda size: bytes(range(size))),
    region_root_sha256=hashlib.sha256(b"root").digest(),
)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True)


@st.composite
def invitations(draw: st.DrawFn) -> FirstBoot:
    tenant, port = draw(names), draw(st.none() | st.integers(1, 65535))
    host = draw(hosts | st.just("[2001:db8::1]"))
    place = host if port is None else f"{host}:{port}"
    token = draw(st.binary(min_size=16, max_size=16))
    return FirstBoot(
        url=f"https://{place}/.well-known/est/{tenant}",
        tenant=tenant,
        device=draw(names),
        token=draw_token(lambda _: token),
        region_root_sha256=draw(st.binary(min_size=32, max_size=32)),
    )


@given(invitations())
def test_file_and_code_say_the_same(invitation: FirstBoot) -> None:
    assert FirstBoot.from_toml(invitation.to_toml()) == invitation
    assert FirstBoot.from_uri(invitation.to_uri()) == invitation
    assert invitation.to_uri().startswith("kerbstone:")
    assert len(invitation.to_uri()) <= MOST_URI_CHARACTERS


@given(st.binary(min_size=16, max_size=16))
def test_a_token_is_known_by_its_bytes_however_it_is_typed(drawn: bytes) -> None:
    token = draw_token(lambda _: drawn)
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{6}", token)
    digest = hashlib.sha256(drawn).digest()
    typed = token.lower().replace("-", " ").replace("0", "O").replace("1", "l")
    for form in (token, token.lower(), token.replace("-", ""), typed, f" {token}\n"):
        assert token_sha256(form) == digest
    assert token_sha256(token.replace("1", "i")) == digest


def test_tokens_and_device_ids_come_from_the_machine_s_randomness() -> None:
    assert len({draw_token() for _ in range(100)}) == 100
    assert len({new_device_id() for _ in range(100)}) == 100
    assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{10}", new_device_id(os.urandom))


def test_device_id_uses_every_character_alike() -> None:
    """Each of the 256 byte values leads to one of 32 characters, each eight times."""
    ids = [new_device_id(lambda count, value=value: bytes([value]) * count) for value in range(256)]
    assert sorted(ids) == sorted(character * 10 for character in DEVICE_ID_ALPHABET * 8)


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("", "0 characters, not 26"),
        (INVITATION.token[:-1], "25 characters, not 26"),
        (INVITATION.token[:-1] + "U", "the character 'u' is in no token"),
        (INVITATION.token[:-1] + "é", "the character 'é' is in no token"),
        ("8" + INVITATION.token[1:], "its first character is not from 0 to 7"),
    ],
)
def test_what_is_wrong_with_a_token_is_named(token: str, problem: str) -> None:
    with pytest.raises(TokenError, match=re.escape(problem)):
        token_sha256(token)
    with pytest.raises(FirstBootError, match=f"^token: {re.escape(problem)}; type it again"):
        replace(INVITATION, token=token)


@given(st.text(max_size=40))
def test_any_text_is_a_token_or_refused_as_one(text: str) -> None:
    try:
        assert len(token_sha256(text)) == 32
    except TokenError:
        return


@pytest.mark.parametrize(
    ("line", "replacement", "problem"),
    [
        ("tenant = ", "tenant = 1 # ", "tenant: not text in quotes"),
        ("tenant = ", "# ", "tenant: missing"),
        ("tenant = ", "tennant = ", "tennant: not a key of a first-boot file; did you mean tenant"),
        ('"camden"', '"Camden"', "tenant: "),
        ('"camden"', '"leeds"', "url: it is camden's service, the invitation is of leeds"),
        ('"k7q2m9xd4t"', '"a/b"', "device: "),
        ("https:", "http:", "is not a plain https address; write it as https://host:port"),
        ("/est/camden", "/est/camden?x", "is not a plain https address"),
        ("/est/camden", "/est/camden/", "url: 'https://enrol.example.org:8445/.well-known"),
        (".well-known", "well-known", "has not the path /.well-known/est/"),
        ("enrol.example.org:8445", "a@enrol.example.org", "more than a host and a port"),
        ("enrol.example.org:8445", "enrol.example.org:", "no port where there should be one"),
        ("enrol.example.org:8445", ":8445", "no host"),
        ("enrol.example.org:8445", "[::1]x", "url: 'https://[::1]x"),
        ("enrol.example.org:8445", "enrol.example.org:70000", "url: 'https://enrol.example"),
        ("enrol.example.org:8445", "a b", "'a b' is no host"),
        ("enrol.example.org:8445", "a" * 240, "url: with it a QR code would hold over 300"),
        ('sha256 = "', 'sha256 = "0', "region_root_sha256: not hexadecimal; copy all of its 64"),
        ('sha256 = "', 'sha256 = "00', "region_root_sha256: 66 hexadecimal digits, not 64"),
        ('url = "', 'url = ""', "not a first-boot file: "),
    ],
)
def test_what_is_wrong_with_a_file_is_named(line: str, replacement: str, problem: str) -> None:
    text = INVITATION.to_toml()
    assert line in text
    with pytest.raises(FirstBootError, match=re.escape(problem)):
        FirstBoot.from_toml(text.replace(line, replacement))


@pytest.mark.parametrize(
    "code",
    [
        "",
        "https://example.org",
        INVITATION.to_uri().replace("kerbstone:", "http:"),
        INVITATION.to_uri().replace("token=", "tok="),
        INVITATION.to_uri() + "&more=1",
        INVITATION.to_uri() + "#part",
        INVITATION.to_uri().replace("/camden/", "/"),
        INVITATION.to_uri() + "!",
        INVITATION.to_uri()[:-1],
        "kerbstone://[",
    ],
)
def test_a_code_that_is_none_is_refused(code: str) -> None:
    with pytest.raises(FirstBootError):
        FirstBoot.from_uri(code)


def test_a_digest_may_be_written_as_other_tools_write_it() -> None:
    digest = INVITATION.region_root_sha256.hex()
    written = ":".join(digest[at : at + 2] for at in range(0, 64, 2)).upper()
    assert FirstBoot.from_toml(INVITATION.to_toml().replace(digest, written)) == INVITATION


def test_the_service_s_place_is_taken_from_the_url() -> None:
    assert check_url(INVITATION.url) == Service("enrol.example.org", 8445, "camden")
    assert check_url("https://[::1]/.well-known/est/leeds") == Service("::1", 443, "leeds")


def test_the_token_is_not_shown_by_accident() -> None:
    assert INVITATION.token not in repr(INVITATION)
    assert INVITATION.token not in str(INVITATION)
