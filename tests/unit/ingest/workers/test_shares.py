from dataclasses import replace
from pathlib import Path

import pytest

from ingest.settings import BrokerSettings, IngestSettings, ShareSettings
from ingest.workers.ownership import Ownership, owner
from ingest.workers.shares import (
    Child,
    NoSuchShareError,
    children,
    division,
    own_file,
    part_of,
    suffix,
    whole,
)
from runtime.metrics import MetricsSettings

SOME = Path("some.pem")
MOSQUITTO = BrokerSettings(
    name="city",
    host="broker",
    port=8883,
    client_id="ingest",
    ca_file=SOME,
    certificate_file=SOME,
    key_file=SOME,
)
ALONE = IngestSettings(dsn="one", service_key_file=SOME, broker=(MOSQUITTO,))
NATS = tuple(
    replace(MOSQUITTO, name=tenant, tenant=tenant, client_id=f"id-{tenant}", mqtt_version="3.1.1")
    for tenant in ("camden", "leeds", "bristol", "york")
)
SHARED = replace(
    ALONE,
    dsn="",
    share=(
        ShareSettings(name="north", tenants=("leeds", "york"), dsn="n", workers=2),
        ShareSettings(name="south", tenants=("camden",), dsn="s"),
    ),
)


def test_one_process_is_as_the_settings_say() -> None:
    part = whole(ALONE)
    assert children(ALONE) == [Child("", 0)]
    assert part.settings is ALONE
    assert part.ownership == Ownership()
    assert part.sessions == {("city", "ingest")}


def test_workers_have_client_ids_and_metrics_of_their_own() -> None:
    settings = replace(ALONE, workers=3, metrics=MetricsSettings(port=9100))
    parts = [part_of(settings, child) for child in children(settings)]
    assert [part.settings.broker[0].client_id for part in parts] == [
        "ingest-w0",
        "ingest-w1",
        "ingest-w2",
    ]
    assert [part.settings.metrics.port for part in parts] == [9100, 9101, 9102]
    assert {part.settings.dsn for part in parts} == {"one"}
    assert len({part.sessions for part in parts}) == 1
    assert len(parts[0].sessions) == 3


def test_metrics_stay_off() -> None:
    assert part_of(replace(ALONE, workers=2), Child("", 1)).settings.metrics.port == 0


def test_shares_have_databases_and_councils_of_their_own() -> None:
    parts = {str(child): part_of(SHARED, child) for child in children(SHARED)}
    assert list(parts) == ["north worker 0", "north worker 1", "south worker 0"]
    assert [part.settings.dsn for part in parts.values()] == ["n", "n", "s"]
    assert [part.settings.broker[0].client_id for part in parts.values()] == [
        "ingest-north-w0",
        "ingest-north-w1",
        "ingest-south",
    ]
    assert parts["south worker 0"].ownership.tenants == {"camden"}


def test_over_nats_a_council_goes_to_one_process_and_keeps_its_session() -> None:
    settings = replace(ALONE, workers=2, broker=NATS)
    parts = [part_of(settings, child) for child in children(settings)]
    for broker in NATS:
        number = owner(broker.tenant, 2)
        assert broker in parts[number].settings.broker
        assert broker not in parts[1 - number].settings.broker
        assert suffix(broker, parts[number].ownership) == ""
        assert division(broker, parts[number].ownership) == ""


def test_division_tells_sets_of_workers_apart_but_not_workers() -> None:
    two, three = replace(ALONE, workers=2), replace(ALONE, workers=3)
    rules = [
        division(MOSQUITTO, part_of(settings, Child("", 1)).ownership) for settings in (two, three)
    ]
    assert len(set(rules)) == 2
    assert rules[0] == division(MOSQUITTO, part_of(two, Child("", 0)).ownership)
    assert division(MOSQUITTO, Ownership()) == ""


@pytest.mark.parametrize(
    ("settings", "child", "words"),
    [
        (ALONE, Child("", 1), "worker 1: there are 0 to 0"),
        (ALONE, Child("north", 0), "share 'north': there is none"),
        (SHARED, Child("", 0), "share '': there is north, south"),
        (SHARED, Child("north", 2), "worker 2: there are 0 to 1"),
    ],
)
def test_unknown_process_is_refused(settings: IngestSettings, child: Child, words: str) -> None:
    with pytest.raises(NoSuchShareError, match=words):
        part_of(settings, child)


def test_own_certificate_lies_beside_the_common_one() -> None:
    assert own_file(Path("/keys/ingest.pem"), "-w1") == Path("/keys/ingest-w1.pem")


def test_numbers_are_unique_among_those_who_take_the_same_messages() -> None:
    main = replace(ALONE, broker=(replace(MOSQUITTO, groups=("main",)),))
    assert whole(ALONE).scope == ""
    assert whole(main).scope == "main"
