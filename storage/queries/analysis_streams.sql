-- The datastreams that a question is about, and the time before which observations of them were dropped.
SELECT datastream.id, council.tenant, observed_property.key, datastream.unit, datastream.averaging_seconds > 0,
       greatest(datastream_floor.time, (SELECT time FROM observation_floor)) AS floor
  FROM datastream
  JOIN thing ON thing.id = datastream.thing_id
  JOIN council ON council.id = thing.council_id
  JOIN observed_property ON observed_property.id = datastream.observed_property_id
  LEFT JOIN datastream_floor ON datastream_floor.datastream_id = datastream.id
 WHERE thing.approved
   AND (%(property_key)s::text IS NULL OR observed_property.key = %(property_key)s)
   AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
 ORDER BY datastream.id
