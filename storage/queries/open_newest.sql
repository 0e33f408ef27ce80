SELECT latest.datastream_id, latest.time, latest.value, latest.result, latest.quality, observation_extra.started,
       CASE WHEN observation_extra.quality & 64 <> 0 THEN observation_extra.parameters #> '{corrected,result}' END
  FROM latest
  LEFT JOIN observation_extra
         ON observation_extra.datastream_id = latest.datastream_id
        AND observation_extra.time = latest.time
 WHERE latest.datastream_id = ANY (%(ids)s)
 ORDER BY latest.datastream_id
