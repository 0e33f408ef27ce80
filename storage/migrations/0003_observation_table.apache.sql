-- One chunk a day. No second index: the key is how duplicates are refused and how one datastream is read.

CREATE TABLE observation (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    value       float8,                             -- null: the result is in observation_extra
    PRIMARY KEY (datastream_id, time)
);
SELECT create_hypertable(
    'observation', 'time', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false
);
