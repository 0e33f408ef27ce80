-- The datastreams that may be read, with what they hang on.
SELECT
    datastream.id, datastream.short_name, datastream.name, datastream.description, datastream.unit,
    datastream.period_seconds, datastream.averaging_seconds, datastream.valid_minimum, datastream.valid_maximum,
    datastream.access = 'open', datastream.properties, observed_property.key, datastream.thing_id,
    sensor.id, sensor.urn, sensor.name, sensor.description, sensor.encoding_type, sensor.metadata, sensor.properties
FROM readable_datastream AS datastream
JOIN observed_property ON observed_property.id = datastream.observed_property_id
JOIN sensor ON sensor.id = datastream.sensor_id
WHERE datastream.thing_id = ANY (%(things)s)
  AND (%(ids)s::int[] IS NULL OR datastream.id = ANY (%(ids)s))
ORDER BY datastream.id
