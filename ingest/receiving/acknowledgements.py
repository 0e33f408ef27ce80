"""Telling gateways what is stored: sealed and sent after COMMIT, never before."""

from collections.abc import Iterable, Mapping

from device_protocol import topics
from device_protocol.acknowledgement import seal_acknowledgement
from ingest.admission.outcome import AcknowledgementDue
from ingest.receiving.intake import Intake


def send_acknowledgements(due: Iterable[AcknowledgementDue], intakes: Mapping[str, Intake]) -> None:
    """Hand each message A to the connection its gateway was heard on."""
    for answer in due:
        tenant, device, group = answer.channel
        message = seal_acknowledgement(
            answer.acknowledgement,
            tenant=tenant,
            device=device,
            group=group,
            epoch_id=answer.epoch_id,
            epoch_key=answer.epoch_key,
        )
        intakes[answer.connection].acknowledge(
            (answer.channel, answer.epoch_id),
            topics.acknowledgement(tenant, device, group),
            message,
        )
