-- Repeated observations that differ from what is stored, and all whose result is not a number (the
-- caller compares those). LIMIT keeps the join a look-up by key; the constant bounds let the
-- planner leave out partitions.
SELECT repeated.datastream_id,
       (extract(epoch FROM repeated.time) * 1000000)::bigint,
       stored.value IS NOT DISTINCT FROM repeated.value,
       stored.value,
       extra.result
  FROM repeated_observation AS repeated
 CROSS JOIN LATERAL (
       SELECT observation.value
         FROM observation
        WHERE observation.datastream_id = repeated.datastream_id
          AND observation.time = repeated.time
          AND observation.time BETWEEN %(first)s AND %(last)s
        LIMIT 1) AS stored
  LEFT JOIN observation_extra AS extra
    ON extra.datastream_id = repeated.datastream_id AND extra.time = repeated.time
 WHERE stored.value IS DISTINCT FROM repeated.value
    OR extra.result IS NOT NULL
    OR (repeated.datastream_id, repeated.time) IN (
           SELECT * FROM unnest(%(datastream_ids)s::int[], %(times)s::timestamptz[]))
