"""A centre that admits, batch after batch, and what its outcomes hold."""

from datetime import UTC, datetime, timedelta

from device_protocol.receiver import Device, Signer
from ingest.admission.decision import Rules, admit
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Gateway, Snapshot, Stream
from ingest.admission.state import ReceiverState
from ingest.receiving.delivery import Delivery
from tests.simulators.gateway import NOON, Message, SimulatedGateway, new_recipient_key

NOW = int(NOON.timestamp())
DAY = 86_400
RECIPIENT = new_recipient_key()
OCCUPIED = True
RULES = Rules(recipients={RECIPIENT.kid: RECIPIENT})
STREAMS = {
    "urn:dev:air:no2": Stream(1, "ug/m3", "ug/m3", 0.0, 1000.0),
    "urn:dev:air:temp": Stream(2, "Cel", "Cel", -40.0, 60.0),
    "urn:dev:air:occupied": Stream(3, "bool", None, -1e308, 1e308),
    "urn:dev:air:state": Stream(4, "1", "/", -1e308, 1e308),
}


class Centre:
    """Admission with a registry and a state that persists from batch to batch."""

    def __init__(self, *gateways: SimulatedGateway, rules: Rules = RULES) -> None:
        self.rules = rules
        self.state = ReceiverState()
        self.snapshot = Snapshot(
            devices={(g.tenant, g.device): registered(g) for g in gateways},
            gateways={
                (g.tenant, g.device): Gateway(number, 1, b"", STREAMS if number == 1 else {})
                for number, g in enumerate(gateways, start=1)
            },
            tenants=frozenset(g.tenant for g in gateways),
        )

    def admit(self, *messages: Message | Delivery, now: int = NOW) -> Outcome:
        outcome = admit(
            [delivered(message, now) for message in messages],
            snapshot=self.snapshot,
            state=self.state,
            rules=self.rules,
            now=now,
        )
        self.state.apply(outcome.channels, outcome.parking, outcome.kept)
        return outcome


def registered(
    gateway: SimulatedGateway, *, revoked: bool = False, until: int = NOW + DAY
) -> Device:
    key = gateway.verifying_key
    return Device(gateway.tenant, gateway.device, revoked, {key.kid: Signer(key, NOW - DAY, until)})


def delivered(message: Message | Delivery, now: int = NOW) -> Delivery:
    if isinstance(message, Delivery):
        return message
    return Delivery("city", message.topic, message.payload, retained=False, received_at=now)


def reasons(outcome: Outcome) -> list[str]:
    return [refusal.reason for refusal in outcome.refusals]


def reading_reasons(outcome: Outcome) -> list[str]:
    return [row.reason for row in outcome.quarantined if row.message is None]


def stored(outcome: Outcome) -> list[tuple[int, int, float]]:
    found = outcome.columns.observations
    return list(
        zip(found.datastream_ids.tolist(), found.times.tolist(), found.values.tolist(), strict=True)
    )


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
