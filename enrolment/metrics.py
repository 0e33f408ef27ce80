"""The metrics of the enrolment service, in Prometheus' words.

Counting is done where things happen.
"""

from prometheus_client import Counter, Gauge, Histogram

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

REVOCATION_LIST_ISSUED = Gauge(
    "enrolment_revocation_list_issued_timestamp_seconds",
    "Since when a council's newest revocation list counts",
    ["tenant"],
)
REVOCATION_LIST_PUBLISHED = Gauge(
    "enrolment_revocation_list_published_timestamp_seconds",
    "Since when the list that the broker holds counts; its council is locked out after seven days",
    ["tenant"],
)
REVOCATION_LIST_ENDS = Gauge(
    "enrolment_revocation_list_next_update_timestamp_seconds",
    "When a council's newest revocation list ends",
    ["tenant"],
)
KEY_SET_SOFT_EXPIRY = Gauge(
    "enrolment_key_set_soft_expiry_timestamp_seconds",
    "When gateways begin to report that their council's newest key set is stale",
    ["tenant"],
)
CERTIFICATE_ENDS = Gauge(
    "enrolment_certificate_expiry_timestamp_seconds",
    "When a certificate of the network itself ends: a root, a signer, a server or a service",
    ["certificate"],
)
BROKER_RELOADED = Gauge(
    "enrolment_broker_reload_timestamp_seconds", "When the broker last took a change"
)
BROKER_RESTART_NEEDED = Gauge(
    "enrolment_broker_restart_needed", "1 while the broker must be restarted to open a listener"
)
SESSIONS_ENDED = Counter(
    "enrolment_sessions_ended_total", "Gateways whose sessions were ended on the broker"
)
DUTY_FAILURES = Counter(
    "enrolment_duty_failures_total", "Duties that will be tried again", ["duty"]
)
