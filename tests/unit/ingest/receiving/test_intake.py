from pathlib import Path

from prometheus_client import REGISTRY

from ingest.receiving.inbox import Inbox
from ingest.receiving.intake import Intake
from ingest.settings import BrokerSettings

SOME = Path("some.pem")


def test_a_broker_that_was_never_tried_counts_as_away() -> None:
    settings = BrokerSettings(
        name="never-tried",
        host="broker",
        port=8883,
        client_id="ingest",
        ca_file=SOME,
        certificate_file=SOME,
        key_file=SOME,
    )
    Intake(settings, Inbox(1, 1), lambda _: {})
    labels = {"connection": "never-tried"}
    assert REGISTRY.get_sample_value("ingest_broker_connected", labels) == 0
