-- Means over parts of an hour, each told by its end, of what lies within its sensor's range, from the observations.
-- `low` and `high` bound them all, so that other partitions or chunks are left out at once.
WITH outside AS MATERIALIZED (
    SELECT datastream_id, time
      FROM observation_extra
     WHERE quality & 1 <> 0
       AND time > %(low)s AND time <= %(high)s
)
SELECT asked.id, part.ended, part.results, part.sum
  FROM unnest(%(ids)s::int[], %(parts)s::interval[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS asked (id, part, start, until)
 CROSS JOIN LATERAL (
       SELECT date_bin(asked.part, o.time - INTERVAL '1 microsecond', '2000-01-01 00:00+00') + asked.part AS ended,
              count(*) AS results, sum(o.value) AS sum
         FROM observation o
         LEFT JOIN outside ON outside.datastream_id = o.datastream_id AND outside.time = o.time
        WHERE o.datastream_id = asked.id
          AND o.time > asked.start AND o.time <= asked.until
          AND o.time > %(low)s AND o.time <= %(high)s
          AND o.value BETWEEN -1e290 AND 1e290
          AND outside.time IS NULL
        GROUP BY ended) AS part
