-- LIMIT keeps the join a look-up by key; the constant bounds let the planner leave out partitions.
SELECT wanted.number, stored.value, observation_extra.result
  FROM unnest(%(datastream_ids)s::int[], %(times)s::bigint[]) WITH ORDINALITY AS wanted (id, microseconds, number)
 CROSS JOIN LATERAL (
       SELECT timestamptz 'epoch' + microseconds * INTERVAL '1 microsecond') AS asked (time)
 CROSS JOIN LATERAL (
       SELECT observation.value
         FROM observation
        WHERE observation.datastream_id = wanted.id
          AND observation.time = asked.time
          AND observation.time >= timestamptz 'epoch' + %(first)s * INTERVAL '1 microsecond'
          AND observation.time <= timestamptz 'epoch' + %(last)s * INTERVAL '1 microsecond'
        LIMIT 1) AS stored
  LEFT JOIN observation_extra
    ON observation_extra.datastream_id = wanted.id AND observation_extra.time = asked.time
