import pytest

from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import FieldError


def test_a_fault_is_logged_the_first_tenth_and_hundredth_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = Faults("value unusable", sensor="urn:dev:example:x")
    for _ in range(999):
        faults.note(FieldError("a is wet", "a"), topic="yard")
    assert faults.counts == {"a": 999}
    said = [record.__dict__ for record in caplog.records]
    assert [each["count"] for each in said] == [1, 10, 100]
    assert {
        (each["message"], each["sensor"], each["topic"], each["reason"], each["problem"])
        for each in said
    } == {("value unusable", "urn:dev:example:x", "yard", "a", "a is wet")}


def test_no_more_than_a_hundred_reasons_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults("value unusable")
    for number in range(300):
        faults.note(FieldError("bad", f"key {number}"))
    assert len(faults.counts) == len(caplog.records) == 100
