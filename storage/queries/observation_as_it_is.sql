-- One observation with all that is told beside its value. The datastream's row, locked before, keeps others out.
SELECT observation.value, extra.result, coalesce(extra.quality, 0), extra.started, extra.parameters
  FROM observation
  LEFT JOIN observation_extra AS extra
    ON extra.datastream_id = observation.datastream_id AND extra.time = observation.time
 WHERE observation.datastream_id = %(datastream_id)s
   AND observation.time = %(time)s
