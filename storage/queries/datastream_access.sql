-- The datastreams of a council with who may read them, the restricted ones first; whether each is what a gateway tells of itself.
SELECT
    datastream.id,
    datastream.name,
    thing.name                       AS thing,
    observed_property.key            AS property_key,
    datastream.access,
    right(thing.urn, 7) = ':health'  AS is_health
FROM datastream
JOIN thing ON thing.id = datastream.thing_id
JOIN observed_property ON observed_property.id = datastream.observed_property_id
WHERE datastream.council_id = %(council_id)s
ORDER BY datastream.access DESC, thing.name, datastream.id
