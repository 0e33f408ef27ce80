"""Linked data as an answer: as long as one may be, and no longer."""

import orjson
import pytest

from api.open_data.answers import linked
from storage.analysis import TooBigError

MEGABYTE = 1 << 20
JSON_LD = "application/ld+json"


async def test_an_answer_may_be_as_long_as_the_limit_and_no_longer() -> None:
    document = {"text": "x" * (MEGABYTE - len('{"text":""}'))}
    answer = await linked(document, {}, JSON_LD, largest=MEGABYTE)
    assert orjson.loads(answer.body) == document
    document["text"] += "x"
    with pytest.raises(TooBigError, match=r"longer than 1 MB.*smaller limit"):
        await linked(document, {}, JSON_LD, largest=MEGABYTE)


async def test_an_answer_without_a_limit_is_given_whole() -> None:
    document = {"text": "x" * (2 * MEGABYTE)}
    answer = await linked(document, {}, JSON_LD)
    assert orjson.loads(answer.body) == document
