-- Numeric observations of one datastream: a range of the key, in its order.
SELECT observation.time, observation.value, coalesce(extra.quality, 0)
  FROM observation
  LEFT JOIN observation_extra AS extra
         ON extra.datastream_id = observation.datastream_id
        AND extra.time = observation.time
 WHERE observation.datastream_id = %(datastream_id)s
   AND observation.time >= %(start)s
   AND observation.time < %(end)s
   AND observation.value BETWEEN -1e290 AND 1e290
 ORDER BY observation.time
