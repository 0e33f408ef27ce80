-- What becomes of data later: classes that are kept for a shorter time, and days that are exported once they are over.

-- Observations of one datastream before this time were dropped although others of their time were kept: hours before it
-- must never be recomputed. What was dropped of all datastreams alike is said by observation_floor.
CREATE TABLE datastream_floor (
    datastream_id int PRIMARY KEY REFERENCES datastream,
    time        timestamptz NOT NULL
);

-- Which UTC days of a council got observations, written by whoever works off rollup_log. Between two looks a day has
-- got more exactly if its row has changed, or if it still stands in rollup_log.
CREATE TABLE changed_day (
    council_id  smallint NOT NULL REFERENCES council,
    day         date NOT NULL,
    version     bigint NOT NULL DEFAULT 1,          -- rises by 1 whenever observations of this day were worked off
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (council_id, day)
) WITH (fillfactor = 50);

-- Every observation left a rollup or an extra, but one: a mean that ends at midnight is in the rollup of the day before.
INSERT INTO changed_day (council_id, day)
SELECT council_id, day
  FROM (SELECT datastream_id, (bucket AT TIME ZONE 'UTC')::date FROM rollup_1h
        UNION
        SELECT datastream_id, ((bucket + INTERVAL '1 hour') AT TIME ZONE 'UTC')::date FROM rollup_1h
        UNION
        SELECT datastream_id, (time AT TIME ZONE 'UTC')::date FROM observation_extra) AS found (datastream_id, day)
  JOIN datastream ON datastream.id = datastream_id
 WHERE day >= coalesce((SELECT (time AT TIME ZONE 'UTC')::date FROM observation_floor), '-infinity')
 GROUP BY council_id, day;
