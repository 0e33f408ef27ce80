CREATE TEMPORARY TABLE IF NOT EXISTS staged_observation (
    datastream_id int NOT NULL,
    time timestamptz NOT NULL,
    value float8
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS repeated_observation (LIKE staged_observation)
    ON COMMIT DELETE ROWS
