-- The Things that the reader may see and that are sites, each with one place where it is now.
SELECT
    thing.id          AS id,
    thing.urn         AS urn,
    thing.name        AS name,
    thing.description AS description,
    thing.properties  AS properties,
    council.tenant    AS tenant,
    council.name      AS council,
    council.gss       AS gss,
    gateway.id        AS gateway_id,
    gateway.device    AS device,
    place.name        AS place,
    place.longitude   AS longitude,
    place.latitude    AS latitude
FROM readable_thing AS thing
JOIN council ON council.id = thing.council_id
LEFT JOIN gateway ON gateway.id = thing.gateway_id
LEFT JOIN LATERAL (
    SELECT location.name, location.longitude, location.latitude
    FROM thing_location
    JOIN location ON location.id = thing_location.location_id
    WHERE thing_location.thing_id = thing.id
    ORDER BY location.id DESC
    LIMIT 1
) AS place ON true
WHERE right(thing.urn, 7) <> ':health'
  AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
  AND (%(thing_id)s::int IS NULL OR thing.id = %(thing_id)s)
ORDER BY council.name, thing.name, thing.id
