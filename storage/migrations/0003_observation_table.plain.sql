-- One partition a month, made when first needed (storage/partitions.py). The two open-ended ones take times that
-- only a wrong clock makes, so that no reading is ever without a place and their number stays bounded.

CREATE TABLE observation (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    value       float8,                             -- null: the result is in observation_extra
    PRIMARY KEY (datastream_id, time)
) PARTITION BY RANGE (time);

CREATE TABLE observation_before_2000 PARTITION OF observation
    FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');
CREATE TABLE observation_from_2100 PARTITION OF observation
    FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);
