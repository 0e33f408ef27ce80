-- The interval of its own and the parameters of observations that were just stored. What was told before stays.
UPDATE observation_extra AS kept
   SET started = told.started, parameters = told.parameters
  FROM unnest(%(times)s::timestamptz[], %(started)s::timestamptz[], %(parameters)s::jsonb[])
       AS told (time, started, parameters)
 WHERE kept.datastream_id = %(datastream_id)s
   AND kept.time = told.time
   AND kept.started IS NULL
   AND kept.parameters IS NULL
