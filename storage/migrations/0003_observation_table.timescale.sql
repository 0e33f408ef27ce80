-- One chunk a day, turned into columns once a week old. Later rows still go in and duplicates are still refused,
-- only more slowly. No second index: the key is how duplicates are refused and how one datastream is read.

CREATE TABLE observation (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    value       float8,                             -- null: the result is in observation_extra
    PRIMARY KEY (datastream_id, time)
);
SELECT create_hypertable(
    'observation', 'time', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false
);
ALTER TABLE observation SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'datastream_id',
    timescaledb.compress_orderby = 'time'
);
SELECT add_compression_policy('observation', INTERVAL '7 days');
