"""The accounts find every number that was lost, doubled or altered, and excuse no other."""

from datetime import UTC, datetime

import pytest

from tests.chaos.accounts import Hour, Place, account, hours
from tests.chaos.numbered import FIELDS, Answer, Sensor, counts

TIME = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)

Readings = list[tuple[Place, float]]


@pytest.fixture
def sensor() -> Sensor:
    """Three posts: told, refused, and never answered."""
    sensor = Sensor(2, gateway=1, port=0)
    for answer in (Answer.TOLD, Answer.REFUSED, Answer.UNTOLD):
        index = sensor.new_post(TIME)
        sensor.posts[index].answer = answer
    sensor.posts[1].reason = "400 too early"
    return sensor


def sent(sensor: Sensor, index: int) -> Readings:
    time = sensor.posts[index].time * 1000
    first = sensor.first_of(index)
    return [(Place(sensor.number, place, time), float(first + place)) for place in range(FIELDS)]


def test_no_number_and_no_time_comes_twice() -> None:
    sensors = [Sensor(number, gateway=0, port=0) for number in range(2)]
    numbers = set()
    for sensor in sensors:
        for now in (TIME, TIME, TIME - 5):
            index = sensor.new_post(now)
            numbers.update(value for _, value in sent(sensor, index))
        assert len({post.time for post in sensor.posts}) == 3
    assert len(numbers) == 2 * 3 * FIELDS


def test_a_post_as_it_is_pushed() -> None:
    sensor = Sensor(0, gateway=0, port=0)
    sensor.new_post(TIME)
    sensor.new_post(TIME)
    assert sensor.body(1).startswith(f'{{"t":{TIME + 1},"v":[50,51,')


def test_all_that_was_told_is_stored_once(sensor: Sensor) -> None:
    made = account([sensor], sent(sensor, 0), [], {})
    assert (made.pushed, made.told, made.stored) == (3 * FIELDS, FIELDS, FIELDS)
    assert (made.wrong, made.bonus, made.spooled) == (0, 0, 0)
    assert made.turned_away == {"400 too early": FIELDS}


def test_what_was_not_told_may_be_stored_once(sensor: Sensor) -> None:
    made = account([sensor], sent(sensor, 0) + sent(sensor, 1) + sent(sensor, 2), [], {})
    assert (made.stored, made.bonus, made.wrong) == (FIELDS, 2 * FIELDS, 0)


def test_a_number_that_was_told_and_is_nowhere_is_lost(sensor: Sensor) -> None:
    made = account([sensor], sent(sensor, 0)[1:], [], {})
    assert (made.lost, made.wrong) == (1, 1)
    assert "field=0" in made.examples[0]


def test_a_number_that_waits_in_a_spool_is_not_lost(sensor: Sensor) -> None:
    made = account([sensor], sent(sensor, 0)[1:], sent(sensor, 0)[:1], {})
    assert (made.spooled, made.wrong) == (1, 0)


def test_a_number_in_quarantine_is_not_lost(sensor: Sensor) -> None:
    [first, *others] = sent(sensor, 0)
    made = account([sensor], others, [], {first[0]: "602 reading-time"})
    assert made.refused == {"602 reading-time": 1}
    assert made.wrong == 0


def test_another_value_in_a_place_is_altered_and_the_right_one_lost(sensor: Sensor) -> None:
    [(place, value), *others] = sent(sensor, 0)
    made = account([sensor], [(place, value + 0.5), *others], [], {})
    assert (made.altered, made.lost) == (1, 1)


@pytest.mark.parametrize("moved", [{"time": TIME * 1000 + 500}, {"field": 7}, {"sensor": 9}])
def test_a_number_in_a_place_that_is_not_its_own_is_altered(
    sensor: Sensor, moved: dict[str, int]
) -> None:
    place, value = sent(sensor, 0)[0]
    made = account([sensor], [*sent(sensor, 0), (place._replace(**moved), value)], [], {})
    assert (made.altered, made.lost) == (1, 0)


def test_a_number_stored_twice_is_doubled(sensor: Sensor) -> None:
    made = account([sensor], sent(sensor, 0) + sent(sensor, 0)[:1], [], {})
    assert (made.doubled, made.lost) == (1, 0)


def test_answers_are_counted_in_numbers(sensor: Sensor) -> None:
    assert counts([sensor]) == dict.fromkeys(Answer, FIELDS)


def test_hours_are_what_their_readings_come_to() -> None:
    hour = 3_600_000_000
    readings = [(1, 0, 2.0), (1, hour - 1, 5.0), (1, hour, 7.0), (2, 10, 1.0)]
    assert hours(readings) == {
        Hour(1, 0, 2, 7.0, 2.0, 5.0),
        Hour(1, hour, 1, 7.0, 7.0, 7.0),
        Hour(2, 0, 1, 1.0, 1.0, 1.0),
    }
