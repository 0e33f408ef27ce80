-- The results that stand at these times of a datastream.
SELECT observation.time, value, result
  FROM observation
  LEFT JOIN observation_extra AS extra
    ON extra.datastream_id = observation.datastream_id AND extra.time = observation.time
 WHERE observation.datastream_id = %(datastream_id)s
   AND observation.time = ANY (%(times)s::timestamptz[])
   AND observation.time BETWEEN %(first)s AND %(last)s
