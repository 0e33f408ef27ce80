from http import HTTPStatus
from typing import get_args

import pytest

from enrolment.refusal import ANSWERS, Reason, RefusedError


def test_every_reason_has_an_answer_and_no_other_is_there() -> None:
    assert set(ANSWERS) == set(get_args(Reason))


@pytest.mark.parametrize("reason", ANSWERS)
def test_answer_is_one_short_plain_sentence(reason: Reason) -> None:
    status, sentence = ANSWERS[reason]
    assert status >= HTTPStatus.BAD_REQUEST
    assert sentence.isascii()
    assert sentence.endswith(".")
    assert len(sentence) < 80


def test_detail_is_for_the_log_alone() -> None:
    refused = RefusedError("request-malformed", "seen at byte 7")
    assert str(refused) == "seen at byte 7"
    assert "byte 7" not in refused.answer[1]
    assert str(RefusedError("guessing")) == "guessing"
