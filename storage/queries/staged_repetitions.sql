-- Staged observations that differ from what is stored, and all whose result is not a number (the
-- caller compares those). LIMIT keeps the join a look-up by key; the constant bounds let the
-- planner leave out partitions.
SELECT staged.datastream_id,
       (extract(epoch FROM staged.time) * 1000000)::bigint,
       stored.value IS NOT DISTINCT FROM staged.value,
       stored.value,
       extra.result
  FROM staged_observation AS staged
 CROSS JOIN LATERAL (
       SELECT observation.value
         FROM observation
        WHERE observation.datastream_id = staged.datastream_id
          AND observation.time = staged.time
          AND observation.time BETWEEN %(first)s AND %(last)s
        LIMIT 1) AS stored
  LEFT JOIN observation_extra AS extra
    ON extra.datastream_id = staged.datastream_id AND extra.time = staged.time
 WHERE stored.value IS DISTINCT FROM staged.value
    OR extra.result IS NOT NULL
    OR (staged.datastream_id, staged.time) IN (
           SELECT * FROM unnest(%(datastream_ids)s::int[], %(times)s::timestamptz[]))
