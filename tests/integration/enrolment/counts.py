"""What the service has counted, and what the registry says of a gateway."""

from prometheus_client import REGISTRY

from storage.network_view import gateway_facts
from tests.integration.enrolment_service import Enrolment


def refusals(operation: str, reason: str) -> float:
    labels = {"operation": operation, "reason": reason}
    return REGISTRY.get_sample_value("enrolment_refusals_total", labels) or 0.0


async def status_of(service: Enrolment, device: str) -> str:
    [facts] = await gateway_facts(service.conn, device=device)
    return facts.status


def answered(operation: str) -> float:
    name = "enrolment_request_duration_seconds_count"
    return REGISTRY.get_sample_value(name, {"operation": operation}) or 0.0
