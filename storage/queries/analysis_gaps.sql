-- Stretches without an observation, longer than `factor` times what is expected of the datastream. One datastream after
-- the other, each a range of the key in its order: the times alone are read, so the index is enough wherever the table
-- has been vacuumed. The range's own ends count as observations.
SELECT stream.id, stream.tenant, stream.expected_seconds, gap.start, gap.end
  FROM (
       SELECT datastream.id, council.tenant,
              greatest(datastream.period_seconds, datastream.averaging_seconds) AS expected_seconds
         FROM datastream
         JOIN thing ON thing.id = datastream.thing_id
         JOIN council ON council.id = thing.council_id
        WHERE thing.approved
          AND datastream.period_seconds > 0
          AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
       ) AS stream
 CROSS JOIN LATERAL (
       SELECT seen.time AS start,
              coalesce(lead(seen.time) OVER (ORDER BY seen.time), %(end)s) AS "end"
         FROM (
              SELECT %(start)s::timestamptz AS time
              UNION ALL
              SELECT time
                FROM observation
               WHERE datastream_id = stream.id
                 AND time >= %(start)s
                 AND time < %(end)s
              ) AS seen
       ) AS gap
 WHERE gap.end - gap.start > %(factor)s * stream.expected_seconds * INTERVAL '1 second'
 ORDER BY stream.id, gap.start
