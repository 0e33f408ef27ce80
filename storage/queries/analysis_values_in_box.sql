-- Sites whose place lies in a box, each with the newest observation of every datastream. The index on longitude and
-- latitude finds the places. A thing of several places is where the newest of them is, as on the overview.
SELECT thing.id AS thing_id, thing.name AS thing_name, council.tenant, place.longitude, place.latitude,
       datastream.id AS datastream_id, observed_property.key AS property_key, datastream.unit,
       latest.time, latest.value, latest.result, coalesce(latest.quality, 0) AS quality
  FROM location AS place
  JOIN thing_location ON thing_location.location_id = place.id
  JOIN thing ON thing.id = thing_location.thing_id
  JOIN council ON council.id = thing.council_id
  JOIN datastream ON datastream.thing_id = thing.id
  JOIN observed_property ON observed_property.id = datastream.observed_property_id
  LEFT JOIN latest ON latest.datastream_id = datastream.id
 WHERE place.longitude BETWEEN %(west)s AND %(east)s
   AND place.latitude BETWEEN %(south)s AND %(north)s
   AND thing.approved
   AND right(thing.urn, 7) <> ':health'
   AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
   AND NOT EXISTS (SELECT FROM thing_location AS newer
                    WHERE newer.thing_id = thing.id AND newer.location_id > place.id)
 ORDER BY thing.id, datastream.id
