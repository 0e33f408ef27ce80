-- Single numeric observations of one datastream, one more than may be drawn.
SELECT observation.time, observation.value, COALESCE(extra.quality, 0)
FROM observation
LEFT JOIN observation_extra AS extra
       ON extra.datastream_id = observation.datastream_id
      AND extra.time = observation.time
WHERE observation.datastream_id = %(datastream_id)s
  AND observation.time BETWEEN %(start)s AND %(end)s
  AND observation.value BETWEEN -1e290 AND 1e290
ORDER BY observation.time
LIMIT %(limit)s
