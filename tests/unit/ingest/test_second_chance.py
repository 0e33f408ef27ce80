"""What becomes of held readings and messages that are tried again."""

from dataclasses import replace

from device_protocol.errors import OutOfRangeError
from ingest.admission.decision import Rules
from ingest.admission.readings import Contradiction
from ingest.admission.retry import readmit
from ingest.admission.snapshot import Gateway, Stream
from ingest.second_chance import verdicts
from storage.quarantine import HeldReading, Verdict

DEVICE = ("camden", "k7q2m9xd4t")
STREAM = Stream(datastream_id=5, unit="ug/m3", senml_unit="ug/m3", minimum=0.0, maximum=50.0)
GATEWAY = Gateway(1, 1, b"", {"urn:dev:air:no2": STREAM})
HELD = HeldReading(
    id=1,
    topic="snaas/1/camden/k7q2m9xd4t/d/main",
    received_at=1_780_000_000,
    senml_name="urn:dev:air:no2",
    phenomenon_time=1_780_000_000_000_000,
    result=20.0,
    unit="ug/m3",
    quality=0,
)
RULES = Rules(recipients={})


def test_each_reading_gets_its_own_verdict() -> None:
    readings = [
        HELD,
        replace(HELD, id=2, result=80.0),
        replace(HELD, id=3, senml_name="urn:dev:air:o3"),
        replace(HELD, id=4),  # repeats the first
        replace(HELD, id=5, result=21.0),  # contradicts it
    ]
    retried = readmit(readings, DEVICE, GATEWAY, RULES)
    found = {each.id: each.reason for each in verdicts(retried, ())}
    assert found == {
        1: "",
        2: OutOfRangeError.reason,
        3: "unknown-datastream",
        4: "",
        5: "conflicting-result",
    }
    assert len(retried.columns.observations) == 1


def test_a_place_taken_in_the_database_is_a_refusal() -> None:
    retried = readmit([HELD], DEVICE, GATEWAY, RULES)
    taken = retried.columns.contradiction(5, HELD.phenomenon_time, 7.0)
    assert isinstance(taken, Contradiction)
    assert verdicts(retried, [taken]) == [
        Verdict(1, "conflicting-result", "20.0 where 7.0 is stored")
    ]
