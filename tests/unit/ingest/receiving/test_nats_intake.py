from pathlib import Path

import pytest

from broker_config import nats, stream
from ingest.receiving.nats_intake import STREAM, SUBJECTS, topic_of
from ingest.settings import BrokerSettings, NodeSettings

NODE = NodeSettings(host="n1.example.org", port=8883, native_port=4222)


def broker(**changed: object) -> BrokerSettings:
    file = Path(__file__)
    settings = {
        "name": "camden",
        "client_id": "ingest",
        "ca_file": file,
        "certificate_file": file,
        "key_file": file,
        "tenant": "camden",
        "receive": "jetstream",
        "mqtt_version": "3.1.1",
        "node": (NODE,),
    }
    return BrokerSettings(**(settings | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subject", "topic"),
    [
        ("$MQTT.msgs.snaas.1.camden.k7q2m9xd4t.d.main", "snaas/1/camden/k7q2m9xd4t/d/main"),
        ("$MQTT.msgs.snaas.1.camden.k7q2m9xd4t.d.a//b", "snaas/1/camden/k7q2m9xd4t/d/a.b"),
    ],
)
def test_subject_is_the_topic_as_nats_writes_it(subject: str, topic: str) -> None:
    assert topic_of(subject) == topic


def test_both_ends_mean_the_same_stream() -> None:
    assert (STREAM, SUBJECTS) == (nats.STREAM, nats.STREAM_SUBJECTS)
    assert [topic_of(subject) for subject in stream.subjects("camden")] == [
        "snaas/1/camden/*/k/*",
        "snaas/1/camden/*/d/*",
    ]


def test_settings_of_a_cluster_are_taken_and_those_of_one_broker_not_mixed_in() -> None:
    assert not [*broker().contradictions()]
    for changed, key in (
        ({"node": ()}, "node"),
        ({"host": "broker.example.org"}, "host"),
        ({"port": 8883}, "host"),
        ({"mqtt_version": "5"}, "mqtt_version"),
        ({"tenant": "+"}, "tenant"),
        ({"receive": "mqtt", "host": "broker.example.org", "port": 8883}, "node"),
        ({"receive": "mqtt", "node": ()}, "host"),
    ):
        found = [path for path, _ in broker(**changed).contradictions()]
        assert (key,) in found, changed
