"""Secrets of sessions and the tokens of their forms."""

import pytest

from api.session import csrf_token, new_secret, secret_sha256
from api.sign_in import client_of, own_path


def test_a_secret_is_new_each_time_and_not_what_the_store_or_a_form_knows() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) >= 43 for secret in secrets)
    secret = new_secret()
    assert csrf_token(secret) != secret_sha256(secret).hex()
    assert csrf_token(secret) == csrf_token(secret)
    assert csrf_token(secret) != csrf_token(new_secret())


@pytest.mark.parametrize(
    "path",
    ["/administration", "/administration?page=2", "/administration/gateways/k7q2m9xd4t/revoke"],
)
def test_after_signing_in_one_goes_where_one_wanted(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "https://evil.example/administration",
        "//evil.example/administration",
        "/\\evil.example",
        "/administration\\..",
        "/administrations",
        "/administration\r\nX: y",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(path: str) -> None:
    assert own_path(path) == ""


def test_in_ipv6_a_client_is_its_network() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert client_of("2001:db8:0:1::1") != client_of("2001:db8::1")
    assert client_of("192.0.2.1") == "192.0.2.1"
    assert client_of("") == ""
