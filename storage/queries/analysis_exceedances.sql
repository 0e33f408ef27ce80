-- How many observations of each datastream lie above a limit. An hour whose greatest is not above it has none, one whose
-- smallest is has nothing else: only the hours between the two are read from `observation`, each a range of its key.
-- `low` and `high` bound them all, so that other partitions or chunks are left out at once.
WITH hour AS MATERIALIZED (
    {hours}
), mixed AS (
    SELECT hour.datastream_id, count(*) AS exceeding
      FROM hour
      JOIN unnest(%(ids)s::int[], %(averaged)s::bool[]) AS stream (id, averaged) ON stream.id = hour.datastream_id
      JOIN observation
        ON observation.datastream_id = hour.datastream_id
       AND observation.time BETWEEN hour.bucket AND hour.bucket + INTERVAL '1 hour'
       AND observation.time BETWEEN %(low)s AND %(high)s
       AND CASE WHEN stream.averaged THEN observation.time > hour.bucket
                ELSE observation.time < hour.bucket + INTERVAL '1 hour' END
       AND observation.value > %(limit)s
       AND observation.value <= 1e290
     WHERE hour.max > %(limit)s
       AND NOT hour.min > %(limit)s
       AND NOT EXISTS (SELECT FROM observation_extra AS extra
                        WHERE extra.datastream_id = observation.datastream_id
                          AND extra.time = observation.time
                          AND extra.quality & 1 <> 0)
     GROUP BY hour.datastream_id
), whole AS (
    SELECT datastream_id, sum(n)::bigint AS n, coalesce(sum(n) FILTER (WHERE min > %(limit)s), 0)::bigint AS exceeding
      FROM hour
     GROUP BY datastream_id
)
SELECT datastream_id, whole.exceeding + coalesce(mixed.exceeding, 0) AS exceeding, whole.n
  FROM whole
  LEFT JOIN mixed USING (datastream_id)
 ORDER BY datastream_id
