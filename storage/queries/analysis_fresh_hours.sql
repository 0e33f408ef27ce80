-- Hours summed up from the observations, as refresh_rollups.sql would and explains; `low` and `high` bound them all, so
-- that other partitions or chunks are left out at once. An hour without any result is returned with none.
WITH outside AS MATERIALIZED (
    SELECT datastream_id, time
      FROM observation_extra
     WHERE quality & 1 <> 0
       AND time BETWEEN %(low)s AND %(high)s
)
SELECT touched.datastream_id, touched.bucket,
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
 GROUP BY touched.datastream_id, touched.bucket
