-- Datastreams that may be read, with what tells which entity they are part of and whether it is there: their newest
-- result and whether their Thing has a place. Narrowed by what is asked for before anything is looked at.
SELECT
    datastream.id, datastream.thing_id, council.gss, sensor.urn, observed_property.key, datastream.unit,
    datastream.short_name, datastream.averaging_seconds, thing.urn,
    CASE WHEN EXISTS (SELECT FROM historical_location AS stay WHERE stay.thing_id = thing.id)
        THEN EXISTS (SELECT FROM historical_location AS stay
                     JOIN historical_location_location AS place ON place.historical_location_id = stay.id
                     WHERE stay.thing_id = thing.id)
        ELSE EXISTS (SELECT FROM thing_location AS place WHERE place.thing_id = thing.id) END,
    latest.value, latest.result, latest.quality
FROM readable_datastream AS datastream
JOIN readable_thing AS thing ON thing.id = datastream.thing_id
JOIN council ON council.id = thing.council_id
JOIN sensor ON sensor.id = datastream.sensor_id
JOIN observed_property ON observed_property.id = datastream.observed_property_id
LEFT JOIN latest ON latest.datastream_id = datastream.id
WHERE (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
  AND observed_property.key = ANY (%(keys)s)
  AND (%(urns)s::text[] IS NULL OR thing.urn = ANY (%(urns)s) OR sensor.urn = ANY (%(urns)s))
