-- What keeping the store needs beside the data.

-- Observations before this time have been dropped, so hours before it must never be recomputed. At most one row.
CREATE TABLE observation_floor (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    time        timestamptz NOT NULL
);

-- The log is emptied as fast as it fills: left to the defaults, the scan of its dead rows would grow.
ALTER TABLE rollup_log SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 1000000
);
