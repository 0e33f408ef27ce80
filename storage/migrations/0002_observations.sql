-- What was measured, the evidence for it, and what was refused. `observation` is made a hypertable, or
-- partitioned by month, by the edition's own step (storage/edition.py), because plain SQL cannot ask which
-- server it runs on.

-- Non-numeric or flagged results only. quality is a bit mask (docs/reference/quality.md).
CREATE TABLE observation_extra (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    quality     smallint NOT NULL DEFAULT 0,
    result      jsonb,
    PRIMARY KEY (datastream_id, time)
);

CREATE TABLE latest (
    datastream_id int PRIMARY KEY REFERENCES datastream,
    time        timestamptz NOT NULL,
    value       float8,
    result      jsonb,                              -- non-numeric results
    quality     smallint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE INDEX ON latest (updated_at);

CREATE TABLE rollup_1h (
    datastream_id int NOT NULL,
    bucket      timestamptz NOT NULL,               -- start of the hour
    n           int NOT NULL,
    sum         float8,                             -- of the value, or of its energy or sine (see aggregation)
    sum2        float8,                             -- of the cosine, for bearings
    min         float8,
    max         float8,
    PRIMARY KEY (datastream_id, bucket)
);
CREATE INDEX ON rollup_1h (bucket);
-- Which (hour, datastream) pairs were touched; append-only, no unique index, emptied by one worker.
CREATE TABLE rollup_log (bucket timestamptz NOT NULL, datastream_id int NOT NULL);

-- One row an epoch that a gateway announced (message K).
CREATE TABLE epoch (
    epoch_id    bytea PRIMARY KEY CHECK (length(epoch_id) = 8),
    gateway_id  int NOT NULL REFERENCES gateway,
    recipient_group text NOT NULL,
    counter     bigint NOT NULL,
    announcement_sha256 bytea NOT NULL,
    content_algorithm int NOT NULL,
    sealed_key  bytea NOT NULL,                     -- epoch key and base IV, encrypted under the service key
    received_at timestamptz NOT NULL,
    closes_at   timestamptz NOT NULL,               -- exp + max_delay; later messages are refused (303)
    highest_seq bigint NOT NULL DEFAULT 0,
    contiguous_seq bigint NOT NULL DEFAULT 0,       -- 1..this are all stored
    received_messages bigint NOT NULL DEFAULT 0,
    final_seq   bigint,                             -- from the next announcement's field 8
    UNIQUE (gateway_id, recipient_group, counter)
);

-- The COSE_Sign1 of every message accepted or quarantined after its signature held, with the time range of its
-- readings: evidence, and the replay window of its epoch.
CREATE TABLE signed_batch (
    epoch_id    bytea NOT NULL REFERENCES epoch,
    seq         bigint NOT NULL,
    message_hash bytea NOT NULL,                    -- first 8 bytes of SHA-256 of the message as received
    gateway_id  int NOT NULL,
    signer_kid  bytea NOT NULL,
    content_format int NOT NULL,
    signed      bytea NOT NULL,
    readings    int NOT NULL,
    first_time  timestamptz,
    last_time   timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (epoch_id, seq)
);
CREATE INDEX ON signed_batch (gateway_id, received_at);

-- Last word from each gateway; written at most once a second.
CREATE TABLE gateway_seen (
    gateway_id  int PRIMARY KEY REFERENCES gateway,
    last_message_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Refused but perhaps recoverable: whole messages (message set), or single readings (datastream, time, result set).
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    tenant      text NOT NULL,
    device      text NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL,
    topic       text NOT NULL,
    message     bytea,
    senml_name  text,
    phenomenon_time timestamptz,
    result      jsonb,
    unit        text,
    state       text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'retried', 'discarded'))
);
CREATE INDEX ON quarantine (received_at);
CREATE INDEX ON quarantine (device, received_at);

-- Every refusal and quarantining, counted by hour; what the status page shows.
CREATE TABLE refusal (
    hour        timestamptz NOT NULL,
    tenant      text NOT NULL,                      -- 'unknown' where the topic names no council of ours
    device      text NOT NULL,                      -- '' likewise
    reason      text NOT NULL,
    n           bigint NOT NULL,
    last_at     timestamptz NOT NULL,
    last_detail text NOT NULL,
    PRIMARY KEY (hour, tenant, device, reason)
);
