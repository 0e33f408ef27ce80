-- The Things that may be read, in the order of their ids.
SELECT
    thing.id, thing.urn, thing.name, thing.description, thing.properties,
    council.tenant
FROM readable_thing AS thing
JOIN council ON council.id = thing.council_id
WHERE (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
  AND (%(ids)s::int[] IS NULL OR thing.id = ANY (%(ids)s))
  AND (%(urns)s::text[] IS NULL OR thing.urn = ANY (%(urns)s))
  AND (%(with_health)s OR right(thing.urn, 7) <> ':health')
  AND thing.id > %(after)s
ORDER BY thing.id
LIMIT %(limit)s
