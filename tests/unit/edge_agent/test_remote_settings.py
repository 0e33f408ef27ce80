"""Settings from afar are tried, kept or taken back, and no old ones ever come again."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import remote_settings
from edge_agent.clock import Clock
from edge_agent.inputs.fields import FieldSettings
from edge_agent.remote_settings import ReconfiguredError, RemoteSettings, apply
from edge_agent.sensors.host import HostSettings
from edge_agent.sensors.mqtt_json import MqttJsonSettings
from edge_agent.sensors.sds011 import Sds011Settings
from edge_agent.settings import AgentSettings
from edge_agent.settings import RemoteSettings as Trial
from enrolment.authority import Authority
from tests.simulators.centre import configuration_of
from tests.unit.edge_agent.conftest import FakeTime

DEVICE = "k7q2m9xd4t"
GOOD = {"uplink.batch_seconds": 3.5}
OTHER = {"uplink.batch_seconds": 7.0}
DUST, EAR, LAMP = "urn:dev:example:dust", "urn:dev:example:ear", "urn:dev:example:lamp-1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "Test")


@pytest.fixture
def agent_settings(
    settings: AgentSettings, authority: Authority, fake_time: FakeTime
) -> AgentSettings:
    """Settings that trust the authority, whose certificates are of today; so is the clock."""
    fake_time.wall = time.time()
    trust = replace(settings.trust, council_root_file=authority.council_root("camden"))
    return replace(settings, trust=trust, remote=Trial(trial_seconds=60.0))


@pytest.fixture
def start(agent_settings: AgentSettings, clock: Clock) -> Callable[[], RemoteSettings]:
    """Start the agent (again) on the same disk."""
    return lambda: RemoteSettings(agent_settings, clock)


@pytest.fixture
def message(authority: Authority, fake_time: FakeTime) -> Callable[..., bytes]:
    def message(version: int, settings: object = None, **changes: object) -> bytes:
        wanted = GOOD if settings is None else settings
        changes.setdefault("issued_at", int(fake_time.wall))
        return configuration_of(
            authority,
            "camden",
            DEVICE,
            wanted,  # type: ignore[arg-type]
            version=version,
            **changes,  # type: ignore[arg-type]
        )

    return message


def _batch_seconds(remote: RemoteSettings) -> float:
    return remote.begin().uplink.batch_seconds


async def _wants_restart(remote: RemoteSettings) -> str:
    with pytest.raises(ReconfiguredError) as reason:
        await remote.run()
    return str(reason.value)


async def _keep(remote: RemoteSettings) -> None:
    """Let the centre acknowledge something, and the trial end by it."""
    running = asyncio.create_task(remote.run())
    await asyncio.sleep(0)
    remote.acknowledged()
    while remote.on_trial:  # noqa: ASYNC110  # ends within the event loop's next steps
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def _told(remote: RemoteSettings) -> tuple[int, int, int]:
    return remote.in_force, remote.refused, remote.on_trial


async def test_a_configuration_is_kept_once_the_centre_has_acknowledged_under_it(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes]
) -> None:
    remote = start()
    assert _batch_seconds(remote) == 10.0
    remote.changed.clear()
    remote.offer(message(1))
    assert await _wants_restart(remote) == "a new configuration"
    assert _batch_seconds(remote) == 3.5
    assert _told(remote) == (0, 0, 1)
    await _keep(remote)
    assert _told(remote) == (1, 0, 0)
    assert remote.changed.is_set()
    again = start()
    assert _batch_seconds(again) == 3.5
    assert _told(again) == (1, 0, 0)


async def test_without_an_acknowledgement_it_is_taken_back(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes], fake_time: FakeTime
) -> None:
    remote = start()
    remote.begin()
    remote.offer(message(1))
    await _wants_restart(remote)
    assert _batch_seconds(remote) == 3.5
    running = asyncio.create_task(_wants_restart(remote))
    await asyncio.sleep(0)
    fake_time.advance(60)
    remote._stirred.set()  # as the event loop's own timer would, a minute later
    assert await running == "the trial has failed"
    assert _batch_seconds(remote) == 10.0
    assert _told(remote) == (0, 1, 0)
    remote.offer(message(1, OTHER))
    assert _told(start()) == (0, 1, 0)
    remote.offer(message(2))
    await _wants_restart(remote)
    remote.begin()
    await _keep(remote)
    assert _told(remote) == (2, 1, 0)


async def test_what_fails_gives_way_to_what_was_kept_before(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes], fake_time: FakeTime
) -> None:
    remote = start()
    remote.begin()
    remote.offer(message(1))
    remote.begin()
    await _keep(remote)
    remote.offer(message(2, OTHER))
    assert _batch_seconds(remote) == 7.0
    remote._clock = _hurried(remote._clock, fake_time)
    await _wants_restart(remote)
    assert _batch_seconds(remote) == 3.5
    assert _told(remote) == (1, 2, 0)


def _hurried(clock: Clock, fake_time: FakeTime) -> Clock:
    """Return a clock whose every look at it takes an hour."""

    def monotonic() -> float:
        fake_time.advance(3600)
        return fake_time.monotonic

    clock.monotonic = monotonic
    return clock


async def test_a_power_cut_during_the_trial_allows_one_more_try(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes]
) -> None:
    remote = start()
    remote.begin()
    remote.offer(message(1))
    assert _batch_seconds(start()) == 3.5
    second = start()
    assert _batch_seconds(second) == 3.5
    assert _told(second) == (0, 0, 1)
    third = start()
    assert _batch_seconds(third) == 10.0
    assert _told(third) == (0, 1, 0)
    assert _told(start()) == (0, 1, 0)


async def test_a_power_cut_before_the_trial_loses_nothing(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes]
) -> None:
    remote = start()
    remote.begin()
    remote.offer(message(1))
    remote = start()
    remote.begin()
    await _keep(remote)
    assert _told(start()) == (1, 0, 0)


async def test_a_newer_one_takes_the_place_of_the_one_on_trial(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes]
) -> None:
    remote = start()
    remote.begin()
    remote.offer(message(1))
    remote.begin()
    running = asyncio.create_task(_wants_restart(remote))
    await asyncio.sleep(0)
    remote.offer(message(2, OTHER))
    assert await running == "a new configuration"
    assert _batch_seconds(remote) == 7.0
    await _keep(remote)
    assert _told(remote) == (2, 0, 0)


async def test_an_old_one_never_comes_back(
    start: Callable[[], RemoteSettings], message: Callable[..., bytes]
) -> None:
    remote = start()
    remote.begin()
    first, second = message(1, OTHER), message(2)
    remote.offer(second)
    remote.begin()
    await _keep(remote)
    for started in (remote, start()):
        for old in (first, second, message(2, OTHER)):
            started.offer(old)
        assert _batch_seconds(started) == 3.5
        assert _told(started) == (2, 0, 0)


async def test_what_the_councils_signer_did_not_sign_for_this_gateway_changes_nothing(
    start: Callable[[], RemoteSettings],
    message: Callable[..., bytes],
    authority: Authority,
    fake_time: FakeTime,
) -> None:
    remote = start()
    remote.begin()
    forged = bytearray(message(1))
    forged[-1] ^= 1
    stale = message(1, issued_at=int(fake_time.wall) - 86_401)
    elsewhere = configuration_of(authority, "camden", "w3n8b5rc6h", GOOD)
    for bad in (
        b"",
        bytes(forged),
        stale,
        elsewhere,
        message(1, signed_by="leeds"),
        message(1, as_key_sets=True),
    ):
        remote.offer(bad)
    assert _batch_seconds(start()) == 10.0
    assert _told(remote) == (0, 0, 0)
    remote.offer(message(1))
    assert _batch_seconds(remote) == 3.5


@pytest.mark.parametrize(
    "bad",
    [
        {"uplink.batch_seconds": 901},
        {"trust.council_root_file": "/dev/null"},
        {"uplink.batch_seconds": 1, "uplink.colour": "red"},
        {"sensor.urn:dev:example:absent.interval_seconds": 5},
    ],
    ids=str,
)
async def test_settings_that_cannot_be_followed_are_refused_by_version(
    bad: dict[str, object],
    start: Callable[[], RemoteSettings],
    message: Callable[..., bytes],
) -> None:
    remote = start()
    remote.begin()
    remote.changed.clear()
    remote.offer(message(4, bad))
    assert _told(remote) == (0, 4, 0)
    assert remote.changed.is_set()
    assert _batch_seconds(start()) == 10.0
    remote.offer(message(3))
    assert _told(start()) == (0, 4, 0)


def _street(settings: AgentSettings) -> AgentSettings:
    """Return the settings of a gateway with a sensor that is polled and one that speaks first."""
    noise = FieldSettings(
        name="noise", title="Noise", description="N.", observed_property="laeq", unit="dB", path="a"
    )
    dust = Sds011Settings(
        urn=DUST, thing=LAMP, name="Dust", description="D.", device=Path("/dev/ttyUSB0")
    )
    ear = MqttJsonSettings(
        urn=EAR,
        thing=LAMP,
        name="Ear",
        description="E.",
        local_broker="here",
        topic="ear",
        fields={"noise": noise},
    )
    return replace(settings, sensor=(*settings.sensor, dust, ear))


def test_any_sensor_that_is_asked_at_intervals_may_be_asked_at_others(
    agent_settings: AgentSettings, clock: Clock, message: Callable[..., bytes]
) -> None:
    remote = RemoteSettings(_street(agent_settings), clock)
    remote.begin()
    remote.offer(message(1, {f"sensor.{DUST}.interval_seconds": 7200}))
    assert remote.refused == 0
    dust = next(each for each in remote.begin().sensor if isinstance(each, Sds011Settings))
    assert (remote.on_trial, dust.interval_seconds) == (1, 7200)


@pytest.mark.parametrize(
    "refused",
    [
        ("urn:dev:example:lamp-1-computer", 7200, "from 0.1 to 3600.0 for the adapter host"),
        (EAR, 60, "the adapter mqtt_json has no such setting"),
        ("urn:dev:example:absent", 60, "this gateway has no such sensor"),
    ],
)
def test_an_interval_that_a_sensor_cannot_follow_is_refused_and_the_log_says_why(
    refused: tuple[str, float, str],
    agent_settings: AgentSettings,
    clock: Clock,
    message: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    urn, seconds, reason = refused
    remote = RemoteSettings(_street(agent_settings), clock)
    before = remote.begin()
    remote.offer(message(1, {f"sensor.{urn}.interval_seconds": seconds}))
    assert remote.refused == 1
    assert remote.begin() == before
    (refusal,) = (each for each in caplog.records if each.message == "configuration refused")
    assert reason in str(vars(refusal)["detail"])


async def test_while_the_disk_fails_nothing_is_tried(
    start: Callable[[], RemoteSettings],
    message: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    remote = start()
    remote.begin()
    with monkeypatch.context() as failing:
        failing.setattr(remote_settings, "write_durably", fail)
        with pytest.raises(OSError, match="no space"):
            remote.offer(message(1))
        assert _batch_seconds(remote) == 10.0
    remote.offer(message(1))
    with monkeypatch.context() as failing:
        failing.setattr(remote_settings, "write_durably", fail)
        assert _batch_seconds(remote) == 10.0
        assert _told(remote) == (0, 0, 0)
    assert _batch_seconds(remote) == 3.5
    with monkeypatch.context() as failing:
        failing.setattr(remote_settings, "write_durably", fail)
        running = asyncio.create_task(_wants_restart(remote))
        await asyncio.sleep(0)
        remote.acknowledged()
        await asyncio.sleep(0)
        assert _told(remote) == (0, 0, 1)
    remote.acknowledged()
    while remote.on_trial:  # noqa: ASYNC110  # ends within the event loop's next steps
        await asyncio.sleep(0)
    assert _told(remote) == (1, 0, 0)
    running.cancel()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"floor": 1}', "\0"])
async def test_a_damaged_file_leaves_the_gateways_own_settings(
    content: str, start: Callable[[], RemoteSettings], agent_settings: AgentSettings
) -> None:
    (agent_settings.state_directory / "remote.json").write_text(content)
    remote = start()
    assert _batch_seconds(remote) == 10.0
    assert _told(remote) == (0, 0, 0)


@pytest.mark.parametrize("content", [None, "", '{"floor": 1}'])
async def test_a_damaged_file_brings_no_old_settings_back_and_the_newest_may_be_tried_again(
    content: str | None,
    start: Callable[[], RemoteSettings],
    message: Callable[..., bytes],
    agent_settings: AgentSettings,
) -> None:
    remote = start()
    remote.begin()
    old, newest = message(5), message(6, OTHER)
    for each in (old, newest):
        remote.offer(each)
        await _wants_restart(remote)
        remote.begin()
        await _keep(remote)
    file = agent_settings.state_directory / "remote.json"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    damaged = start()
    assert _batch_seconds(damaged) == 10.0
    damaged.offer(old)
    assert _batch_seconds(damaged) == 10.0, "an old one that a broker kept"
    damaged.offer(newest)
    assert _batch_seconds(damaged) == 7.0


async def test_what_a_later_file_or_release_cannot_follow_is_left_out(
    start: Callable[[], RemoteSettings],
    message: Callable[..., bytes],
    agent_settings: AgentSettings,
) -> None:
    kept = {
        "uplink.batch_seconds": 2,
        "uplink.colour": 1,
        "sensor.urn:dev:gone.interval_seconds": 9,
    }
    stored = {
        "floor": 9,
        "refused": 3,
        "kept": {"version": 8, "settings": kept, "tries": 0},
        "trial": None,
    }
    (agent_settings.state_directory / "remote.json").write_text(json.dumps(stored))
    remote = start()
    assert _batch_seconds(remote) == 2
    assert _told(remote) == (8, 3, 0)
    remote.offer(message(9))
    assert _batch_seconds(remote) == 2


def test_settings_are_applied_where_they_belong(settings: AgentSettings) -> None:
    sensors = [sensor for sensor in settings.sensor if isinstance(sensor, HostSettings)]
    urn = sensors[0].urn
    changed = apply(
        settings,
        {
            "uplink.epoch_seconds": 60,
            "health.interval_seconds": 5,
            "spool.commit_seconds": 1.5,
            "broker.host": "broker.example.org",
            "broker.port": 1,
            f"sensor.{urn}.interval_seconds": 30,
            "rekey": True,
        },
    )
    assert changed.uplink.epoch_seconds == 60
    assert changed.health.interval_seconds == 5
    assert changed.spool.commit_seconds == 1.5
    assert (changed.broker.host, changed.broker.port) == ("broker.example.org", 1)
    intervals = {
        sensor.urn: sensor.interval_seconds
        for sensor in changed.sensor
        if isinstance(sensor, HostSettings)
    }
    assert intervals == {
        sensor.urn: 30 if sensor.urn == urn else sensor.interval_seconds for sensor in sensors
    }
    assert apply(settings, {"rekey": True}) == settings
