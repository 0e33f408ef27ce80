-- Recomputes hours of one day from the observations. `low` and `high` bound them all: constants, so that the other
-- days' partitions or chunks are left out at once.
--
-- An instant belongs to the hour [bucket, bucket + 1 h) it lies in. The time of a mean is the end of its interval, so
-- it belongs to (bucket, bucket + 1 h]: the mean from 12:00 to 13:00 is of the hour 12:00.
--
-- What its gateway flagged as outside the sensor's range (1) is not counted; all other flags are. Those few are
-- collected first: as an anti-join they would turn the join with `touched` from a look-up into a scan of the day.
--
-- Values out of the bounds (NaN too) are not counted: a sum must not overflow and hold up every later hour.
WITH outside AS MATERIALIZED (
    SELECT datastream_id, time
      FROM observation_extra
     WHERE quality & 1 <> 0
       AND time BETWEEN %(low)s AND %(high)s
), fresh AS (
    SELECT touched.datastream_id, touched.bucket, datastream.unit,
           count(value) FILTER (WHERE inside) AS n,
           sum(CASE WHEN bearing.full_turn IS NOT NULL THEN sind(value * 360 / bearing.full_turn)
                    WHEN datastream.unit = ANY (%(level_units)s)
                    THEN power(10, least(greatest(value, -2000), 2000) / 10)
                    ELSE value END) FILTER (WHERE inside) AS sum,
           sum(cosd(value * 360 / bearing.full_turn)) FILTER (WHERE inside) AS sum2,
           min(value) FILTER (WHERE inside AND bearing.full_turn IS NULL) AS min,
           max(value) FILTER (WHERE inside AND bearing.full_turn IS NULL) AS max
      FROM unnest(%(buckets)s::timestamptz[], %(datastream_ids)s::int[]) AS touched (bucket, datastream_id)
      JOIN datastream ON datastream.id = touched.datastream_id
      LEFT JOIN unnest(%(bearing_units)s::text[], %(full_turns)s::float8[]) AS bearing (unit, full_turn)
             ON bearing.unit = datastream.unit
            AND datastream.observed_property_id IN
                (SELECT id FROM observed_property WHERE key = ANY (%(bearings)s))
      LEFT JOIN observation
             ON observation.datastream_id = touched.datastream_id
            AND observation.time BETWEEN touched.bucket AND touched.bucket + INTERVAL '1 hour'
            AND observation.time BETWEEN %(low)s AND %(high)s
            AND CASE WHEN datastream.averaging_seconds > 0 THEN observation.time > touched.bucket
                     ELSE observation.time < touched.bucket + INTERVAL '1 hour' END
            AND observation.value BETWEEN -1e290 AND 1e290
      LEFT JOIN outside ON outside.datastream_id = observation.datastream_id AND outside.time = observation.time
     CROSS JOIN LATERAL (SELECT outside.time IS NULL) AS kept (inside)
     GROUP BY touched.datastream_id, touched.bucket, datastream.unit
), emptied AS (
    DELETE FROM rollup_1h AS kept
     USING fresh
     WHERE fresh.n = 0 AND kept.datastream_id = fresh.datastream_id AND kept.bucket = fresh.bucket
)
INSERT INTO rollup_1h AS kept (datastream_id, bucket, n, sum, sum2, min, max)
SELECT datastream_id, bucket, n, sum, sum2, min, max FROM fresh WHERE n > 0
    ON CONFLICT (datastream_id, bucket) DO UPDATE
   SET n = excluded.n, sum = excluded.sum, sum2 = excluded.sum2, min = excluded.min, max = excluded.max
 WHERE (kept.n, kept.sum, kept.sum2, kept.min, kept.max)
       IS DISTINCT FROM (excluded.n, excluded.sum, excluded.sum2, excluded.min, excluded.max)
