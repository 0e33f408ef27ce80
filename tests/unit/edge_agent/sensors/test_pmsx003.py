"""Frames of Plantower sensors: recorded ones, and what a bad line makes of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sensors.pmsx003 import Frame, Pmsx003Settings, datastreams, take
from tests.unit.edge_agent.particulate_recordings import hexdump, rows, texts


def frames(*pieces: bytes) -> list[Frame]:
    """Return what is taken from a line on which these pieces come one after the other."""
    buffer = bytearray()
    found = []
    for piece in pieces:
        buffer += piece
        while (frame := take(buffer)) is not None:
            found.append(frame)
        assert len(buffer) < 32
    return found


STREAMS = {name: hexdump(name) for name in ("PMSx003", "PMS3003")}
LENGTHS = {"PMSx003": 32, "PMS3003": 24}
DECODED = {name: frames(stream) for name, stream in STREAMS.items()}
ONE = STREAMS["PMSx003"][:32]


def settings(**more: object) -> Pmsx003Settings:
    return Pmsx003Settings(
        urn="urn:dev:example:dust",
        thing="urn:dev:example:lamp-1",
        name="Dust",
        description="At the lamp.",
        device=Path("/dev/ttyUSB0"),
        **{"model": "PMS5003", **more},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", STREAMS)
def test_every_recorded_frame_gives_the_recorded_results(name: str) -> None:
    recorded = rows(name)
    assert len(recorded) == 10
    assert [frame.masses for frame in DECODED[name]] == [
        (row["pm01"], row["pm25"], row["pm10"]) for row in recorded
    ]
    columns = [] if name == "PMS3003" else ["n0_3", "n0_5", "n1_0", "n2_5", "n5_0", "n10_0"]
    per_cm3 = 100  # as it was recorded; the sensor counts in 0.1 litre
    assert [frame.numbers for frame in DECODED[name]] == [
        tuple(round(row[column] * per_cm3, 6) for column in columns) for row in recorded
    ]


@pytest.mark.parametrize("name", STREAMS)
def test_every_recorded_frame_gives_what_was_printed_of_it(name: str) -> None:
    assert texts(name) == [
        f"PM1 {frame.masses[0]}, PM2.5 {frame.masses[1]}, PM10 {frame.masses[2]} μg/m3"
        for frame in DECODED[name]
    ]


def test_results_are_those_of_the_atmosphere_not_of_the_factory() -> None:
    values = [*range(1, 14)]
    body = b"BM\0\x1c" + b"".join(value.to_bytes(2, "big") for value in values)
    frame = frames(body + sum(body).to_bytes(2, "big"))[0]
    assert list(frame.masses) == [4, 5, 6]
    assert list(frame.numbers) == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("name", STREAMS)
def test_it_does_not_matter_where_the_line_pauses(name: str) -> None:
    stream = STREAMS[name]
    for cut in range(len(stream) + 1):
        assert frames(stream[:cut], stream[cut:]) == DECODED[name]


@pytest.mark.parametrize("name", STREAMS)
def test_a_frame_that_was_under_way_is_passed_over(name: str) -> None:
    for begin in range(1, LENGTHS[name]):
        assert frames(STREAMS[name][begin:]) == DECODED[name][1:]


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=20))
def test_anything_may_come(pieces: list[bytes]) -> None:
    for frame in frames(*pieces):
        assert len(frame.masses) == 3


@given(st.binary(max_size=80) | st.just(b"BM\0\x1c"), st.binary(max_size=80) | st.just(b"BM"))
def test_after_garbage_no_more_than_one_frame_is_lost(before: bytes, between: bytes) -> None:
    found = frames(before, ONE * 3, between, ONE * 3)
    assert found.count(DECODED["PMSx003"][0]) >= 4
    assert found[-2:] == [DECODED["PMSx003"][0]] * 2


@pytest.mark.parametrize("name", STREAMS)
@given(st.data())
def test_a_changed_byte_costs_its_own_frame_only(name: str, data: st.DataObject) -> None:
    length, stream = LENGTHS[name], STREAMS[name]
    damaged = bytearray(stream[:length])
    at = data.draw(st.integers(0, length - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    found = frames(stream + bytes(damaged) + stream)
    # a length changed to the other model's takes no part of the next frame: its sum is wrong
    assert found == DECODED[name] * 2


@given(st.binary(min_size=26, max_size=26), st.integers(0, 65_535))
def test_a_wrong_checksum_is_never_a_frame(body: bytes, checksum: int) -> None:
    whole = b"BM\0\x1c" + body + checksum.to_bytes(2, "big")
    right = sum(b"BM\0\x1c" + body) == checksum
    assert [frame.models for frame in frames(whole)] == (
        ["PMS5003, PMS7003 or PMSA003"] if right else []
    )


def test_only_what_the_model_counts_can_be_asked_for() -> None:
    assert [each.name for each in datastreams(settings())] == ["pm1", "pm25", "pm10"]
    assert len(datastreams(settings(particles=True))) == 9
    (mistake,) = settings(model="PMS3003", particles=True).contradictions()
    assert mistake[0] == ("particles",)
    assert not list(settings(model="PMS7003", particles=True).contradictions())


def test_the_description_says_what_a_result_is_a_mean_of() -> None:
    assert {each.averaging_seconds for each in datastreams(settings(interval_seconds=300.0))} == {
        300
    }
    assert {each.averaging_seconds for each in datastreams(settings(statistic="newest"))} == {0}
