"""What is observed by hand is left to be published, like what gateways report."""

from datetime import UTC, datetime, timedelta

from standards_mapping.sensorthings.model import ObservationId
from storage.publication import begin, due, note
from tests.integration.sensorthings.writing import Writing

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


async def published(centre: Writing) -> list[ObservationId]:
    found = await due(centre.conn)
    if found:
        await note(centre.conn, {one.batch for one in found}, found[-1])
    return [one.key for one in found]


async def test_what_is_observed_by_hand_is_due_once_in_the_order_of_storing(
    centre: Writing,
) -> None:
    _, stream = await centre.survey()
    await begin(centre.conn, timedelta(hours=1))

    async def observe(*minutes: int) -> list[ObservationId]:
        times = [NOON + timedelta(minutes=each) for each in minutes]
        array = {
            "Datastream": {"@iot.id": stream},
            "components": ["phenomenonTime", "result"],
            "dataArray": [[time.isoformat(), 7] for time in times],
        }
        answer = await centre.camden.post("CreateObservations", json=[array])
        assert answer.status_code == 201, answer.text
        return [ObservationId.of(stream, time) for time in sorted(times)]

    keys = [*await observe(50), *await observe(30, 10)]
    assert await published(centre) == keys
    await observe(10, 50)
    assert await published(centre) == [], "they are there already"
    [last] = await observe(20)
    assert await published(centre) == [last]
