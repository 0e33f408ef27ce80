"""The metrics of ingest, in Prometheus' words. Counting is done where things happen."""

from prometheus_client import Counter, Gauge, Histogram

ENVELOPES = Counter(
    "ingest_envelopes_total", "Messages K and D by what became of them", ["outcome", "reason"]
)
EPOCHS = Counter("ingest_epochs_total", "Epochs begun, by suite of the envelope", ["suite"])
READINGS = Counter(
    "ingest_readings_total", "Readings by what became of them", ["outcome", "reason"]
)
DESCRIPTIONS = Counter("ingest_descriptions_total", "Gateway descriptions stored", ["outcome"])
ACKNOWLEDGEMENTS = Counter("ingest_acknowledgements_total", "Messages A given to a connection")
WRITE_SECONDS = Histogram(
    "ingest_write_duration_seconds",
    "Time of one transaction, from BEGIN to COMMIT",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_MESSAGES = Histogram(
    "ingest_batch_messages",
    "Messages admitted in one transaction",
    buckets=(1, 5, 10, 25, 50, 100, 250, 500, 1000),
)
STORED_BATCHES = Counter(
    "ingest_stored_batches_total",
    "Batches with readings, by their way into the table: straight, or staged after a repetition",
    ["way"],
)
for _way in ("straight", "staged"):  # so that each can be seen to be 0
    STORED_BATCHES.labels(_way)
INBOX_MESSAGES = Gauge("ingest_inbox_messages", "Messages received and not yet admitted")
PARKED_MESSAGES = Gauge("ingest_parked_messages", "Messages that wait for their announcement")
MISSING_MESSAGES = Gauge(
    "ingest_missing_messages",
    "Messages that gateways numbered in open epochs and that were never stored",
    ["tenant"],
)
DATABASE_UP = Gauge("ingest_database_up", "1 while the database answers the store")
BROKER_UP = Gauge("ingest_broker_connected", "1 while connected and subscribed", ["connection"])
STREAM_UP = Gauge(
    "ingest_stream_connected",
    "1 while a council's stream on a NATS cluster is read",
    ["connection"],
)
STREAM_WAITING = Gauge(
    "ingest_stream_waiting_messages", "Messages in that stream that wait to be read", ["connection"]
)
CONSUMER_MISSING = Gauge(
    "ingest_consumer_missing",
    "1 while nothing keeps what a council's gateways publish: make its consumer at once",
    ["connection"],
)
PAUSES = Counter("ingest_pauses_total", "Times reading paused for a full inbox", ["connection"])
INBOX_BYTES = Gauge("ingest_inbox_bytes", "Bytes of messages received and not yet admitted")
INBOX_PAUSED = Gauge(
    "ingest_inbox_full", "1 while nothing is read from the brokers because the inbox is full"
)
OLDEST_AGE = Gauge(
    "ingest_oldest_message_age_seconds",
    "How long the oldest message has waited to be stored, 0 if none waits",
)
BATCHES_UNDER_WAY = Gauge("ingest_batches_under_way", "Batches admitted and not yet committed")
LAST_COMMIT = Gauge(
    "ingest_last_commit_timestamp_seconds",
    "When the last batch was committed; before the first, when ingest started",
)
DATABASE_FAILURES = Counter(
    "ingest_database_failures_total", "Attempts to store that the database failed", ["reason"]
)
DATABASE_FAILING = Gauge(
    "ingest_database_failing", "1 while the database fails the store for this reason", ["reason"]
)
OUTGOING = Gauge(
    "ingest_outgoing_messages",
    "Messages A, R and C that a connection has yet to send",
    ["connection"],
)
WORKER = Gauge("ingest_worker_info", "1, which part of ingest this is", ["share", "worker"])
UNREADABLE = Counter(
    "ingest_unreadable_topics_total", "Messages dropped because their topic is not UTF-8"
)
