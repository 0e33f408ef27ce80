-- A page of one datastream's observations: a walk along the key.
SELECT observation.datastream_id, observation.time, observation.value, observation_extra.result,
       coalesce(observation_extra.quality, 0), observation_extra.started,
       CASE WHEN observation_extra.quality & 64 <> 0 THEN observation_extra.parameters #> '{corrected,result}' END
  FROM observation
  LEFT JOIN observation_extra
         ON observation_extra.datastream_id = observation.datastream_id
        AND observation_extra.time = observation.time
 WHERE observation.datastream_id = %(id)s
   AND observation.time >= %(start)s
   AND observation.time < %(end)s
   AND (%(after)s::timestamptz IS NULL OR observation.time > %(after)s)
 ORDER BY observation.time
 LIMIT %(limit)s
