-- What was measured on full hours, from `start` to `end`, of what lies within its sensor's range: one look-up by key each (OFFSET keeps it from
-- being made a join that reads the whole time).
WITH outside AS MATERIALIZED (
    SELECT datastream_id, time
      FROM observation_extra
     WHERE quality & 1 <> 0
       AND time BETWEEN %(low)s AND %(end)s
)
SELECT asked.id, array_agg(edge.time), array_agg(edge.value)
  FROM unnest(%(ids)s::int[], %(starts)s::timestamptz[]) AS asked (id, start)
 CROSS JOIN LATERAL (
       SELECT hour.time, there.value
         FROM generate_series(asked.start, %(end)s, INTERVAL '1 hour') AS hour (time)
        CROSS JOIN LATERAL (
              SELECT o.value
                FROM observation o
               WHERE o.datastream_id = asked.id AND o.time = hour.time
                 AND o.time BETWEEN %(low)s AND %(end)s
              OFFSET 0) AS there) AS edge
  LEFT JOIN outside ON outside.datastream_id = asked.id AND outside.time = edge.time
 WHERE edge.value BETWEEN -1e290 AND 1e290
   AND outside.time IS NULL
 GROUP BY asked.id
