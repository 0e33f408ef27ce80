-- A row for each datastream: its times, values and flags as the server sends them in binary, one after the other. That
-- is several times quicker than a row for each observation.
SELECT observation.datastream_id,
       string_agg(timestamptz_send(observation.time), ''::bytea ORDER BY observation.time),
       string_agg(float8send(coalesce(value, 'NaN')), ''::bytea ORDER BY observation.time),
       string_agg(int2send(coalesce(quality, 0::smallint)), ''::bytea ORDER BY observation.time)
  FROM observation
  LEFT JOIN observation_extra
         ON observation_extra.datastream_id = observation.datastream_id
        AND observation_extra.time = observation.time
        AND observation_extra.time >= %(start)s
        AND observation_extra.time < %(end)s
 WHERE observation.datastream_id = ANY (%(datastream_ids)s)
   AND observation.time >= %(start)s
   AND observation.time < %(end)s
 GROUP BY observation.datastream_id
 ORDER BY observation.datastream_id
