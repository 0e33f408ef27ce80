"""JSON bodies: no number in them becomes another one without a word."""

import pytest

from standards_mapping.sensorthings.batch import parse_json
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.json_body import parse_json_body


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1])
def test_whole_numbers_of_64_bits_stay_as_they_are(number: int) -> None:
    assert parse_json_body(b'{"serial": %d}' % number) == {"serial": number}


@pytest.mark.parametrize(
    "text", ["1234567890.1234567890123456789", "1e30", '"1234567890123456789012"']
)
def test_what_is_no_whole_number_is_read_as_ever(text: str) -> None:
    assert parse_json_body(f"[{text}]".encode()) == [
        text.strip('"') if text.startswith('"') else float(text)
    ]


@pytest.mark.parametrize("number", [str(2**64), str(-(2**63) - 1), "9" * 300])
def test_longer_ones_are_refused_with_what_to_do(number: str) -> None:
    for parse in (parse_json_body, parse_json):
        with pytest.raises(QueryError, match=f"{number[:20]}.*: send it less precise"):
            parse(f'{{"requests": [{number}]}}'.encode())


def test_what_is_nested_too_deep_or_no_json_is_refused() -> None:
    digits = b"1" * 19
    for body in (b"[" * 1020 + digits + b"]" * 1020, b"[" * 5000, b"{", b"\xff" + digits):
        with pytest.raises(QueryError, match="the body is"):
            parse_json_body(body)
