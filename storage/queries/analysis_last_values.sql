-- The newest observation of every datastream, kept in `latest` so that `observation` need not be asked.
SELECT latest.datastream_id, latest.time, latest.value, latest.result, latest.quality
  FROM latest
  JOIN datastream ON datastream.id = latest.datastream_id
  JOIN thing ON thing.id = datastream.thing_id
  JOIN council ON council.id = thing.council_id
 WHERE thing.approved
   AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
 ORDER BY latest.datastream_id
