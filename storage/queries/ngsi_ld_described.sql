-- Datastreams that may be read, those together whose Thing and Sensor have the same of what becomes attributes.
SELECT array_agg(datastream.id)
FROM readable_datastream AS datastream
JOIN thing ON thing.id = datastream.thing_id
JOIN council ON council.id = thing.council_id
JOIN sensor ON sensor.id = datastream.sensor_id
WHERE %(tenant)s::text IS NULL OR council.tenant = %(tenant)s
GROUP BY
    thing.name <> '', thing.description <> '', council.name <> '', council.gss <> '',
    jsonb_typeof(thing.properties -> 'source') = 'string' AND thing.properties ->> 'source' <> '',
    thing.properties ->> 'typeofLocation' IN ('indoor', 'outdoor'),
    sensor.name <> '', sensor.description <> '',
    jsonb_typeof(sensor.properties -> 'serialNumber') = 'string' AND sensor.properties ->> 'serialNumber' <> ''
