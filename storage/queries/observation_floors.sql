-- greatest() passes over nulls.
SELECT wanted.id, greatest(datastream_floor.time, (SELECT time FROM observation_floor)) AS floor
  FROM unnest(%(datastream_ids)s::int[]) AS wanted (id)
  LEFT JOIN datastream_floor ON datastream_floor.datastream_id = wanted.id
 WHERE greatest(datastream_floor.time, (SELECT time FROM observation_floor)) IS NOT NULL
