-- One partition a month, made when first needed (storage/partitions.py), and two open-ended ones, so that no reading
-- is ever without a place and what a wrong clock reports makes no partitions. Retention moves the end of the older one
-- up as it drops months (storage/retention.py).

CREATE TABLE observation (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    value       float8,                             -- null: the result is in observation_extra
    PRIMARY KEY (datastream_id, time)
) PARTITION BY RANGE (time);

CREATE TABLE observation_older PARTITION OF observation
    FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');
CREATE TABLE observation_newer PARTITION OF observation
    FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);
