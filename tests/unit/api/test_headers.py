"""Headers as ASGI carries them: found, set and taken away."""

from api.headers import header, put, remove


def test_the_first_of_several_is_found_and_nothing_is_empty() -> None:
    headers = [(b"accept", b"text/csv"), (b"accept", b"text/html"), (b"x-caf\xe9", b"\xe9")]
    assert header(headers, b"accept") == "text/csv"
    assert header(headers, b"x-caf\xe9") == "é"
    assert header(headers, b"etag") == ""


def test_what_is_set_stands_once_and_what_is_removed_not_at_all() -> None:
    headers = [(b"vary", b"Accept"), (b"etag", b'"1"'), (b"vary", b"Cookie")]
    put(headers, b"vary", "Accept, Link")
    assert headers == [(b"etag", b'"1"'), (b"vary", b"Accept, Link")]
    remove(headers, b"etag")
    remove(headers, b"content-length")
    assert headers == [(b"vary", b"Accept, Link")]
