INSERT INTO observation_extra (datastream_id, time, quality, result, started, parameters)
VALUES (%(datastream_id)s, %(time)s, %(quality)s, %(result)s, %(started)s, %(parameters)s)
    ON CONFLICT (datastream_id, time) DO UPDATE
   SET quality = excluded.quality, result = excluded.result, started = excluded.started,
       parameters = excluded.parameters
