"""The metrics of the enrolment service, in Prometheus' words.

Counting is done where things happen.
"""

from prometheus_client import Counter, Histogram

CERTIFICATES = Counter(
    "enrolment_certificates_total",
    "Certificates handed to gateways; repeated: an answer that was given before",
    ["operation", "outcome"],
)
REFUSALS = Counter("enrolment_refusals_total", "Requests refused", ["operation", "reason"])
HANDSHAKES_REFUSED = Counter(
    "enrolment_handshakes_refused_total",
    "Connections ended because the client's certificate is none of a council's, or has expired",
)
REQUEST_SECONDS = Histogram(
    "enrolment_request_duration_seconds",
    "Time from a request's first byte to its answer",
    ["operation"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
