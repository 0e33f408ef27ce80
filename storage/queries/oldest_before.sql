-- One look-up by key a datastream.
SELECT wanted.id, oldest.time
  FROM unnest(%(datastream_ids)s::int[]) AS wanted (id)
 CROSS JOIN LATERAL (
       SELECT time
         FROM observation
        WHERE observation.datastream_id = wanted.id
          AND observation.time < %(floor)s
        ORDER BY time
        LIMIT 1) AS oldest
 ORDER BY oldest.time
