-- Whoever may read it, as one reading serves many listeners: newest values of sites that were written after a moment; the index on updated_at finds them.
SELECT
    latest.datastream_id,
    thing.id AS thing_id,
    council.tenant,
    council.id AS council_id,
    datastream.access = 'open' AS is_open,
    datastream.unit,
    latest.time,
    latest.value,
    latest.result,
    latest.quality,
    latest.updated_at
FROM latest
JOIN datastream ON datastream.id = latest.datastream_id
JOIN thing ON thing.id = datastream.thing_id
JOIN council ON council.id = thing.council_id
WHERE latest.updated_at > %(since)s
  AND thing.approved
  AND right(thing.urn, 7) <> ':health'
ORDER BY latest.updated_at
